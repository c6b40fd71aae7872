"""Pixels with alpha laid over a background, so that what comes out is grey or RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["default_background", "over"]

BAND_PIXELS = 1 << 20


def default_background(samples: int, bits: int) -> tuple[int, ...]:
    """White for RGB of 8 bits, black for anything else: what is likely to be brightfield, and what is not."""
    return ((1 << bits) - 1 if samples == 3 and bits <= 8 else 0,) * samples


def over(pixels: NDArray[Any], background: tuple[int, ...], highest: int) -> NDArray[Any]:
    """Pixels over a background: (p * alpha + b * (highest - alpha)) / highest, rounded.

    (height, width, samples + 1), alpha last and not premultiplied -> (height, width, samples).
    `highest` is the alpha that hides the background, at most 65,535.
    """
    height, width, planes = pixels.shape
    result = np.empty((height, width, planes - 1), pixels.dtype)
    behind = np.array(background, np.uint32)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        part = pixels[top : top + band]
        alpha = np.minimum(part[..., -1:], highest).astype(np.uint32)
        # At most highest * highest + highest // 2, which 32 bits hold for 16-bit samples.
        mixed = part[..., :-1] * alpha + behind * (highest - alpha) + highest // 2
        result[top : top + band] = mixed // highest
    return result
