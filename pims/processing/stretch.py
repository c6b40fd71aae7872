"""Intensities shown by arithmetic: 32-bit integers and real numbers, which are too many for a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.model.presence import are_below, is_present
from pims.processing.request import ChannelDisplay

__all__ = ["STRETCHED_TYPES", "IntensityStretch", "positions"]

STRETCHED_TYPES = ("uint32", "int32", "float32", "float64")
SAMPLES_AT_ONCE = 1 << 15
"""As float64 they stay in the processor's cache, and a large window needs no copy of itself."""


class IntensityStretch:
    """The formula of `intensity_lut`, computed for every value. Any thread may use it.

    What is absent (see pims.model.presence: NaN, infinity, marks of pixels without data) is shown black.
    """

    __slots__ = ("_channels", "_full", "_uniform", "dtype")

    def __init__(self, channels: Sequence[ChannelDisplay], output_bits: int) -> None:
        """`channels`: one per sample of a pixel; `output_bits`: 1 to 16."""
        if not channels or not 1 <= output_bits <= 16:
            raise ValueError(f"no stretch of {len(channels)} samples to {output_bits} bits")
        self.dtype = np.dtype(np.uint8 if output_bits <= 8 else np.uint16)
        self._full = (1 << output_bits) - 1
        self._channels = tuple(channels)
        self._uniform = all(channel == channels[0] for channel in channels)

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Every sample as its channel is displayed.

        Parameters
        ----------
        pixels : (height, width, samples), one of STRETCHED_TYPES, any memory layout

        Returns
        -------
        C-contiguous array of the same shape, uint8 up to 8 output bits, uint16 above

        Raises
        ------
        UnsupportedFeature : pixels of another type
        """
        if pixels.dtype not in STRETCHED_TYPES:
            raise UnsupportedFeature(
                f"Intensities of type {pixels.dtype} can't be adjusted; {', '.join(STRETCHED_TYPES)} can."
            )
        if pixels.ndim != 3 or pixels.shape[2] != len(self._channels):
            raise ValueError(f"{len(self._channels)} channels for {pixels.shape}")
        out = np.empty(pixels.shape, self.dtype)
        if self._uniform:
            self._stretch(pixels, out, self._channels[0])
        else:
            for sample, channel in enumerate(self._channels):
                self._stretch(pixels[:, :, sample], out[:, :, sample], channel)
        return out

    def _stretch(self, values: NDArray[Any], out: NDArray[Any], channel: ChannelDisplay) -> None:
        """A few rows at a time."""
        if values.size == 0:
            return
        rows = max(SAMPLES_AT_ONCE // values[0].size, 1)
        for first in range(0, len(values), rows):
            part = values[first : first + rows]
            x = positions(part, channel.minimum, channel.maximum)
            if part.dtype.kind == "f" and not are_below(part):
                x[~is_present(part)] = 0.0
            np.clip(x, 0.0, 1.0, out=x)
            if channel.gamma == 0:
                np.greater(x, 0.0, out=x, casting="unsafe")
            elif channel.gamma != 1:
                np.power(x, channel.gamma, out=x)
            np.multiply(x, self._full, out=x)
            np.rint(x, out=x)
            out[first : first + rows] = x


def positions(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """(values - low) / (high - low) as a new array: 0 at `low`, 1 at `high`, NaN for NaN.

    When both are equal: 0 below them and 1 from there on. Nothing overflows but to infinity.
    """
    low, high = float(low), float(high)
    with np.errstate(all="ignore"):
        x = values.astype(np.float64)
        if low == high:
            return np.where(np.isnan(x), x, (x >= high).astype(np.float64))
        if not math.isfinite(high - low):  # both are huge: half of everything is not too large
            np.multiply(x, 0.5, out=x)
            low, high = low / 2, high / 2
        np.subtract(x, low, out=x)
        return np.divide(x, high - low, out=x)
