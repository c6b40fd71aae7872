"""Which stored pixels an output is made of, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import LimitExceeded
from pims.formats.abstract import MAX_REDUCTION, covering_region, reduction_for
from pims.images.image import OpenedImage
from pims.model.geometry import Region
from pims.model.pyramid import Tier

__all__ = ["Abandoned", "Reading", "View"]

MAX_READ_BYTES = 2 << 30
"""Decoded bytes one request may need at once."""
BAND_BYTES = 16 << 20
"""Decoded bytes that are read at once; between two bands, reading can stop."""


class Abandoned(Exception):
    """Nobody waits for the pixels any more."""


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at and how large it comes out."""

    tier: Tier
    region: Region
    """In pixels of `tier`."""
    width: int
    height: int
    scale_x: float
    """Base pixels that one pixel of the output may cover at most when it is read."""
    scale_y: float

    @classmethod
    def sized(cls, tier: Tier, region: Region, width: int, height: int) -> View:
        """For an output of any size: one that fits a tier but for half a pixel is read from that tier,
        whose size was rounded."""
        if (width, height) == (region.width, region.height):
            return cls(tier, region, width, height, tier.scale_x, tier.scale_y)
        scale_x = region.width * tier.scale_x / max(width - 0.5, 0.5)
        scale_y = region.height * tier.scale_y / max(height - 0.5, 0.5)
        return cls(tier, region, width, height, scale_x, scale_y)


@dataclass(frozen=True, slots=True)
class Reading:
    """The stored pixels that hold a view."""

    tier: Tier
    region: Region
    """In pixels of `tier`."""
    reduction: int
    crop: tuple[float, float, float, float] | None
    """The view: left, top, width and height in the pixels read; none: all of them."""

    @classmethod
    def of(cls, image: OpenedImage, view: View) -> Reading:
        tier = image.reading_pyramid.most_appropriate_tier(view.scale_x, view.scale_y)
        reduction = reduction_for(tier, view.scale_x, view.scale_y)
        step_x, step_y = view.tier.scale_x / tier.scale_x, view.tier.scale_y / tier.scale_y
        # Both sizes were rounded, maybe in opposite directions: what would lie mostly beyond the edge of the
        # tier is fitted to it.
        if (view.region.left + view.region.right) * step_x > 2 * tier.width:
            step_x = view.tier.factor_x / tier.factor_x
        if (view.region.top + view.region.bottom) * step_y > 2 * tier.height:
            step_y = view.tier.factor_y / tier.factor_y
        left, top = view.region.left * step_x, view.region.top * step_y
        right, bottom = view.region.right * step_x, view.region.bottom * step_y
        # Between stored pixels, those around the rectangle count as well: tiles then join without a seam.
        margin = 0 if left.is_integer() and top.is_integer() else reduction
        region = covering_region(
            tier, reduction, left - margin, top - margin, right + margin, bottom + margin
        )
        reading = cls(
            tier,
            region,
            reduction,
            (
                (left - region.left) / reduction,
                (top - region.top) / reduction,
                (right - left) / reduction,
                (bottom - top) / reduction,
            ),
        )
        return reading._without_crop() if reading._is_all_of(image, view) else reading

    def _is_all_of(self, image: OpenedImage, view: View) -> bool:
        """Whether nothing has to be cut; the last row and column may stand for less than a whole pixel."""
        assert self.crop is not None
        aligned = abs(self.crop[0]) < 1e-3 and abs(self.crop[1]) < 1e-3
        whole = view.region == image.pyramid.base.region  # every tier shows it, give or take its rounding
        return whole or (aligned and self.size == (view.width, view.height))

    def _without_crop(self) -> Reading:
        return Reading(self.tier, self.region, self.reduction, None)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pixels read."""
        return -(-self.region.width // self.reduction), -(-self.region.height // self.reduction)

    def byte_size(self, image: OpenedImage) -> int:
        """Of the pixels read."""
        width, height = self.size
        return width * height * image.metadata.n_samples * image.metadata.bits // 8

    def check(self, image: OpenedImage) -> None:
        """Raises LimitExceeded."""
        needed = self.byte_size(image)
        if needed > MAX_READ_BYTES:
            raise LimitExceeded(
                f"Reading this part of the image at this size needs {needed >> 20} MiB at once; "
                "ask for a smaller part, or for a larger output of a smaller part."
            )

    def pixels(self, image: OpenedImage, stop: Callable[[], bool]) -> NDArray[Any]:
        """What is read, in bands of rows when it is much. Raises Abandoned between two of them."""
        read, plane = image.reader.read_region, image.default_plane
        needed = self.byte_size(image)
        if needed <= BAND_BYTES:
            return read(self.tier, self.region, plane, self.reduction)
        width, height = self.size
        pixels = np.empty((height, width, image.metadata.n_samples), image.metadata.pixel_type)
        for band in _bands(self.region, self.tier, -(-needed // BAND_BYTES)):
            if stop():
                raise Abandoned
            row = (band.top - self.region.top) // self.reduction
            part = read(self.tier, band, plane, self.reduction)
            pixels[row : row + part.shape[0]] = part
        return pixels


def _bands(region: Region, tier: Tier, count: int) -> Iterator[Region]:
    """A region from top to bottom in about `count` bands, cut between tiles: each tile is decoded once."""
    tile_rows = tier.tile_height * (MAX_REDUCTION // gcd(tier.tile_height, MAX_REDUCTION))
    step = max(region.height // count // tile_rows, 1) * tile_rows
    top = region.top
    while top < region.bottom:
        bottom = min((top // step + 1) * step, region.bottom)
        yield Region(region.left, top, region.width, bottom - top)
        top = bottom
