"""Encoded image bytes with their media type."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EncodedTile"]


class EncodedTile(NamedTuple):
    """A complete image file in memory. A tuple: it is made for every stored tile."""

    media_type: str
    """For instance image/jpeg."""
    data: bytes
