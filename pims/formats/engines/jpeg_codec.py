"""JPEG decoding: libjpeg-turbo's default arithmetic (exact DCT, smooth chroma), with damage refused.

libjpeg goes on after damage and reports only its first warning, so a harmless one could hide a serious
one. The stream is therefore rewritten first: only what decoding needs is kept, and what the header's
other segments would be warned about is gone.
"""

from __future__ import annotations

import re
from typing import Any

import imagecodecs
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


def decode_jpeg(data: bytes, header: JpegHeader, reduction: int = 1) -> NDArray[Any]:
    """Decode a whole file, shrunk by `reduction` (1, 2, 4, 8) in the DCT where that is possible.

    Returns (ceil(height / reduction), ceil(width / reduction), 1 or 3): grey or RGB; CMYK becomes sRGB.
    uint8, or uint16 with the stored values when there are more than 8 bits.
    Raises CorruptFile, UnsupportedFeature, LimitExceeded.
    """
    stream = pure_stream(data, header)
    scaled = reduction if header.lossy and header.precision == 8 else 1
    width, height = -(-header.width // scaled), -(-header.height // scaled)
    pixels = _decode(stream, header, scaled)
    if pixels.shape[:2] != (height, width):
        raise CorruptFile(f"This JPEG decodes to {pixels.shape[1]} x {pixels.shape[0]} px, not as it says.")
    if pixels.shape[2] == 4:
        pixels = _cmyk_to_rgb(pixels, (1 << header.precision) - 1)
    return box_reduce(pixels, reduction // scaled)


def _decode(stream: bytes, header: JpegHeader, scaled: int) -> NDArray[Any]:
    if header.precision != 8:
        return _decode_unusual(stream, header)
    options: dict[str, Any] = {"colorspace": {1: "GRAY", 3: "RGB", 4: "CMYK"}[len(header.components)]}
    if scaled > 1:
        options |= {"min_width": -(-header.width // scaled), "min_height": -(-header.height // scaled)}
    try:
        return _decode_usual(stream, options)
    except ValueError as error:
        unsupported = next((UNSUPPORTED_MESSAGES[w] for w in UNSUPPORTED_MESSAGES if w in str(error)), None)
        if unsupported is None:
            raise CorruptFile(f"This JPEG is damaged: {error}.") from error
        try:
            return box_reduce(_decode_unusual(stream, header), scaled)
        except CorruptFile:
            factors = " ".join(f"{c.horizontal}x{c.vertical}" for c in header.components)
            raise UnsupportedFeature(
                f"This JPEG can't be read: {unsupported} ({header.process}, {header.color.value}, "
                f"{factors}). Save it again with the usual settings, or as TIFF or PNG."
            ) from error


def _decode_usual(stream: bytes, options: dict[str, Any]) -> NDArray[np.uint8]:
    """Samples of 8 bits. Raises ValueError at the first sign of damage."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(stream, **options)
    except ValueError as error:
        if not is_padding(error, stream):
            raise
        pixels = simplejpeg.decode_jpeg(stream, strict=False, **options)
    return pixels


def _decode_unusual(stream: bytes, header: JpegHeader) -> NDArray[Any]:
    """Samples of other than 8 bits, and sampling factors that are none of the usual; as a whole."""
    color = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}[len(header.components)]
    try:
        pixels: NDArray[Any] = imagecodecs.jpeg8_decode(stream, outcolorspace=color)
    except (imagecodecs.Jpeg8Error, ValueError) as error:
        reason = str(error).rstrip(".") or "libjpeg refused it"
        raise CorruptFile(f"This JPEG is damaged: {reason}.") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] != len(header.components) or pixels.dtype != header.sample_type:
        raise CorruptFile(
            f"This JPEG decodes to an array of shape {pixels.shape} and type {pixels.dtype}, not as it says."
        )
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


def _cmyk_to_rgb(stored: NDArray[Any], highest: int) -> NDArray[Any]:
    """R = (h - C)(h - K) / h, and so on, h being the highest value: the plain conversion, without a profile.

    JPEG stores CMYK inverted, as Adobe does: what is stored is h - C and h - K.
    """
    height, width = stored.shape[:2]
    rgb = np.empty((height, width, 3), stored.dtype)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        part = stored[top : top + band].astype(np.uint32)
        rgb[top : top + band] = (part[..., :3] * part[..., 3:] + highest // 2) // highest
    return rgb
