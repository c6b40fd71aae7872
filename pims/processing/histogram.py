"""Histograms: how often each intensity occurs in each channel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature

__all__ = ["bounds", "channel_counts"]

EXACT_PIXELS = 1 << 24
"""Pixels counted at a time: OpenCV gives counts as float32, exact up to here."""


def channel_counts(pixels: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    """Counts of every intensity.

    Parameters
    ----------
    pixels : (height, width, samples), uint8 or uint16
    bits : significant bits; what is above 2**bits - 1 counts as 2**bits - 1

    Returns
    -------
    (samples, 2**bits); every row sums to height x width

    Raises
    ------
    UnsupportedFeature : pixels of another type
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnsupportedFeature(f"Pixels of type {pixels.dtype} can't be counted; uint8 and uint16 can.")
    if pixels.ndim != 3 or not 1 <= bits <= 16:
        raise ValueError(f"no histogram of {bits} bits for an array of shape {pixels.shape}")
    stored, highest = 1 << (8 * pixels.itemsize), (1 << bits) - 1
    counts = np.zeros((pixels.shape[2], max(stored, highest + 1)), np.uint64)
    for sample, row in enumerate(counts):
        plane = np.ascontiguousarray(pixels[:, :, sample]).reshape(1, -1)
        for first in range(0, plane.size, EXACT_PIXELS):
            part = plane[:, first : first + EXACT_PIXELS]
            row[:stored] += _count(part, stored)
    counts[:, highest] += counts[:, highest + 1 :].sum(axis=1)
    return counts[:, : highest + 1].copy()


def bounds(counts: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """(lowest, highest) intensity that occurs, for every row of `counts`; the full range where none does."""
    ranges = []
    for row in counts:
        seen = np.flatnonzero(row)
        ranges.append((int(seen[0]), int(seen[-1])) if seen.size else (0, len(row) - 1))
    return ranges


def _count(row: NDArray[Any], bins: int) -> NDArray[np.uint64]:
    """Counts of 0 .. bins - 1 in an array (1, pixels)."""
    counts = cv2.calcHist([row], [0], None, [bins], [0, bins])
    return np.asarray(counts).reshape(-1).astype(np.uint64)
