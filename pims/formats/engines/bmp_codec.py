"""BMP decoding: palettes, bit fields and run lengths, by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.bmp_header import BmpCompression, BmpHeader
from pims.formats.engines.composite import default_background, over

__all__ = ["decode_bmp"]

BAND_PIXELS = 1 << 20
MAX_RLE_BYTES = 16 << 20
"""Of run lengths, which are walked over one by one: some ten seconds."""
MIN_RLE_PIXELS = 1 << 24
MAX_RLE_RATIO = 1024
"""Pixels a byte of a picture of more than MIN_RLE_PIXELS: runs can give 128, jumps the rest."""
END_OF_LINE, END_OF_BITMAP, DELTA = 0, 1, 2


def decode_bmp(data: bytes, header: BmpHeader) -> NDArray[Any]:
    """Decode a whole file.

    Returns (height, width, 1 or 3), uint8 or, where a mask has more than 8 bits, uint16: a palette of greys
    becomes grey, any other RGB; samples of other widths are scaled to 8 or 16 bits; alpha is composited on
    white (on black for 16 bits). Indices the palette does not have, and pixels that run lengths jump over,
    are black and the first colour.

    Raises CorruptFile, LimitExceeded.
    """
    if header.compression in (BmpCompression.NONE, BmpCompression.BITFIELDS):
        rows = _rows(data, header)
    else:
        rows = _run_lengths(data[header.offset :], header)
    result = np.empty((header.height, header.width, header.samples), f"uint{header.sample_bits}")
    seen = header.has_alpha and _has_opaque_pixels(rows, header)
    band = max(1, BAND_PIXELS // header.width)
    for top in range(0, header.height, band):
        part = rows[top : top + band]
        if header.palette:
            result[top : top + band] = _palette(header)[_indices(part, header)]
        elif header.bits == 24:
            result[top : top + band] = part[:, : header.width * 3].reshape(len(part), -1, 3)[..., ::-1]
        else:
            result[top : top + band] = _fields(part, header, with_alpha=seen)
    return result if header.top_down else np.ascontiguousarray(result[::-1])


def _rows(data: bytes, header: BmpHeader) -> NDArray[np.uint8]:
    """Stored rows (height, row bytes), in the order of the file."""
    size = header.row_bytes * header.height
    # The last row may lack its padding.
    needed = size - header.row_bytes + (header.width * header.bits + 7) // 8
    there = max(0, len(data) - header.offset)
    if there < needed:
        raise CorruptFile(f"This BMP ends too early: {there} of the {needed} bytes of its pixels are there.")
    if there < size:
        data = data.ljust(header.offset + size, b"\0")
    stored = np.frombuffer(data, np.uint8, size, header.offset)
    return stored.reshape(header.height, header.row_bytes)


def _indices(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint8]:
    """Palette indices (rows, width) of stored rows."""
    if header.bits == 8:
        return rows[:, : header.width]
    if header.bits == 1:
        return np.unpackbits(rows, axis=1, count=header.width)
    shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
    spread = rows[..., None] >> shifts & np.uint8((1 << header.bits) - 1)
    return spread.reshape(len(rows), -1)[:, : header.width]


def _palette(header: BmpHeader) -> NDArray[np.uint8]:
    """(256, samples): what every index shows."""
    colours = np.zeros((256, header.samples), np.uint8)
    colours[: len(header.palette)] = np.array(header.palette, np.uint8)[:, : header.samples]
    return colours


def _pixels(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint32]:
    stored = rows[:, : header.width * header.bits // 8].copy().view(f"<u{header.bits // 8}")
    return stored.astype(np.uint32)


def _has_opaque_pixels(rows: NDArray[np.uint8], header: BmpHeader) -> bool:
    """Whether alpha means something: where it is 0 everywhere, it was left out by who wrote the file."""
    band = max(1, BAND_PIXELS // header.width)
    mask = header.masks[3]
    return any(
        bool((_pixels(rows[top : top + band], header) & mask).any()) for top in range(0, header.height, band)
    )


def _fields(rows: NDArray[np.uint8], header: BmpHeader, *, with_alpha: bool) -> NDArray[Any]:
    """(rows, width, 3): every field scaled to the bits of the result."""
    pixels = _pixels(rows, header)
    highest = (1 << header.sample_bits) - 1
    masks = header.masks if with_alpha else header.masks[:3]
    fields = np.empty((*pixels.shape, len(masks)), f"uint{header.sample_bits}")
    for index, mask in enumerate(masks):
        top = (1 << mask.bit_count()) - 1
        values = (pixels & np.uint32(mask)) >> np.uint32((mask & -mask).bit_length() - 1)
        fields[..., index] = values if top == highest else (values * highest + top // 2) // top
    return over(fields, default_background(3, header.sample_bits), highest) if with_alpha else fields


def _run_lengths(data: bytes, header: BmpHeader) -> NDArray[np.uint8]:
    """Rows of pixels (height, width or 3 * width bytes), or of indices of 8 bits packed to the stored depth.

    A run that leaves its row is cut at the edge, as most readers do.
    """
    width, height = header.width, header.height
    if len(data) > MAX_RLE_BYTES:
        raise LimitExceeded(
            f"This BMP holds {len(data)} bytes of run lengths; at most {MAX_RLE_BYTES} are read."
        )
    if width * height > MIN_RLE_PIXELS and len(data) * MAX_RLE_RATIO < width * height:
        raise CorruptFile(f"This BMP ends too early: {len(data)} bytes can't hold {width} x {height} px.")
    unit = 3 if header.compression is BmpCompression.RLE24 else 1
    canvas = np.zeros((height, width * unit), np.uint8)
    _walk(data, header, canvas.reshape(-1), unit)
    if header.bits == 4:
        padded = np.pad(canvas, ((0, 0), (0, width % 2)))
        return padded[:, ::2] << np.uint8(4) | padded[:, 1::2]
    return canvas


def _walk(data: bytes, header: BmpHeader, canvas: NDArray[np.uint8], unit: int) -> None:
    """Put every run on the canvas. Raises CorruptFile when the data end within one."""
    target = canvas.data
    width, height = header.width, header.height
    nibbles = header.bits == 4
    x = y = position = 0
    end = len(data)
    while y < height:
        if position + 2 > end:
            raise CorruptFile(f"This BMP ends too early: {y} of its {height} rows are there.")
        count, value = data[position], data[position + 1]
        if count:
            run = _run(data[position + 1 : position + 1 + unit], count, nibbles=nibbles)
            position += 1 + unit
        elif value == END_OF_BITMAP:
            return
        elif value == END_OF_LINE:
            x, y, position = 0, y + 1, position + 2
            continue
        elif value == DELTA:
            if position + 4 > end:
                raise CorruptFile("This BMP ends within a run.")
            x, y, position = x + data[position + 2], y + data[position + 3], position + 4
            continue
        else:
            count, start = value, position + 2
            stored = (count + 1) // 2 if nibbles else count * unit
            run = _literal(data[start : start + stored], count, nibbles=nibbles)
            position = start + stored + stored % 2
        if len(run) < count * unit:
            raise CorruptFile("This BMP ends within a run.")
        kept = max(0, min(count, width - x)) * unit
        at = (y * width + x) * unit
        if kept:
            target[at : at + kept] = run[:kept]
        x += count


def _run(value: bytes, count: int, *, nibbles: bool) -> bytes:
    if nibbles and value:
        return (bytes((value[0] >> 4, value[0] & 15)) * (count // 2 + 1))[:count]
    return value * count


def _literal(stored: bytes, count: int, *, nibbles: bool) -> bytes:
    if not nibbles:
        return stored
    return bytes(half for byte in stored for half in (byte >> 4, byte & 15))[:count]
