"""One image inside a file."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageRef"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One of the images (series) that a file holds."""

    series: int = 0
    name: str = ""
    width: int = 0
    height: int = 0
