"""Resampling: area averages when shrinking, bilinear interpolation when enlarging."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature

__all__ = ["resample", "resize"]

SHOWN_TYPES = ("uint8", "uint16")
"""What is resized: pixels as they are shown, after their intensities were adjusted."""
OPENCV_SAMPLES = 4
"""Samples of a pixel that every OpenCV function used here takes."""
WHOLE = 1e-6
"""Pixels; a bound nearer than this to a whole number is whole."""
MAX_AS_FLOATS = 1 << 21
"""Samples that are averaged as floats at once."""
NEARLY_ONE = 1 + 1 / 512
"""Up to this scale, interpolation and area average differ by less than half a level of 256."""
BAND_PIXELS = 1 << 16
"""Source pixels averaged at a time, so that the sums stay in the processor's cache."""


def resize(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """The whole array at exactly width x height.

    Each axis is averaged when it shrinks and interpolated when it grows.

    Parameters
    ----------
    pixels : (height, width, samples), uint8 or uint16

    Returns
    -------
    (height, width, samples) of the same type; `pixels` itself when the size is the same

    Raises
    ------
    UnsupportedFeature : pixels of another type
    """
    _check(pixels, width, height)
    source_height, source_width = pixels.shape[:2]
    if (width, height) == (source_width, source_height):
        return pixels
    smaller = (min(width, source_width), min(height, source_height))
    if smaller != (source_width, source_height):
        pixels = _by_samples(pixels, lambda part: _shrunk(part, smaller))
    if smaller != (width, height):
        pixels = _by_samples(
            pixels, lambda part: cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
        )
    return pixels


def _shrunk(part: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Area averages. OpenCV's loop over bytes is slow when a side is no multiple: it is given floats then,
    which come out as the same bytes."""
    height, width = part.shape[:2]
    if part.dtype != np.uint8 or part.size > MAX_AS_FLOATS or not (width % size[0] or height % size[1]):
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
    means = cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(means))


def resample(
    pixels: NDArray[Any],
    left: float,
    top: float,
    width: float,
    height: float,
    out_width: int,
    out_height: int,
) -> NDArray[Any]:
    """A rectangle with fractional bounds at exactly out_width x out_height.

    A rectangle of whole pixels is cut out and resized, looking at nothing else. For others, an output pixel
    is the average of the area it covers, pixels at the border weighed by the part covered; where an axis
    grows, it is the bilinear interpolation at its centre, which looks one pixel beyond the rectangle. So
    neighbouring fractional rectangles of one array join without a seam.

    Parameters
    ----------
    pixels : (height, width, samples), uint8 or uint16
    left, top, width, height : in pixels of the array. Beyond its edges, by one more array at most, the
        outermost pixels are repeated.

    Returns
    -------
    (out_height, out_width, samples) of the same type; a view of `pixels` when nothing has to be computed

    Raises
    ------
    UnsupportedFeature : pixels of another type
    """
    _check(pixels, out_width, out_height)
    x, y = (left, left + width), (top, top + height)
    _check_bounds(x, pixels.shape[1])
    _check_bounds(y, pixels.shape[0])
    if all(abs(bound - round(bound)) < WHOLE for bound in (*x, *y)):
        return resize(_cut(pixels, _rounded(x), _rounded(y)), out_width, out_height)
    return _resampled(pixels, x, y, out_width, out_height)


def _resampled(
    pixels: NDArray[Any], x: tuple[float, float], y: tuple[float, float], out_width: int, out_height: int
) -> NDArray[Any]:
    """Of a rectangle that has some fractional bound."""
    width, height = x[1] - x[0], y[1] - y[0]
    shrinks_x, shrinks_y = width > out_width * NEARLY_ONE, height > out_height * NEARLY_ONE
    if shrinks_x and shrinks_y:
        return _average(pixels, x, y, out_width, out_height)
    if shrinks_x:
        rows = _outer(y, 1)
        pixels = _average(pixels, x, rows, out_width, rows[1] - rows[0])
        return _interpolate(pixels, (0, out_width), (y[0] - rows[0], y[1] - rows[0]), out_width, out_height)
    if shrinks_y:
        columns = _outer(x, 1)
        pixels = _average(pixels, columns, y, columns[1] - columns[0], out_height)
        x = (x[0] - columns[0], x[1] - columns[0])
        return _interpolate(pixels, x, (0, out_height), out_width, out_height)
    return _interpolate(pixels, x, y, out_width, out_height)


def _interpolate(
    pixels: NDArray[Any], x: tuple[float, float], y: tuple[float, float], out_width: int, out_height: int
) -> NDArray[Any]:
    """Bilinear at the centre of every output pixel; bounds x and y are (first, past the last)."""
    columns, rows = _outer(x, 1), _outer(y, 1)
    source = _cut(pixels, columns, rows)
    scale_x, scale_y = (x[1] - x[0]) / out_width, (y[1] - y[0]) / out_height
    to_source = np.array(
        [
            [scale_x, 0.0, x[0] - columns[0] + scale_x / 2 - 0.5],
            [0.0, scale_y, y[0] - rows[0] + scale_y / 2 - 0.5],
        ]
    )
    return _by_samples(
        source,
        lambda part: cv2.warpAffine(
            part,
            to_source,
            (out_width, out_height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
    )


def _average(
    pixels: NDArray[Any], x: tuple[float, float], y: tuple[float, float], out_width: int, out_height: int
) -> NDArray[Any]:
    """The mean over the area of every output pixel, a band of output rows at a time."""
    columns = _outer(x, 0)
    xs = np.linspace(x[0], x[1], out_width + 1) - columns[0]
    ys = np.linspace(y[0], y[1], out_height + 1)
    out = np.empty((out_height, out_width, pixels.shape[2]), pixels.dtype)
    source_rows = max(BAND_PIXELS // (columns[1] - columns[0]), 1)
    step = max(int(source_rows * out_height / (y[1] - y[0])), 1)
    for first in range(0, out_height, step):
        bounds = ys[first : first + step + 1]
        rows = _outer((bounds[0], bounds[-1]), 0)
        band = _cut(pixels, columns, rows)
        by_row = _transpose(_means(band, bounds - rows[0]))
        means = _transpose(_means(by_row, xs))
        out[first : first + step] = np.rint(means, out=means)
    return out


def _means(values: NDArray[Any], bounds: NDArray[np.float64]) -> NDArray[Any]:
    """Means along the first axis between neighbouring bounds, each row weighed by the part covered."""
    flat = values.reshape(len(values), -1)
    lower, upper = bounds[:-1], bounds[1:]
    first = lower.astype(np.intp)
    taps = int((np.ceil(upper) - first).max())
    total = np.zeros((len(first), flat.shape[1]), np.float32)
    for row in (first + tap for tap in range(taps)):
        covered = np.clip(np.minimum(upper, row + 1) - np.maximum(lower, row), 0, None)
        weights = (covered / (upper - lower)).astype(np.float32)[:, np.newaxis]
        total += np.take(flat, row, axis=0, mode="clip") * weights
    return total.reshape(-1, *values.shape[1:])


def _transpose(values: NDArray[Any]) -> NDArray[Any]:
    """Rows for columns, C-contiguous."""
    return _by_samples(values, cv2.transpose)


def _cut(pixels: NDArray[Any], x: tuple[int, int], y: tuple[int, int]) -> NDArray[Any]:
    """Columns x[0] to x[1] and rows y[0] to y[1], the outermost repeated where they are beyond the edges."""
    height, width = pixels.shape[:2]
    inside = pixels[_slice(y, height), _slice(x, width)]
    before_x, after_x = _missing(x, width)
    before_y, after_y = _missing(y, height)
    if before_x or after_x or before_y or after_y:
        return np.pad(inside, ((before_y, after_y), (before_x, after_x), (0, 0)), mode="edge")
    return inside


def _slice(bounds: tuple[int, int], size: int) -> slice:
    """The part inside 0 .. size, at least one pixel."""
    first = min(max(bounds[0], 0), size - 1)
    return slice(first, max(min(bounds[1], size), first + 1))


def _missing(bounds: tuple[int, int], size: int) -> tuple[int, int]:
    """Pixels to repeat before and after what `_slice` gives."""
    inside = _slice(bounds, size)
    return max(inside.start - bounds[0], 0), max(bounds[1] - inside.stop, 0)


def _outer(bounds: tuple[float, float], margin: int) -> tuple[int, int]:
    """The whole pixels that cover the bounds, and as many more."""
    return math.floor(bounds[0]) - margin, math.ceil(bounds[1]) + margin


def _rounded(bounds: tuple[float, float]) -> tuple[int, int]:
    return round(bounds[0]), round(bounds[1])


def _by_samples(pixels: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """`function` over as many samples at a time as OpenCV takes; the samples axis is kept."""
    samples = pixels.shape[2]
    parts = [
        np.asarray(function(np.ascontiguousarray(pixels[:, :, first : first + OPENCV_SAMPLES])))
        for first in range(0, samples, OPENCV_SAMPLES)
    ]
    parts = [part.reshape(*part.shape[:2], -1) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _check(pixels: NDArray[Any], width: int, height: int) -> None:
    if pixels.dtype not in SHOWN_TYPES:
        raise UnsupportedFeature(
            f"Pixels of type {pixels.dtype} can't be resized; {', '.join(SHOWN_TYPES)} can."
        )
    if pixels.ndim != 3 or pixels.size == 0 or width < 1 or height < 1:
        raise ValueError(f"an array of shape {pixels.shape} can't become {width} x {height} px")


def _check_bounds(bounds: tuple[float, float], size: int) -> None:
    if not (math.isfinite(bounds[0] + bounds[1]) and -size <= bounds[0] < bounds[1] <= 2 * size):
        raise ValueError(f"a rectangle from {bounds[0]} to {bounds[1]} of {size} px")
