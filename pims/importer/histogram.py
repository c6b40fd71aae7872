"""The histogram of an image, computed once when it is imported, and written beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pims.formats.abstract import AbstractFormat, reduction_for
from pims.images.histogram import HistogramType, StoredHistogram, write_histogram
from pims.model.geometry import Region
from pims.model.planes import Plane
from pims.model.pyramid import Tier
from pims.processing.histogram import Bins, bounds, channel_counts, finite_bounds, whole_numbers

__all__ = ["MAX_COMPLETE_PIXELS", "compute_histogram", "import_histogram"]

Pixels: TypeAlias = NDArray[Any]
"""(height, width, samples)"""
Place: TypeAlias = tuple[int, int, slice]
"""Time point, focal plane and the apparent channels of one plane."""

MAX_COMPLETE_PIXELS = 1 << 20
"""Pixels of a plane up to which every one is counted."""
MAX_PLANE_BINS = 4_000_000
"""Bins of all planes and channels together that are kept; above, planes have bounds, but no counts."""
BAND_BYTES = 64 << 20
"""Decoded pixels read at once, unless a single row of tiles is more."""
KEPT_BYTES = 64 << 20
"""What is looked at twice is kept in memory up to here, and read twice above."""


def import_histogram(
    image: AbstractFormat,
    destination: Path,
    length: int,
    progress: Callable[[float], None],
    *,
    max_pixels: int = MAX_COMPLETE_PIXELS,
) -> None:
    """Compute and write it. Raises FileError (pixels can't be read), StorageError (it can't be written)."""
    write_histogram(destination, compute_histogram(image, length, progress, max_pixels=max_pixels))


def compute_histogram(
    image: AbstractFormat,
    length: int,
    progress: Callable[[float], None],
    *,
    max_pixels: int = MAX_COMPLETE_PIXELS,
) -> StoredHistogram:
    """Counts of intensities by plane and apparent channel.

    Every pixel is counted when a plane has at most `max_pixels`. Of larger ones it is a thumb of at most
    `length` px a side: the coarsest stored tier that is large enough, shrunk while it is decoded, and thinned
    out then. A plane that is not larger than `length` is counted whole either way.

    Integers of 8 and 16 bits have one bin for each value that the significant bits can hold. Other types have
    intervals of equal width over what is found in all planes, which are therefore looked at twice.
    """
    main = image.main_imd
    planes = _Planes(image, _Sampling.of(image, length, max_pixels), progress)
    bounds_type = np.float64 if main.is_float else np.int64
    found = _Found(np.zeros((*planes.shape, 2), bounds_type), np.zeros((*planes.shape, 2), np.uint64))
    bins = whole_numbers(main)
    if bins is not None:
        counts = _count(planes.looked_at(0, 1), planes.shape, bins, found)
    else:
        _find_bounds(planes.looked_at(0, 2), found)
        bins = _spanning(found.plane_bounds)
        counts = _count(planes.looked_at(1, 2), planes.shape, bins)
    width, height = planes.sampling.size
    complete = (width, height) == (main.width, main.height)
    return StoredHistogram(
        type=HistogramType.COMPLETE if complete else HistogramType.FAST,
        bins=bins,
        channel_counts=counts.by_channel,
        plane_bounds=found.plane_bounds,
        plane_counts=counts.by_plane,
        absent=found.absent,
        width=width,
        height=height,
        level=planes.sampling.tier.level,
    )


@dataclass(frozen=True, slots=True)
class _Sampling:
    """Which pixels of a plane are counted."""

    tier: Tier
    reduction: int
    """By which the reader shrinks them."""
    step: int
    """Of what it gives, every how many-th row and column counts."""

    @classmethod
    def of(cls, image: AbstractFormat, length: int, max_pixels: int) -> _Sampling:
        base = image.pyramid.base
        if base.width * base.height <= max_pixels:
            return cls(base, 1, 1)
        factor = max(1.0, base.width / length, base.height / length)
        scale_x = base.width / max(1, int(base.width / factor))
        scale_y = base.height / max(1, int(base.height / factor))
        tier = image.pyramid.most_appropriate_tier(scale_x, scale_y)
        reduction = reduction_for(tier, scale_x, scale_y)
        longest = -(-max(tier.width, tier.height) // reduction)
        return cls(tier, reduction, -(-longest // length))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what is counted."""
        width, height = -(-self.tier.width // self.reduction), -(-self.tier.height // self.reduction)
        return -(-width // self.step), -(-height // self.step)

    def bands(self, pixel_bytes: int) -> list[Region]:
        """The tier from top to bottom: no stored tile is read twice, every band begins with a counted row."""
        width, height = self.tier.width, self.tier.height
        unit = math.lcm(self.tier.tile_height, self.reduction * self.step)
        most = BAND_BYTES * self.reduction**2 // (width * pixel_bytes)
        rows = max(most // unit, 1) * unit
        return [Region(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]


class _Planes:
    """All planes of an image, looked at once or twice."""

    def __init__(self, image: AbstractFormat, sampling: _Sampling, progress: Callable[[float], None]) -> None:
        main = image.main_imd
        self.sampling = sampling
        self.shape = main.duration, main.depth, main.n_channels
        """(t, z, apparent channel)"""
        self._planes = [Plane(c, z, t) for t, z, c in np.ndindex(*self.shape[:2], main.n_concrete_channels)]
        self._samples = main.n_samples
        self._reader = image.reader
        self._progress = progress
        pixel_bytes = main.n_samples * main.bits // 8
        self._bands = sampling.bands(pixel_bytes)
        width, height = sampling.size
        self._keeps = len(self._planes) * width * height * pixel_bytes <= KEPT_BYTES
        self._kept: dict[Plane, list[Pixels]] = {}

    def looked_at(self, look: int, looks: int) -> Iterator[tuple[Place, Iterator[Pixels]]]:
        """Where the results of each plane belong, and its pixels, band by band; `look` is 0 to looks - 1."""
        keep = self._keeps and look < looks - 1
        for number, plane in enumerate(self._planes):
            first = plane.c * self._samples
            yield (plane.t, plane.z, slice(first, first + self._samples)), self._pixels(plane, keep=keep)
            self._progress((look + (number + 1) / len(self._planes)) / looks)

    def _pixels(self, plane: Plane, *, keep: bool) -> Iterator[Pixels]:
        if plane in self._kept:
            yield from self._kept.pop(plane)
            return
        sampling = self.sampling
        for band in self._bands:
            read = self._reader.read_region(sampling.tier, band, plane, sampling.reduction)
            pixels = np.ascontiguousarray(read[:: sampling.step, :: sampling.step])
            if keep:
                self._kept.setdefault(plane, []).append(pixels)
            yield pixels


@dataclass(frozen=True, slots=True)
class _Found:
    """See StoredHistogram; filled plane by plane."""

    plane_bounds: NDArray[Any]
    absent: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Counts:
    """See StoredHistogram."""

    by_channel: NDArray[np.uint64]
    by_plane: NDArray[np.uint64] | None


def _find_bounds(planes: Iterable[tuple[Place, Iterator[Pixels]]], found: _Found) -> None:
    for place, bands in planes:
        limits, absent = zip(*map(finite_bounds, bands), strict=True)
        lows, highs = np.moveaxis(np.stack(limits), -1, 0)
        found.plane_bounds[place] = np.stack([np.fmin.reduce(lows), np.fmax.reduce(highs)], axis=-1)
        found.absent[place] = np.sum(absent, axis=0)


def _spanning(plane_bounds: NDArray[Any]) -> Bins:
    """Over what was found in all planes."""
    lowest, highest = np.fmin.reduce(plane_bounds, axis=None), np.fmax.reduce(plane_bounds, axis=None)
    if np.isnan(lowest):
        return Bins(0.0, 1.0, 1)
    return Bins.between(lowest.item(), highest.item(), whole=plane_bounds.dtype.kind == "i")


def _count(
    planes: Iterable[tuple[Place, Iterator[Pixels]]],
    shape: tuple[int, int, int],
    bins: Bins,
    found: _Found | None = None,
) -> _Counts:
    """`found` gets the bounds that follow from the counts of whole numbers."""
    by_channel = np.zeros((shape[2], bins.count), np.uint64)
    by_plane = None
    if math.prod(shape) * bins.count <= MAX_PLANE_BINS:
        by_plane = np.zeros((*shape, bins.count), np.uint64)
    for place, bands in planes:
        counts: NDArray[np.uint64] = np.sum(
            [channel_counts(pixels, bins) for pixels in bands], axis=0, dtype=np.uint64
        )
        by_channel[place[2]] += counts
        if by_plane is not None:
            by_plane[place] = counts
        if found is not None:
            found.plane_bounds[place] = bounds(counts, bins)
    return _Counts(by_channel, by_plane)
