"""Look-up tables (LUTs) that turn stored intensities into shown ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.processing.request import ChannelDisplay

__all__ = ["IntensityTables", "intensity_lut", "is_identity"]

CACHED_LUTS = 128
"""At most 128 KiB each."""
CACHED_PAIR_LUTS = 64
"""128 KiB each."""


@lru_cache(maxsize=CACHED_LUTS)
def intensity_lut(
    source_bits: int, display: ChannelDisplay, output_bits: int, *, signed: bool = False
) -> NDArray[Any]:
    """The shown intensity of every stored one.

    x = clip((v - minimum) / (maximum - minimum), 0, 1) and out = rint(x ** gamma * (2**output_bits - 1)).
    When minimum and maximum are equal, x is 0 below them and 1 from there on. What is at or below the
    minimum stays black whatever the gamma: gamma 0 shows everything above the minimum as full.

    Parameters
    ----------
    source_bits : bits of the stored type, 8 or 16 (not the significant ones: any stored value has an entry)
    output_bits : 1 to 16
    signed : whether stored values are signed; entries are in the order of the same bits read as unsigned:
        0 to the highest, then the lowest to -1

    Returns
    -------
    read-only array of 2**source_bits entries, uint8 up to 8 output bits, uint16 above
    """
    if source_bits not in (8, 16) or not 1 <= output_bits <= 16:
        raise ValueError(f"no look-up table from {source_bits} to {output_bits} bits")
    values = np.arange(1 << source_bits, dtype=np.float64)
    if signed:
        values[1 << (source_bits - 1) :] -= 1 << source_bits
    if display.minimum < display.maximum:
        x = np.clip((values - display.minimum) / (display.maximum - display.minimum), 0.0, 1.0)
    else:
        x = (values >= display.maximum).astype(np.float64)
    y = np.where(x > 0, x**display.gamma, 0.0)
    lut: NDArray[Any] = np.rint(y * ((1 << output_bits) - 1)).astype(
        np.uint8 if output_bits <= 8 else np.uint16
    )
    lut.flags.writeable = False
    return lut


def is_identity(source_bits: int, display: ChannelDisplay, output_bits: int) -> bool:
    """Whether the table of unsigned values would give back every stored value as it is."""
    return (
        source_bits == output_bits
        and display.gamma == 1
        and display.minimum == 0
        and display.maximum == (1 << source_bits) - 1
    )


class IntensityTables:
    """One table per sample of a pixel, laid out to be looked up fast. Any thread may use it."""

    __slots__ = ("_index_type", "_source_type", "_tables", "_uniform", "dtype")

    def __init__(self, luts: Sequence[NDArray[Any]], *, signed: bool = False) -> None:
        """`luts`: one per sample, all of one size and type, as `intensity_lut` makes them."""
        first = luts[0]
        if any(
            lut.size not in (256, 65536) or (lut.size, lut.dtype) != (first.size, first.dtype) for lut in luts
        ):
            raise ValueError("tables of different types, or that don't cover uint8 or uint16")
        self.dtype = first.dtype
        self._index_type = np.dtype(np.uint8 if first.size == 256 else np.uint16)
        self._source_type = np.dtype(f"i{self._index_type.itemsize}") if signed else self._index_type
        self._uniform = all(lut is first for lut in luts)
        self._tables = tuple(_Table(lut) for lut in luts)

    def apply(self, pixels: NDArray[Any], *, in_place: bool = False) -> NDArray[Any]:
        """Every sample through its own table.

        Parameters
        ----------
        pixels : (height, width, samples), integers of 8 or 16 bits as the tables are for, any memory layout
        in_place : the result may take the place of `pixels`, which saves a tenth of the time

        Returns
        -------
        C-contiguous array of the same shape and of the type of the tables; a new one unless `in_place`

        Raises
        ------
        UnsupportedFeature : pixels of another type
        """
        if pixels.dtype not in (np.uint8, np.uint16, np.int8, np.int16):
            raise UnsupportedFeature(
                f"Intensities of type {pixels.dtype} can't be looked up; those of 8 and 16 bits can."
            )
        if pixels.ndim != 3 or pixels.shape[2] != len(self._tables) or pixels.dtype != self._source_type:
            raise ValueError(
                f"{len(self._tables)} tables of {self._source_type} for {pixels.shape} {pixels.dtype}"
            )
        pixels = np.ascontiguousarray(pixels)
        if self._index_type is not self._source_type:
            pixels = pixels.view(self._index_type)
        out = pixels if in_place and pixels.dtype == self.dtype else np.empty(pixels.shape, self.dtype)
        if pixels.size == 0:
            return out
        if self._uniform:
            self._tables[0].look_up(pixels.reshape(-1), out.reshape(-1))
            return out
        planes = np.empty((len(self._tables), pixels[:, :, 0].size), self._index_type)
        shown = np.empty(planes.shape, self.dtype)
        cv2.split(pixels.reshape(1, -1, len(planes)), [plane.reshape(1, -1) for plane in planes])
        for table, plane, shown_plane in zip(self._tables, planes, shown, strict=True):
            table.look_up(plane, shown_plane)
        cv2.merge([plane.reshape(1, -1) for plane in shown], dst=out.reshape(1, -1, len(planes)))
        return out


class _Table:
    """One table and, where it helps, that of two neighbouring values at once: half the look-ups."""

    __slots__ = ("_lut", "_pairs")

    def __init__(self, lut: NDArray[Any]) -> None:
        self._lut = lut
        self._pairs = _pair_lut(lut.tobytes()) if lut.size == 256 and lut.dtype == np.uint8 else None

    def look_up(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """`values` and `out` are flat. OpenCV gets one long row: short ones are slow."""
        done = 0
        if self._pairs is not None and values.size > 1:
            done = values.size & ~1
            pairs = values[:done].view(np.uint16)
            if not pairs.flags.aligned:
                pairs = pairs.copy()
            shown = out[:done].view(np.uint16)
            if not shown.flags.aligned:
                shown[:] = cv2.LUT(pairs.reshape(1, -1), self._pairs).reshape(-1)
            else:
                cv2.LUT(pairs.reshape(1, -1), self._pairs, dst=shown.reshape(1, -1))
        if done < values.size:
            cv2.LUT(values[done:].reshape(1, -1), self._lut, dst=out[done:].reshape(1, -1))


@lru_cache(maxsize=CACHED_PAIR_LUTS)
def _pair_lut(lut: bytes) -> NDArray[np.uint16]:
    """The table of two neighbouring bytes read as one number; the same in either byte order."""
    entries = np.frombuffer(lut, np.uint8).astype(np.uint16)
    pairs: NDArray[np.uint16] = np.add.outer(entries * np.uint16(256), entries).reshape(-1)
    pairs.flags.writeable = False
    return pairs
