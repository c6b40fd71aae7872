"""Rectangles of pixels."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Region"]


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of whole pixels, in the grid of the tier that is named beside it."""

    left: int
    """Columns to its left (x)."""
    top: int
    """Rows above it (y)."""
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column after it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row after it."""
        return self.top + self.height

    def is_inside(self, width: int, height: int) -> bool:
        """Whether it is not empty and lies within an image of that size."""
        return (
            self.left >= 0
            and self.top >= 0
            and self.width > 0
            and self.height > 0
            and self.right <= width
            and self.bottom <= height
        )

    def clipped(self, width: int, height: int) -> Region:
        """The part of it within an image of that size (its width or height may be 0)."""
        left, top = min(max(self.left, 0), width), min(max(self.top, 0), height)
        right, bottom = min(max(self.right, left), width), min(max(self.bottom, top), height)
        return Region(left, top, right - left, bottom - top)
