"""JPEG decoding: libjpeg-turbo's default arithmetic (exact DCT, smooth chroma), with damage refused.

libjpeg goes on after damage and reports only its first warning, so a harmless one could hide a serious
one. The stream is therefore rewritten first: only what decoding needs is kept, and what the header's
other segments would be warned about is gone.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines import jpeg_header as markers
from pims.formats.engines.jpeg_header import JpegColor, JpegHeader
from pims.formats.engines.reduce import box_reduce

__all__ = ["decode_jpeg", "is_padding", "pure_stream"]

JFIF = bytes.fromhex("ffe0 0010") + b"JFIF\0" + bytes.fromhex("0101 00 0001 0001 0000")
ADOBE = bytes.fromhex("ffee 000e") + b"Adobe" + bytes.fromhex("0064 0000 0000")
COLOR_MARKERS = {
    JpegColor.GREY: JFIF,
    JpegColor.YCBCR: JFIF,
    JpegColor.RGB: ADOBE + b"\0",
    JpegColor.CMYK: ADOBE + b"\0",
    JpegColor.YCCK: ADOBE + b"\2",
}
NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that ends coded data: not a stuffed FF, a restart, or fill."""
PADDING_WARNING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_PADDING_BYTES = 64
"""Bytes between the last block and the end marker that are no sign of damage, unless they are all zero."""
MAX_SCANS = 100
"""An encoder writes at most some twenty; each costs a pass over the whole image."""
UNSUPPORTED_MESSAGES = {
    "subsampling level": "the decoder does not know its sampling factors",
    "omitted at compile time": "the decoder was built without its coding process",
    "not implemented": "the decoder does not know its coding process",
    "not supported": "the decoder does not know its coding process",
    "color conversion": "the decoder does not know its colour space",
}
"""What libjpeg-turbo says of a JPEG that is none of the usual, but not damaged."""
BAND_PIXELS = 1 << 20


def pure_stream(data: bytes, header: JpegHeader) -> bytes:
    """The same image as a JPEG without anything decoding does not need.

    No EXIF (so no orientation a viewer would apply), colour profile, comment or bytes after the image; one
    marker says what the components are.

    Raises CorruptFile when the file ends before the image does, LimitExceeded for too many scans.
    """
    end = _end_of_image(data, header)
    pieces = [data[offset : offset + length] for offset, length in header.tables]
    return b"".join(
        (b"\xff\xd8", COLOR_MARKERS[header.color], *pieces, memoryview(data)[header.scan : end], b"\xff\xd9")
    )


def _end_of_image(data: bytes, header: JpegHeader) -> int:
    """Offset of the EOI marker, found by walking over every scan."""
    position, scans = header.scan, 0
    for _ in range(markers.MAX_SEGMENTS):
        found = NEXT_MARKER.search(data, position)
        if found is None:
            raise CorruptFile("This JPEG ends too early: its end marker is missing.")
        marker = data[found.start() + 1]
        if marker == markers.EOI:
            _check_enough_bits(header, found.start() - header.scan)
            return found.start()
        if marker in markers.FRAMES or marker == markers.SOI:
            raise CorruptFile("This JPEG is damaged: a second image starts within the first.")
        scans += marker == markers.SOS
        if scans > MAX_SCANS:
            raise LimitExceeded(f"This JPEG has more than {MAX_SCANS} scans.")
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise LimitExceeded(f"This JPEG has more than {markers.MAX_SEGMENTS} segments.")


def _check_enough_bits(header: JpegHeader, size: int) -> None:
    """A Huffman code has at least one bit and a block at least one code: refuses a bomb before decoding."""
    first = header.components[0]
    width = header.width * first.horizontal // max(c.horizontal for c in header.components)
    height = header.height * first.vertical // max(c.vertical for c in header.components)
    if not header.arithmetic and size * 8 < (width // 8) * (height // 8):
        raise CorruptFile(
            f"This JPEG ends too early: {size} bytes can't hold {header.width} x {header.height} px."
        )


def decode_jpeg(data: bytes, header: JpegHeader, reduction: int = 1) -> NDArray[np.uint8]:
    """Decode a whole file, shrunk by `reduction` (1, 2, 4, 8) in the DCT where that is possible.

    Returns (ceil(height / reduction), ceil(width / reduction), 1 or 3): grey or RGB; CMYK becomes sRGB.
    Raises CorruptFile, UnsupportedFeature, LimitExceeded.
    """
    stream = pure_stream(data, header)
    scaled = reduction if header.lossy else 1
    width, height = -(-header.width // scaled), -(-header.height // scaled)
    pixels = _decode(stream, header, width, height)
    if pixels.shape[:2] != (height, width):
        raise CorruptFile(f"This JPEG decodes to {pixels.shape[1]} x {pixels.shape[0]} px, not as it says.")
    if pixels.shape[2] == 4:
        pixels = _cmyk_to_rgb(pixels)
    return box_reduce(pixels, reduction // scaled)


def _decode(stream: bytes, header: JpegHeader, width: int, height: int) -> NDArray[np.uint8]:
    options: dict[str, Any] = {"colorspace": {1: "GRAY", 3: "RGB", 4: "CMYK"}[len(header.components)]}
    if (width, height) != (header.width, header.height):
        options |= {"min_width": width, "min_height": height}
    try:
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(stream, **options)
        except ValueError as error:
            if not is_padding(error, stream):
                raise
            pixels = simplejpeg.decode_jpeg(stream, strict=False, **options)
    except ValueError as error:
        for words, meaning in UNSUPPORTED_MESSAGES.items():
            if words in str(error):
                factors = " ".join(f"{c.horizontal}x{c.vertical}" for c in header.components)
                raise UnsupportedFeature(
                    f"This JPEG can't be read: {meaning} ({header.process}, {header.color.value}, "
                    f"{factors}). Save it again with the usual settings, or as TIFF or PNG."
                ) from error
        raise CorruptFile(f"This JPEG is damaged: {error}.") from error
    return pixels


def is_padding(warning: ValueError, stream: bytes) -> bool:
    """Whether all that was found wrong are a few bytes, or zeros, after the last block.

    That warning comes after every block was decoded; as the first one, no other came before it.
    """
    found = PADDING_WARNING.search(str(warning))
    if found is None:
        return False
    count = int(found[1])
    return count <= MAX_PADDING_BYTES or not stream[-2 - count : -2].strip(b"\0")


def _cmyk_to_rgb(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """R = (255 - C)(255 - K) / 255, and so on: the plain conversion, without a profile.

    JPEG stores CMYK inverted, as Adobe does: what is stored is 255 - C and 255 - K.
    """
    height, width = stored.shape[:2]
    rgb = np.empty((height, width, 3), np.uint8)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        part = stored[top : top + band].astype(np.uint16)
        rgb[top : top + band] = (part[..., :3] * part[..., 3:] + 127) // 255
    return rgb
