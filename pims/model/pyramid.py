"""A pyramid of tiers, and the arithmetic of levels, zooms and tiles.

level 0 is the best resolution, zoom 0 the worst; x comes before y.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import log2

from pims.model.geometry import Region

__all__ = ["NORMALIZED_TILE", "Pyramid", "Tier", "normalized_pyramid"]

NORMALIZED_TILE = 256
"""Side of a normalized tile, in pixels."""
TOLERANCE = 1e-6
"""For comparing scales."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution of a pyramid, cut in tiles."""

    level: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    factor_x: float = 1.0
    """Width of the base divided by the width of this tier."""
    factor_y: float = 1.0
    scale_x: float = 1.0
    """Pixels of the base that one pixel of this tier covers: the factor, or the whole number that it is
    when the width of the tier was rounded."""
    scale_y: float = 1.0

    @property
    def factor(self) -> float:
        """Mean of both downsampling factors."""
        return (self.factor_x + self.factor_y) / 2

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile_height)

    @property
    def tile_count(self) -> int:
        return self.columns * self.rows

    @property
    def region(self) -> Region:
        """The whole tier."""
        return Region(0, 0, self.width, self.height)

    def has_tile(self, column: int, row: int) -> bool:
        return 0 <= column < self.columns and 0 <= row < self.rows

    def position_of(self, index: int) -> tuple[int, int]:
        """(column, row) of a tile index; index = row * columns + column."""
        return index % self.columns, index // self.columns

    def tile_region(self, column: int, row: int) -> Region:
        """The pixels of a tile, cut at the right and bottom edges of the tier."""
        left, top = column * self.tile_width, row * self.tile_height
        return Region(
            left,
            top,
            min(self.tile_width, self.width - left),
            min(self.tile_height, self.height - top),
        )


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Tiers by decreasing size: `tiers[level]`."""

    tiers: tuple[Tier, ...]

    @classmethod
    def of(cls, sizes: Iterable[tuple[int, int, int, int]]) -> Pyramid:
        """From (width, height, tile width, tile height) of every tier, in any order."""
        ordered = sorted(sizes, key=lambda size: -size[0] * size[1])
        if not ordered:
            raise ValueError("a pyramid has at least one tier")
        base = ordered[0][:2]
        return cls(
            tuple(
                Tier(level, *size, base[0] / size[0], base[1] / size[1], *_scales(base, size[:2]))
                for level, size in enumerate(ordered)
            )
        )

    @property
    def base(self) -> Tier:
        return self.tiers[0]

    @property
    def max_level(self) -> int:
        return len(self.tiers) - 1

    max_zoom = max_level

    def zoom_of(self, level: int) -> int:
        return self.max_level - level

    def tier_at_zoom(self, zoom: int) -> Tier:
        """Raises IndexError out of 0 .. max_zoom."""
        if not 0 <= zoom <= self.max_level:
            raise IndexError(zoom)
        return self.tiers[self.max_level - zoom]

    def tier_at_level(self, level: int) -> Tier:
        """Raises IndexError out of 0 .. max_level."""
        if not 0 <= level <= self.max_level:
            raise IndexError(level)
        return self.tiers[level]

    def most_appropriate_tier(self, scale_x: float, scale_y: float) -> Tier:
        """The coarsest tier whose pixels cover no more of the base than these numbers of base pixels.

        The output is then never upsampled, but where the base itself is too small.
        """
        for tier in reversed(self.tiers):
            if tier.scale_x <= scale_x + TOLERANCE and tier.scale_y <= scale_y + TOLERANCE:
                return tier
        return self.base


def _scales(base: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """The whole number that both sides were divided by, else that of each side, else the factors.

    Of a small tier, several numbers may be right: a power of two is likelier.
    """
    longest = max((0, 1), key=lambda axis: base[axis])
    factor = base[longest] / size[longest]
    for common in (2 ** max(0, round(log2(factor))), round(factor)):
        if all(_is_divided(base[axis], size[axis], common) for axis in (0, 1)):
            return float(common), float(common)
    return _scale(base[0], size[0]), _scale(base[1], size[1])


def _scale(base: int, side: int) -> float:
    whole = round(base / side)
    return float(whole) if _is_divided(base, side, whole) else base / side


def _is_divided(base: int, side: int, whole: int) -> bool:
    """Whether `side` is base / whole, rounded up or down."""
    return whole > 0 and side in (base // whole, -(-base // whole))


@lru_cache(maxsize=1024)
def normalized_pyramid(width: int, height: int) -> Pyramid:
    """The pyramid clients navigate: every tier half the one below, rounded up, until one tile holds it."""
    sizes = [(width, height)]
    while max(sizes[-1]) > NORMALIZED_TILE:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return Pyramid.of((w, h, NORMALIZED_TILE, NORMALIZED_TILE) for w, h in sizes)
