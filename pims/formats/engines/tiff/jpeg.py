"""JPEG streams inside TIFF: made complete with their tables, decoded, never decoded to be sent."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.jpeg_codec import is_padding

__all__ = ["SOI_BYTES", "JpegSplicer", "check_effort", "decode_jpeg", "is_common", "is_plain_start"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""APP14 with transform 0: three components that are R, G, B."""
ADOBE_YCBCR = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
MAX_SCANS = 100
"""An encoder writes at most some twenty; each costs a pass over the whole tile ..."""
MAX_SCANNED_PIXELS = 1 << 32
"""... and over so many pixels, all passes together."""
ARITHMETIC = re.compile(rb"\xff[\xc9-\xcb\xcd-\xcf]")
UNCOMMON_FRAME = re.compile(rb"\xff[\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")
HEADER_BYTES = 1024
"""Within them is the frame header of a tile."""
SMALL_BYTES, SMALL_PIXELS = 32_768, 131_072
SOI_BYTES = len(SOI)
APP0, APP14, APP15, SOS = 0xE0, 0xEE, 0xEF, 0xDA


MAX_TABLES = 65_536
"""Bytes of the tables; four of each kind take 3 KB. They are sent with every tile."""


class JpegSplicer:
    """Makes the complete JPEG of a segment: SOI + APP14 (in colour) + JPEGTables + the stored stream.

    TIFF says the colour space in a tag of its own, JPEG decoders look for markers: where the two could
    disagree, the markers are replaced.
    """

    def __init__(self, tables: bytes, *, rgb: bool, grey: bool) -> None:
        """`tables` is the JPEGTables tag, possibly empty. Raises CorruptFile."""
        if tables and not (tables.startswith(SOI) and tables.endswith(EOI) and len(tables) <= MAX_TABLES):
            raise CorruptFile("The JPEG tables of the TIFF are damaged.")
        inner = tables[2:-2]
        self._grey = grey
        self._adobe = b"" if grey else (ADOBE_RGB if rgb else ADOBE_YCBCR)
        self._tables = inner if grey else _without_colour_markers(inner)
        self.prefix = SOI + self._adobe + self._tables
        """What precedes the stored stream, without its SOI."""

    def complete(self, stream: bytes) -> bytes:
        """The complete JPEG of a stored stream. Raises CorruptFile when it does not start as a JPEG."""
        if not stream.startswith(b"\xff\xd8\xff") or len(stream) < 4:
            raise CorruptFile("A tile does not hold the JPEG data it should.")
        if APP0 <= stream[3] <= APP15 and not self._grey:
            return self.prefix + _without_colour_markers(stream[2:])
        return self.prefix + stream[2:]


def is_plain_start(data: bytes, start: int) -> bool:
    """Whether a marker that says nothing of colours begins at `start`: what precedes it completes it."""
    marker = data[start : start + 2]
    return len(marker) == 2 and marker[0] == 0xFF and marker[1] != 0xD8 and not APP0 <= marker[1] <= APP15


def _without_colour_markers(segments: bytes) -> bytes:
    """The marker segments without APP0 and APP14, which would overrule the colour space of the TIFF."""
    kept, position = [], 0
    while position + 4 <= len(segments) and segments[position] == 0xFF:
        marker = segments[position + 1]
        if marker == SOS:
            break
        length = 2 + int.from_bytes(segments[position + 2 : position + 4], "big")
        if marker not in (APP0, APP14):
            kept.append(segments[position : position + length])
        position += length
    return b"".join(kept) + segments[position:]


def is_common(data: bytes) -> bool:
    """Whether every browser decodes it: not lossless, hierarchical or arithmetic."""
    return UNCOMMON_FRAME.search(data, 0, HEADER_BYTES) is None


def decode_jpeg(data: bytes, width: int, height: int, samples: int, reduction: int = 1) -> NDArray[np.uint8]:
    """Decode a complete JPEG that must be width x height, shrunk by `reduction` in the DCT.

    Returns (ceil(height / reduction), ceil(width / reduction), samples). Raises CorruptFile.
    """
    check_effort(data, width, height)
    out_width, out_height = -(-width // reduction), -(-height // reduction)
    options: dict[str, Any] = {"colorspace": "GRAY" if samples == 1 else "RGB"}
    if reduction > 1:
        options |= {"min_width": out_width, "min_height": out_height, "min_factor": reduction}
    # The buffer bounds what a hostile header can allocate: a larger JPEG is refused before its decoding.
    buffer = np.empty((out_height, out_width, samples), np.uint8)
    try:
        try:
            pixels = simplejpeg.decode_jpeg(data, buffer=buffer, **options)
        except ValueError as error:
            if not is_padding(error, data):
                raise
            pixels = simplejpeg.decode_jpeg(data, buffer=buffer, strict=False, **options)
    except ValueError as error:
        raise CorruptFile(f"A JPEG tile can't be decoded: {error}.") from error
    if pixels.shape != buffer.shape:
        raise CorruptFile(f"A JPEG tile is {pixels.shape[1]} x {pixels.shape[0]} px, not {width} x {height}.")
    return buffer


def check_effort(data: bytes, width: int, height: int) -> None:
    """Refuses a bomb before its decoding: a block has at least one bit, an image few scans."""
    if len(data) * 8 < (width // 8) * (height // 8) and not ARITHMETIC.search(data):
        raise CorruptFile(f"A JPEG tile of {len(data)} bytes can't hold {width} x {height} px.")
    if len(data) <= SMALL_BYTES and width * height <= SMALL_PIXELS:
        return  # an ordinary tile: however many scans it has, they are done in a second
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS or (scans > 1 and scans * width * height > MAX_SCANNED_PIXELS):
        raise CorruptFile(f"A JPEG tile of {width} x {height} px has {scans} scans.")
