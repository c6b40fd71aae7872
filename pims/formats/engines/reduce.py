"""Pixels shrunk by whole numbers, where a codec can't do it while decoding."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["box_reduce"]


def box_reduce(pixels: NDArray[Any], reduction: int) -> NDArray[Any]:
    """Every output pixel is the mean of reduction x reduction pixels; edges are replicated to fill a block.

    (height, width, samples) -> (ceil(height / reduction), ceil(width / reduction), samples)
    """
    if reduction == 1:
        return pixels
    height, width, samples = pixels.shape
    down, right = -height % reduction, -width % reduction
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    size = (pixels.shape[1] // reduction, pixels.shape[0] // reduction)
    reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return reduced.reshape(size[1], size[0], samples)
