"""Histograms: how often each intensity, or each interval of intensities, occurs in each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.model.metadata import ImageMetadata
from pims.model.presence import is_present
from pims.processing.stretch import STRETCHED_TYPES, positions

__all__ = ["INTERVALS", "Bins", "bounds", "channel_counts", "finite_bounds", "whole_numbers"]

INTERVALS = 1024
"""Bins of types that have too many values for one bin each."""
EXACT_PIXELS = 1 << 24
"""Pixels counted at a time: OpenCV gives counts as float32, exact up to here."""
REAL_PIXELS = 1 << 18
"""Pixels counted at a time where positions are computed as float64."""
MAX_BITS = 16
"""Bits of whole numbers that have one bin each."""
COUNTED_BY_VALUE = ("uint8", "uint16", "int8", "int16")


@dataclass(frozen=True, slots=True)
class Bins:
    """Intervals of equal width between two intensities.

    Bin k holds what is from lowest + k * width up to where the next begins; the last also holds `highest`.
    Of whole numbers, highest is one more than the last of them.
    """

    lowest: float
    highest: float
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not self.lowest <= self.highest or np.isinf([self.lowest, self.highest]).any():
            raise ValueError(f"no {self.count} bins from {self.lowest} to {self.highest}")

    def edges(self) -> NDArray[np.float64]:
        """count + 1 intensities: where the bins begin, and where the last one ends."""
        part = np.arange(self.count + 1) / self.count
        edges: NDArray[np.float64] = self.lowest * (1 - part) + self.highest * part
        if self.highest - self.lowest == self.count:
            np.rint(edges, out=edges)
        return edges

    @classmethod
    def between(cls, lowest: float, highest: float, *, whole: bool) -> Bins:
        """For intensities of a type that was found to reach from `lowest` to `highest`.

        As many as INTERVALS; fewer where that is one for each of `whole` numbers, or where both are equal.
        """
        if whole:
            return cls(lowest, highest + 1, int(min(highest - lowest + 1, INTERVALS)))
        return cls(lowest, highest, INTERVALS if lowest < highest else 1)


def whole_numbers(metadata: ImageMetadata) -> Bins | None:
    """One bin for each value that the significant bits can hold; None for types that have too many.

    More than 16 significant bits in a type of 16 are not possible; if a file says so, 16 count.
    """
    full = metadata.full_range
    if full is None or metadata.pixel_type not in COUNTED_BY_VALUE:
        return None
    lowest, highest = full
    return Bins(lowest, highest + 1, highest + 1 - lowest)


def channel_counts(pixels: NDArray[Any], bins: Bins) -> NDArray[np.uint64]:
    """How many values each bin has.

    Parameters
    ----------
    pixels : (height, width, samples) of any type that can be shown
    bins : for integers of 8 and 16 bits, one for each of the whole numbers of `whole_numbers`

    Returns
    -------
    (samples, bins.count). What is below the bins counts in the first, what is above in the last. What
    `finite_bounds` finds absent is not counted: every row sums to height x width without it.

    Raises
    ------
    UnsupportedFeature : pixels of another type
    """
    if pixels.ndim != 3:
        raise ValueError(f"no histogram of an array of shape {pixels.shape}")
    if pixels.dtype in COUNTED_BY_VALUE:
        return _counts_by_value(pixels, bins)
    if pixels.dtype not in STRETCHED_TYPES:
        raise UnsupportedFeature(f"Pixels of type {pixels.dtype} can't be counted.")
    counts = np.zeros((pixels.shape[2], bins.count), np.uint64)
    for sample, row in enumerate(counts):
        plane = pixels[:, :, sample].reshape(-1)
        for first in range(0, plane.size, REAL_PIXELS):
            np.add(row, _count_intervals(plane[first : first + REAL_PIXELS], bins), out=row)
    return counts


def bounds(counts: NDArray[np.uint64], bins: Bins) -> NDArray[np.int64]:
    """(rows, 2): lowest and highest whole number that occurs, for every row of `counts` of whole numbers.

    The first and last bin where nothing was counted.
    """
    first = int(bins.lowest)
    ranges = np.empty((len(counts), 2), np.int64)
    for row, limits in zip(counts, ranges, strict=True):
        seen = np.flatnonzero(row)
        limits[:] = (seen[0], seen[-1]) if seen.size else (0, len(row) - 1)
    return ranges + first


def finite_bounds(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """What is lowest and highest in every sample of pixels (height, width, samples), and what is neither.

    Absent is what `is_present` denies: bounds as far apart as the marks of pixels without data would show all
    others as one.

    Returns
    -------
    bounds : (samples, 2), float64 for real numbers (NaN where all are absent), int64 for integers
    absent : (samples, 2), how many values are NaN, and how many of the others are absent
    """
    samples = pixels.shape[2]
    absent = np.zeros((samples, 2), np.uint64)
    if pixels.dtype.kind != "f":
        flat = pixels.reshape(-1, samples)
        return np.stack([flat.min(axis=0), flat.max(axis=0)], axis=1).astype(np.int64), absent
    limits = np.full((samples, 2), np.nan)
    for sample in range(samples):
        plane = pixels[:, :, sample]
        present = is_present(plane)
        nans = np.count_nonzero(np.isnan(plane))
        finite = np.count_nonzero(present)
        absent[sample] = nans, plane.size - finite - nans
        if finite:
            limits[sample] = (
                plane.min(initial=np.inf, where=present),
                plane.max(initial=-np.inf, where=present),
            )
    return limits, absent


def _counts_by_value(pixels: NDArray[Any], bins: Bins) -> NDArray[np.uint64]:
    """One bin per whole number, by OpenCV, which counts unsigned values."""
    stored = 1 << (8 * pixels.itemsize)
    lowest_stored = -(stored >> 1) if pixels.dtype.kind == "i" else 0
    first = int(bins.lowest) - lowest_stored
    if bins.highest - bins.lowest != bins.count or first < 0:
        raise ValueError(f"{bins} for pixels of type {pixels.dtype}")
    counts = np.zeros((pixels.shape[2], max(stored, first + bins.count)), np.uint64)
    unsigned = np.dtype(f"u{pixels.itemsize}")
    for sample, row in enumerate(counts):
        plane = np.ascontiguousarray(pixels[:, :, sample]).view(unsigned).reshape(1, -1)
        for start in range(0, plane.size, EXACT_PIXELS):
            row[:stored] += _count(plane[:, start : start + EXACT_PIXELS], stored)
        row[:stored] = np.roll(row[:stored], -lowest_stored)
    end = first + bins.count
    counts[:, first] += counts[:, :first].sum(axis=1)
    counts[:, end - 1] += counts[:, end:].sum(axis=1)
    return counts[:, first:end].copy()


def _count(row: NDArray[Any], bins: int) -> NDArray[np.uint64]:
    """Counts of 0 .. bins - 1 in an array (1, pixels)."""
    counts = cv2.calcHist([row], [0], None, [bins], [0, bins])
    return np.asarray(counts).reshape(-1).astype(np.uint64)


def _count_intervals(values: NDArray[Any], bins: Bins) -> NDArray[np.uint64]:
    """Of a flat array: by the position of every value between the outer edges."""
    where: NDArray[Any]
    if values.dtype.kind == "f":
        where = positions(values[is_present(values)], bins.lowest, bins.highest) * bins.count
    else:  # exact: 32 bits times INTERVALS are far from 64
        first, last = int(bins.lowest), int(bins.highest)
        where = (values.astype(np.int64) - first) * bins.count // (last - first)
    inside = np.clip(where, 0, bins.count - 1).astype(np.intp)
    return np.bincount(inside, minlength=bins.count).astype(np.uint64)
