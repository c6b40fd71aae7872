"""PNG decoding by libpng; transparency is composited, so that what comes out is grey or RGB."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.png_header import SIGNATURE, Chunk, PngColor, PngHeader

__all__ = ["decode_png"]

MAX_DEFLATE_RATIO = 1032
"""No deflate stream grows more (258 bytes from 2 bits)."""
BAND_PIXELS = 1 << 20


def decode_png(data: bytes, chunks: list[Chunk], header: PngHeader) -> NDArray[Any]:
    """Decode a whole file, of which `chunks` are the chunks.

    Returns (height, width, 1 or 3), uint8 or uint16: grey of fewer than 8 bits is scaled to 8, a palette
    becomes RGB, alpha is composited on the background of the file, else on white for RGB of 8 bits and on
    black for anything else.

    Raises CorruptFile.
    """
    stored_bits = header.width * header.height * header.depth * header.color.components
    if header.data_bytes * MAX_DEFLATE_RATIO < stored_bits // 8:
        raise CorruptFile(
            f"This PNG ends too early: {header.data_bytes} bytes can't hold "
            f"{header.width} x {header.height} px."
        )
    try:
        pixels: NDArray[Any] = imagecodecs.png_decode(_needed(data, chunks, header))
    except (imagecodecs.PngError, ValueError) as error:
        raise CorruptFile(f"This PNG is damaged: {_reason(error)}.") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    samples = header.samples
    if pixels.shape != (header.height, header.width, samples + header.has_alpha):
        raise CorruptFile(f"This PNG decodes to an array of shape {pixels.shape}, not as it says.")
    if not header.has_alpha:
        return pixels
    highest = (1 << header.bits) - 1
    default = highest if samples == 3 and header.bits == 8 else 0
    return _composite(pixels, header.background or (default,) * samples)


def _needed(data: bytes, chunks: list[Chunk], header: PngHeader) -> bytes:
    """The file with nothing but what decoding needs. Raises CorruptFile when a checksum is wrong.

    The other chunks can't change a pixel, but libpng would warn about them, or inflate them.
    """
    needed = {b"IHDR", b"IDAT", b"IEND"}
    if header.color is PngColor.PALETTE:
        needed.add(b"PLTE")
    if header.has_transparency:
        needed.add(b"tRNS")
    view = memoryview(data)
    stream = io.BytesIO()
    stream.write(SIGNATURE)
    for chunk in chunks:
        if chunk.kind not in needed:
            continue
        whole = view[chunk.offset : chunk.offset + 12 + chunk.length]
        (stored,) = struct.unpack(">I", whole[-4:])
        if zlib.crc32(whole[4:-4]) != stored:
            raise CorruptFile(
                f"This PNG is damaged: the checksum of its {chunk.kind.decode()} chunk is wrong."
            )
        stream.write(whole)
    return stream.getvalue()


def _reason(error: Exception) -> str:
    # libpng quotes bytes of the file in some messages, which imagecodecs then fails to read as UTF-8.
    return "libpng refused it" if isinstance(error, UnicodeError) else str(error) or "libpng refused it"


def _composite(pixels: NDArray[Any], background: tuple[int, ...]) -> NDArray[Any]:
    """Pixels over a background: (p * alpha + b * (highest - alpha)) / highest, rounded.

    (height, width, samples + 1) -> (height, width, samples)
    """
    height, width, planes = pixels.shape
    highest = int(np.iinfo(pixels.dtype).max)
    result = np.empty((height, width, planes - 1), pixels.dtype)
    behind = np.array(background, np.uint32)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        part = pixels[top : top + band]
        alpha = part[..., -1:].astype(np.uint32)
        # At most highest * highest + highest // 2, which 32 bits hold for 16-bit samples.
        mixed = part[..., :-1] * alpha + behind * (highest - alpha) + highest // 2
        result[top : top + band] = mixed // highest
    return result
