"""PNG decoding by libpng; transparency is composited, so that what comes out is grey or RGB."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.composite import default_background, over
from pims.formats.engines.png_header import SIGNATURE, Chunk, PngColor, PngHeader

__all__ = ["decode_png"]

MAX_DEFLATE_RATIO = 1032
"""No deflate stream grows more (258 bytes from 2 bits)."""


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
    background = header.background or default_background(samples, header.bits)
    return over(pixels, background, (1 << header.bits) - 1)


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
