"""Netpbm decoding by numpy: stored values are kept, ones of a bitmap become black."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.composite import default_background, over
from pims.formats.engines.pnm_header import PnmHeader

__all__ = ["decode_pnm"]

BLANK = b" \t\n\v\f\r"
DIGITS = b"0123456789"
MAX_PLAIN_BYTES = 256 << 20
"""Of decimal numbers."""
PLAIN_CHUNK = 1 << 20
LONG_NUMBER = re.compile(rb"[0-9]{11}")
COMMENT = re.compile(rb"#[^\n\r]*")


def decode_pnm(data: bytes, header: PnmHeader) -> NDArray[Any]:
    """Decode a whole file.

    Returns (height, width, 1 or 3), uint8, uint16 or float32: the stored values, but for bitmaps, where
    0 is black, and for alpha, which is composited on white for RGB of 8 bits, on black for anything else.

    Raises CorruptFile, LimitExceeded.
    """
    shape = (header.height, header.width, header.stored_samples)
    if header.plain:
        pixels = _plain(data, header).reshape(shape)
    elif header.is_float:
        order = "<" if header.scale < 0 else ">"
        stored = _stored(data, header, header.width * header.stored_samples * 4)
        # Rows go from the bottom to the top.
        pixels = stored.view(f"{order}f4").reshape(shape)[::-1].astype(np.float32)
    elif header.is_bitmap:
        rows = _stored(data, header, (header.width + 7) // 8)
        pixels = np.unpackbits(rows, axis=1, count=header.width).reshape(shape)
    else:
        rows = _stored(data, header, header.width * header.stored_samples * header.sample_bytes)
        pixels = rows.reshape(shape) if header.sample_bytes == 1 else rows.view(">u2").reshape(shape)
        pixels = pixels.astype(f"uint{8 * header.sample_bytes}")
        _cut_values(pixels, header)
    if header.is_bitmap:
        pixels ^= 1
    if header.has_alpha:
        bits = header.significant_bits
        background = tuple(min(value, header.maxval) for value in default_background(header.samples, bits))
        return over(pixels, background, header.maxval)
    return pixels


def _stored(data: bytes, header: PnmHeader, row_bytes: int) -> NDArray[np.uint8]:
    """(height, row bytes). Raises CorruptFile when the file ends before."""
    size = row_bytes * header.height
    there = len(data) - header.offset
    if there < size:
        raise CorruptFile(
            f"This Netpbm image ends too early: {max(there, 0)} of the {size} bytes of its pixels are there."
        )
    return np.frombuffer(data, np.uint8, size, header.offset).reshape(header.height, row_bytes)


def _plain(data: bytes, header: PnmHeader) -> NDArray[Any]:
    """The decimal numbers after the header, as many as the image has samples."""
    if len(data) > MAX_PLAIN_BYTES:
        raise LimitExceeded(
            f"This Netpbm image holds {len(data)} bytes of decimal numbers; at most {MAX_PLAIN_BYTES} are "
            "read. Its binary variant has no such limit."
        )
    count = header.width * header.height * header.stored_samples
    text = memoryview(data)[header.offset :]
    if len(text) < (count if header.is_bitmap else 2 * count - 1):
        raise CorruptFile(
            f"This Netpbm image ends too early: {len(text)} bytes can't hold {header.width} x "
            f"{header.height} px."
        )
    result = np.empty(count, f"uint{8 * header.sample_bytes}")
    filled = position = 0
    while filled < count and position < len(text):
        chunk, position = _chunk(text, position)
        values = _bits(chunk) if header.is_bitmap else _numbers(chunk)
        if values.size and values.max() > header.maxval:
            raise CorruptFile(f"This Netpbm image is damaged: a value exceeds {header.maxval}.")
        kept = values[: count - filled]
        result[filled : filled + kept.size] = kept
        filled += kept.size
    if filled < count:
        raise CorruptFile(f"This Netpbm image ends too early: {filled} of its {count} values are there.")
    return result


def _chunk(text: memoryview, position: int) -> tuple[bytes, int]:
    """Some text that ends between two numbers and not within a comment, and where the next begins."""
    end = min(position + PLAIN_CHUNK, len(text))
    chunk = bytes(text[position:end])
    if end < len(text):
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if cut < 0 and b"#" not in chunk:  # one long line
            cut = max(chunk.rfind(bytes((blank,))) for blank in BLANK)
        if cut < 0:
            cut = len(chunk) - 1
        chunk = chunk[: cut + 1]
    following = position + len(chunk)
    return COMMENT.sub(b" ", chunk) if b"#" in chunk else chunk, following


def _numbers(chunk: bytes) -> NDArray[Any]:
    strange = chunk.translate(None, DIGITS + BLANK)
    if strange or LONG_NUMBER.search(chunk):
        raise CorruptFile("This Netpbm image is damaged: what is among its values is no number.")
    return np.fromstring(chunk, np.int64, sep=" ") if chunk.strip() else np.empty(0, np.int64)


def _bits(chunk: bytes) -> NDArray[np.uint8]:
    """The digits of a plain bitmap need no space between them."""
    digits = chunk.translate(None, BLANK)
    if digits.translate(None, b"01"):
        raise CorruptFile("This Netpbm image is damaged: what is among its bits is neither 0 nor 1.")
    return np.frombuffer(digits, np.uint8) - ord("0")


def _cut_values(pixels: NDArray[Any], header: PnmHeader) -> None:
    """Values that do not fit in the significant bits become the brightest that does."""
    highest = (1 << header.significant_bits) - 1
    if highest < np.iinfo(pixels.dtype).max:
        np.minimum(pixels, pixels.dtype.type(highest), out=pixels)
