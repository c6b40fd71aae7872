"""Pixels shrunk by whole numbers, where a codec can't do it while decoding."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.model.presence import LEAST_MARK, are_below, is_present

__all__ = ["block_means", "box_reduce"]

FAST_TYPES = (np.uint8, np.uint16)
"""Integers whose means OpenCV computes."""


def box_reduce(pixels: NDArray[Any], reduction: int) -> NDArray[Any]:
    """Every output pixel is the mean of reduction x reduction pixels; edges are replicated to fill a block.

    (height, width, samples) -> (ceil(height / reduction), ceil(width / reduction), samples)
    """
    if reduction == 1:
        return pixels
    height, width, _ = pixels.shape
    down, right = -height % reduction, -width % reduction
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    return block_means(pixels, reduction)


def block_means(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """The means of size x size pixels, which divide (height, width, samples) without a rest.

    Integers are rounded to the nearest. Of real numbers, what is absent (see pims.model.presence: NaN,
    infinity, marks of pixels without data) does not count; where nothing else is, the mean is NaN.
    """
    height, width, samples = pixels.shape
    if pixels.dtype.kind == "f":
        return _means_of_floats(pixels, size)
    if pixels.dtype in FAST_TYPES:
        means = cv2.resize(pixels, (width // size, height // size), interpolation=cv2.INTER_AREA)
        return np.asarray(means).reshape(height // size, width // size, samples)
    total = np.zeros((height // size, width // size, samples), np.int64)
    for part in _parts(pixels, size):
        total += part
    total += size * size // 2
    total //= size * size
    return total.astype(pixels.dtype)


def _means_of_floats(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    height, width, samples = pixels.shape
    if are_below(pixels, LEAST_MARK / size**2):  # sums of these do not overflow
        means = cv2.resize(pixels, (width // size, height // size), interpolation=cv2.INTER_AREA)
        return np.asarray(means).reshape(height // size, width // size, samples)
    total = np.zeros((height // size, width // size, samples), np.float64)
    weight = np.zeros_like(total)
    share = 1 / size**2
    with np.errstate(invalid="ignore"):  # some NaN complain when they are copied
        for part, present in zip(_parts(pixels, size), _parts(is_present(pixels), size), strict=True):
            np.add(total, np.multiply(part, share, dtype=np.float64), out=total, where=present)
            weight += present * share
    found: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, weight, out=found, where=weight > 0)
    largest = np.finfo(pixels.dtype).max  # rounding may lead a little beyond
    np.clip(found, -largest, largest, out=found)
    return found.astype(pixels.dtype)


def _parts(pixels: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """The first pixels of all blocks, the second ones, and so on."""
    return [pixels[y::size, x::size] for y in range(size) for x in range(size)]
