"""The codecs of TIFF that give pixels; each is held to the size of the tile before it decodes."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.tiff.jpeg import check_effort
from pims.formats.engines.tiff.tags import Compression

__all__ = ["decode_ccitt", "decode_components", "decode_lerc", "decode_webp"]

LERC_SLACK = 65_536
"""Bytes it may take beyond twice those of its pixels."""

Shape = tuple[int, int, int]
"""(rows, width, samples)"""


def decode_components(stream: bytes, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The components of a complete JPEG as they are, of any number and 8 or 12 bits. Raises CorruptFile."""
    check_effort(stream, shape[1], shape[0])
    pixels = np.empty(shape if shape[2] > 1 else shape[:2], dtype)
    try:
        imagecodecs.jpeg8_decode(stream, out=pixels)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise _damaged("JPEG", error) from error
    return pixels.reshape(shape)


def decode_webp(data: bytes, shape: Shape) -> NDArray[Any]:
    """A picture with or without alpha. Raises CorruptFile."""
    pixels = np.empty(shape, np.uint8)
    try:
        imagecodecs.webp_decode(data, hasalpha=shape[2] == 4, out=pixels)
    except (RuntimeError, ValueError) as error:
        raise _damaged("WebP", error) from error
    return pixels


def decode_lerc(data: bytes, shape: Shape, dtype: np.dtype[Any], codec: int) -> NDArray[Any]:
    """Values within the error that their writer allowed; masked pixels keep what is behind the mask.

    `codec` is the second LercParameter: 0, or that which LERC itself was compressed with.
    """
    pixels = np.empty(shape if shape[2] > 1 else shape[:2], dtype)
    try:
        if codec:
            # Incompressible values take a little more than their size.
            decompress = {1: imagecodecs.zlib_decode, 2: imagecodecs.zstd_decode}[codec]
            data = bytes(decompress(data, out=2 * pixels.nbytes + LERC_SLACK))
        imagecodecs.lerc_decode(data, out=pixels)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _damaged("LERC", error) from error
    return pixels.reshape(shape)


def decode_ccitt(data: bytes, shape: Shape, compression: int, t4_options: int) -> NDArray[Any]:
    """ITU-T T.4 and T.6: 0 and 1 as they are stored. Raises CorruptFile."""
    rows, width, _ = shape
    try:
        match compression:
            case Compression.CCITT_RLE:
                pixels = imagecodecs.ccittrle_decode(data, rows, width)
            case Compression.CCITT_GROUP3:
                pixels = imagecodecs.ccittfax3_decode(data, rows, width, t4options=t4_options)
            case _:
                pixels = imagecodecs.ccittfax4_decode(data, rows, width)
    except (RuntimeError, ValueError) as error:
        raise _damaged("CCITT", error) from error
    return np.array(pixels, np.uint8).reshape(shape)


def _damaged(what: str, error: Exception) -> CorruptFile:
    return CorruptFile(f"A {what} tile can't be decoded: {str(error).strip().rstrip('.')}.")
