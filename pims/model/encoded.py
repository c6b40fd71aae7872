"""Encoded image bytes with their media type."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EncodedTile"]


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """A complete image file in memory."""

    media_type: str
    """For instance image/jpeg."""
    data: bytes
