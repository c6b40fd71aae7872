"""The codecs of TIFF that give bytes: what is stored, decompressed within a bound."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable
from typing import Any

import imagecodecs

from pims.errors import CorruptFile
from pims.formats.engines.tiff.tags import Compression

__all__ = ["BYTE_CODECS", "PREDICTABLE", "decompress"]

SLACK = 65_536
"""Bytes a compressed segment may decode to beyond what the image needs, as some writers' do."""
LZMA_MEMORY = 256 << 20
"""Bytes of a dictionary: a header of few bytes can claim gigabytes."""

IMAGECODECS: dict[int, Callable[..., Any]] = {
    Compression.LZW: imagecodecs.lzw_decode,
    Compression.DEFLATE: imagecodecs.zlib_decode,
    Compression.DEFLATE_OLD: imagecodecs.zlib_decode,
    Compression.PACKBITS: imagecodecs.packbits_decode,
    Compression.ZSTD: imagecodecs.zstd_decode,
    Compression.ZSTD_OLD: imagecodecs.zstd_decode,
}
BYTE_CODECS = frozenset((Compression.NONE, Compression.LZMA, *IMAGECODECS))
PREDICTABLE = BYTE_CODECS - {Compression.NONE, Compression.PACKBITS}
"""Those whose Predictor tag counts."""


def decompress(compression: int, data: bytes, size: int) -> bytes:
    """The bytes of a segment, of which `size` are needed. Raises CorruptFile."""
    try:
        if compression == Compression.LZMA:
            data = lzma.LZMADecompressor(memlimit=LZMA_MEMORY).decompress(data, max_length=size)
        elif compression != Compression.NONE:
            data = IMAGECODECS[compression](data, out=size + SLACK)
    except (RuntimeError, ValueError, struct.error, lzma.LZMAError, EOFError) as error:
        raise CorruptFile(f"A tile can't be decompressed: {str(error).rstrip('.')}.") from error
    if len(data) < size:
        raise CorruptFile(f"A tile holds {len(data)} bytes of pixels instead of {size}.")
    return data
