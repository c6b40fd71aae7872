"""Pixels shrunk by whole numbers, where a codec can't do it while decoding."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

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

    Integers are rounded to the nearest. What is no number (NaN) does not count; where nothing else is, the
    mean is none either.
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
    with np.errstate(all="ignore"):
        means = np.asarray(
            cv2.resize(pixels, (width // size, height // size), interpolation=cv2.INTER_AREA)
        ).reshape(height // size, width // size, samples)
        if not np.isnan(means).any():
            return means
        total, count = np.zeros(means.shape, np.float64), np.zeros(means.shape, np.int64)
        for part in _parts(pixels, size):
            number = ~np.isnan(part)
            np.add(total, part, out=total, where=number)
            count += number
        return (total / count).astype(pixels.dtype)


def _parts(pixels: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """The first pixels of all blocks, the second ones, and so on."""
    return [pixels[y::size, x::size] for y in range(size) for x in range(size)]
