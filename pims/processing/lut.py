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

__all__ = ["apply_luts", "intensity_lut", "is_identity"]

CACHED_LUTS = 128
"""At most 128 KiB each."""
CACHED_PAIR_LUTS = 64
"""128 KiB each."""


@lru_cache(maxsize=CACHED_LUTS)
def intensity_lut(source_bits: int, display: ChannelDisplay, output_bits: int) -> NDArray[Any]:
    """The shown intensity of every stored one.

    x = clip((v - minimum) / (maximum - minimum), 0, 1) and out = rint(x ** gamma * (2**output_bits - 1)).
    When minimum and maximum are equal, x is 0 below them and 1 from there on. What is at or below the
    minimum stays black whatever the gamma: gamma 0 shows everything above the minimum as full.

    Parameters
    ----------
    source_bits : bits of the stored type, 8 or 16 (not the significant ones: any stored value has an entry)
    output_bits : 1 to 16

    Returns
    -------
    read-only array of 2**source_bits entries, uint8 up to 8 output bits, uint16 above
    """
    if source_bits not in (8, 16) or not 1 <= output_bits <= 16:
        raise ValueError(f"no look-up table from {source_bits} to {output_bits} bits")
    values = np.arange(1 << source_bits, dtype=np.float64)
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
    """Whether the table would give back every stored value as it is."""
    return (
        source_bits == output_bits
        and display.gamma == 1
        and display.minimum == 0
        and display.maximum == (1 << source_bits) - 1
    )


def apply_luts(pixels: NDArray[Any], luts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Every sample through its own table.

    Parameters
    ----------
    pixels : (height, width, samples), uint8 or uint16, any memory layout
    luts : one table per sample, all of one type, as `intensity_lut` makes them for the type of `pixels`

    Returns
    -------
    new C-contiguous array of the same shape and of the type of the tables

    Raises
    ------
    UnsupportedFeature : pixels of another type
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnsupportedFeature(
            f"Intensities of type {pixels.dtype} can't be adjusted; uint8 and uint16 can."
        )
    if pixels.ndim != 3 or len(luts) != pixels.shape[2]:
        raise ValueError(f"{len(luts)} tables for an array of shape {pixels.shape}")
    if any(lut.size != 1 << (8 * pixels.itemsize) or lut.dtype != luts[0].dtype for lut in luts):
        raise ValueError(f"tables that don't cover {pixels.dtype}, or of different types")
    if pixels.size == 0:
        return np.empty(pixels.shape, luts[0].dtype if luts else pixels.dtype)
    if all(lut is luts[0] for lut in luts):
        return _look_up(pixels, luts[0]).reshape(pixels.shape)
    planes = [_look_up(pixels[:, :, sample], lut) for sample, lut in enumerate(luts)]
    merged = cv2.merge([plane.reshape(pixels.shape[:2]) for plane in planes])
    return np.asarray(merged).reshape(pixels.shape)


def _look_up(pixels: NDArray[Any], lut: NDArray[Any]) -> NDArray[Any]:
    """All of `pixels` through one table, flat. OpenCV gets one long row: short ones are slow."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    if flat.dtype == np.uint8 and lut.dtype == np.uint8 and flat.size > 1:
        return _look_up_pairs(flat, lut)
    return np.asarray(cv2.LUT(flat.reshape(1, -1), lut))


def _look_up_pairs(flat: NDArray[np.uint8], lut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two bytes at a time through a table of 65,536 pairs: half the look-ups, half the time."""
    even = flat.size & ~1
    pairs = flat[:even].view(np.uint16)
    if not pairs.flags.aligned:
        pairs = pairs.copy()
    out = np.empty(flat.size, np.uint8)
    cv2.LUT(pairs.reshape(1, -1), _pair_lut(lut.tobytes()), dst=out[:even].view(np.uint16).reshape(1, -1))
    if even < flat.size:
        out[even] = lut[flat[even]]
    return out


@lru_cache(maxsize=CACHED_PAIR_LUTS)
def _pair_lut(lut: bytes) -> NDArray[np.uint16]:
    """The table of two neighbouring bytes read as one number; the same in either byte order."""
    entries = np.frombuffer(lut, np.uint8).astype(np.uint16)
    pairs: NDArray[np.uint16] = np.add.outer(entries * np.uint16(256), entries).reshape(-1)
    pairs.flags.writeable = False
    return pairs
