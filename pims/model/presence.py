"""Which real numbers of an image stand for an intensity: the one rule of averages, bounds and display."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_MARK", "are_below", "is_present"]

NO_DATA = np.float64(np.finfo(np.float32).max) * np.array([1 - 2.0**-21, 1 + 2.0**-21])
"""Real numbers of this size, positive or negative, are what programs write where there are no data: the
largest of float32, of which some were rounded to decimals on their way."""
LEAST_MARK = float(NO_DATA[0])
"""Every number whose size is below this one is present."""


def is_present(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Of real numbers of any shape: whether each is neither NaN, nor infinity, nor a mark of NO_DATA."""
    size = np.abs(values)
    present: NDArray[np.bool_] = np.isfinite(values) & ~((size >= NO_DATA[0]) & (size <= NO_DATA[1]))
    return present


def are_below(values: NDArray[Any], limit: float = LEAST_MARK) -> bool:
    """Whether all real numbers lie between -limit and limit, so that none is absent.

    Much faster than `is_present`, and the usual case. Larger numbers may be present all the same.
    """
    if values.size == 0:
        return True
    return bool(values.min() > -limit and values.max() < limit)  # NaN is neither
