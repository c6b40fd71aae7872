"""Averages of pixels of every type, computed in float64; NaN and infinity count for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_real_numbers"]

HUGE = 1e300
"""Sums of numbers above this may overflow: they are made smaller before."""
SMALLER = 2.0**-64
NOTHING = 1e-6
"""A weight that is due to rounding."""


def as_real_numbers(
    pixels: NDArray[Any], function: Callable[[NDArray[np.float64]], NDArray[Any]]
) -> NDArray[Any]:
    """What `function`, which gives weighed means of pixels, makes of them, in their own type.

    A mean of some numbers that are finite and some that are not is that of the finite ones; where none is, it
    is NaN. A float64 copy of `pixels` is made, and of a mask when something is not finite. Means of integers
    are rounded.
    """
    values = pixels.astype(np.float64)
    if pixels.dtype.kind != "f":
        limits = np.iinfo(pixels.dtype)
        return np.asarray(np.clip(np.rint(function(values)), limits.min, limits.max), pixels.dtype)
    present = np.isfinite(values)
    whole = bool(present.all())
    if not whole:
        values[~present] = 0.0
    scale = SMALLER if np.abs(values).max(initial=0.0) > HUGE else 1.0
    means = function(values * scale if scale != 1 else values)
    if not whole:
        weights = function(present.astype(np.float64))
        means = np.divide(means, weights, out=np.full(means.shape, np.nan), where=weights > NOTHING)
    # Weights may add up to a little more than 1.
    highest = float(np.finfo(pixels.dtype).max) * scale
    return np.asarray(np.clip(means, -highest, highest) / scale, pixels.dtype)
