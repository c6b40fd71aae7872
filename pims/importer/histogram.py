"""The histogram of an image, computed once when it is imported, and written beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.formats.abstract import AbstractFormat
from pims.images.histogram import HistogramType, StoredHistogram, write_histogram
from pims.processing.histogram import bounds, channel_counts

__all__ = ["compute_histogram", "import_histogram"]

MAX_BITS = 16


def import_histogram(
    image: AbstractFormat, destination: Path, length: int, progress: Callable[[float], None]
) -> None:
    """Compute and write it. Raises FileError (pixels can't be read), StorageError (it can't be written)."""
    write_histogram(destination, compute_histogram(image, length, progress))


def compute_histogram(
    image: AbstractFormat, length: int, progress: Callable[[float], None]
) -> StoredHistogram:
    """Counts of intensities per apparent channel, from a thumb of at most `length` px a side per plane.

    A thumb that a reader gives larger than asked is thinned out, not averaged: its intensities stay stored
    ones. An image not larger than `length` is counted as it is.
    """
    main = image.main_imd
    bits = min(main.significant_bits, MAX_BITS)
    factor = max(1.0, main.width / length, main.height / length)
    size = max(1, int(main.width / factor)), max(1, int(main.height / factor))
    counts = np.zeros((main.n_channels, 1 << bits), np.uint64)
    plane_bounds = np.zeros((main.duration, main.depth, main.n_channels, 2), np.uint32)
    counted = 0, 0
    planes = np.ndindex(main.duration, main.depth, main.n_concrete_channels)
    for done, (t, z, c) in enumerate(planes, start=1):
        pixels = _thinned(image.reader.read_thumb(*size, c=c, z=z, t=t), length)
        counted = pixels.shape[1], pixels.shape[0]
        plane_counts = channel_counts(pixels, bits)
        channels = slice(c * main.n_samples, (c + 1) * main.n_samples)
        counts[channels] += plane_counts
        plane_bounds[t, z, channels] = bounds(plane_counts)
        progress(done / main.n_planes)
    complete = counted == (main.width, main.height)
    kind = HistogramType.COMPLETE if complete else HistogramType.FAST
    return StoredHistogram(kind, counts, plane_bounds, counted[0], counted[1])


def _thinned(pixels: NDArray[Any], length: int) -> NDArray[Any]:
    step = -(-max(pixels.shape[:2]) // length)
    return np.ascontiguousarray(pixels[::step, ::step])
