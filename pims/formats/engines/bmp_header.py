"""The header of a BMP file: sizes, depth, compression, masks and palette.

Windows versions 3 to 5 (BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER), the two that lie between them,
and OS/2 versions 1 and 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import Enum

from pims.errors import CorruptFile, UnsupportedFeature
from pims.formats.engines.exif import Density
from pims.model.source import ByteSource

__all__ = ["HEADER_SIZES", "SIGNATURE", "BmpCompression", "BmpHeader", "read_bmp_header"]

SIGNATURE = b"BM"
FILE_HEADER = 14
CORE, OS2_V2_SHORT, WINDOWS, MASKED, OS2_V2 = 12, 16, 40, 52, 64
HEADER_SIZES = (CORE, OS2_V2_SHORT, WINDOWS, MASKED, 56, OS2_V2, 108, 124)
INCHES_PER_METRE = 1 / 0.0254
MAX_PALETTE = 256


class BmpCompression(Enum):
    """How rows are stored."""

    NONE = "none"
    RLE8 = "RLE of 8 bits"
    RLE4 = "RLE of 4 bits"
    RLE24 = "RLE of 24 bits"
    BITFIELDS = "bit fields"
    JPEG = "JPEG"
    PNG = "PNG"
    HUFFMAN = "Huffman"


BITS = {
    BmpCompression.NONE: (1, 2, 4, 8, 16, 24, 32),
    BmpCompression.RLE8: (8,),
    BmpCompression.RLE4: (4,),
    BmpCompression.RLE24: (24,),
    BmpCompression.BITFIELDS: (16, 32),
}
WINDOWS_COMPRESSIONS = {
    0: BmpCompression.NONE,
    1: BmpCompression.RLE8,
    2: BmpCompression.RLE4,
    3: BmpCompression.BITFIELDS,
    4: BmpCompression.JPEG,
    5: BmpCompression.PNG,
    6: BmpCompression.BITFIELDS,
}
OS2_COMPRESSIONS = {
    **WINDOWS_COMPRESSIONS,
    3: BmpCompression.HUFFMAN,
    4: BmpCompression.RLE24,
}


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What precedes the pixels."""

    width: int
    height: int
    top_down: bool
    bits: int
    """Of a stored pixel: an index of the palette below 16, else samples."""
    compression: BmpCompression
    offset: int
    """Of the pixels in the file."""
    version: int
    """Bytes of the header, which name its version."""
    masks: tuple[int, ...] = ()
    """Of red, green, blue and alpha in a pixel of 16 or 32 bits; 0 for an alpha that is not there."""
    palette: tuple[tuple[int, int, int], ...] = ()
    density: Density | None = None

    @property
    def row_bytes(self) -> int:
        """Of a row that is not compressed: whole words of 4 bytes."""
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def has_alpha(self) -> bool:
        return bool(self.masks) and self.masks[3] != 0

    @property
    def is_grey(self) -> bool:
        """Whether the palette has nothing but greys."""
        return bool(self.palette) and all(red == green == blue for red, green, blue in self.palette)

    @property
    def samples(self) -> int:
        return 1 if self.is_grey else 3

    @property
    def sample_bits(self) -> int:
        """Of a sample as it is decoded: 16 when a mask has more than 8 bits."""
        return 16 if any(mask.bit_count() > 8 for mask in self.masks) else 8


def read_bmp_header(source: ByteSource) -> BmpHeader:
    """Read everything before the pixels.

    Raises CorruptFile when it is no BMP, UnsupportedFeature when it is of a kind that can't be decoded here.
    """
    start = source.pread(0, min(source.size, FILE_HEADER + 4))
    if len(start) < FILE_HEADER + 4 or not start.startswith(SIGNATURE):
        raise CorruptFile("This file does not start as a BMP does.")
    offset, version = struct.unpack_from("<II", start, 10)
    if version not in HEADER_SIZES:
        raise UnsupportedFeature(f"This BMP has a header of {version} bytes, which no known version has.")
    body = source.pread(FILE_HEADER, version)
    header = _core(body, offset) if version == CORE else _info(body, offset)
    _check_supported(header)
    if header.bits >= 16:
        return _with_masks(header, body, source)
    return _with_palette(header, body, source)


def _core(body: bytes, offset: int) -> BmpHeader:
    width, height, _, bits = struct.unpack_from("<HHHH", body, 4)
    return BmpHeader(width, height, False, bits, BmpCompression.NONE, offset, CORE)


def _info(body: bytes, offset: int) -> BmpHeader:
    version = len(body)
    width, height, _, bits = struct.unpack_from("<iiHH", body, 4)
    code, density = 0, None
    if version >= WINDOWS:
        code, _, x, y = struct.unpack_from("<IIii", body, 16)
        density = Density(x / INCHES_PER_METRE, y / INCHES_PER_METRE) if x > 0 and y > 0 else None
    kinds = OS2_COMPRESSIONS if version in (OS2_V2_SHORT, OS2_V2) else WINDOWS_COMPRESSIONS
    if code not in kinds:
        raise UnsupportedFeature(f"This BMP is compressed by method {code}, which no version defines.")
    return BmpHeader(width, abs(height), height < 0, bits, kinds[code], offset, version, density=density)


def _check_supported(header: BmpHeader) -> None:
    if header.width <= 0 or header.height <= 0:
        raise CorruptFile(f"This BMP says it is {header.width} x {header.height} px.")
    if header.compression not in BITS:
        raise UnsupportedFeature(
            f"This BMP holds its pixels as {header.compression.value}, which this version can't read; "
            "save it as PNG or TIFF."
        )
    if header.bits not in BITS[header.compression]:
        raise CorruptFile(
            f"This BMP is damaged: {header.bits} bits a pixel don't go with the compression "
            f"{header.compression.value}."
        )
    if header.top_down and header.compression not in (BmpCompression.NONE, BmpCompression.BITFIELDS):
        raise CorruptFile("This BMP is damaged: compressed rows can't go from top to bottom.")


def _with_masks(header: BmpHeader, body: bytes, source: ByteSource) -> BmpHeader:
    masks = _masks(header, body, source)
    whole = (1 << header.bits) - 1
    for index, mask in enumerate(masks):
        run = mask >> ((mask & -mask).bit_length() - 1) if mask else 0
        if mask > whole or run & (run + 1) or (mask == 0 and index < 3) or mask.bit_count() > 16:
            raise CorruptFile(f"This BMP is damaged: {mask:#x} is no mask of a colour.")
    return replace(header, masks=masks)


def _masks(header: BmpHeader, body: bytes, source: ByteSource) -> tuple[int, ...]:
    if header.compression is BmpCompression.BITFIELDS:
        if len(body) >= MASKED:
            count = 4 if len(body) > MASKED else 3
            return (*struct.unpack_from(f"<{count}I", body, WINDOWS), 0)[:4]
        alpha = body[16] == 6
        count = 4 if alpha else 3
        return (*struct.unpack(f"<{count}I", source.pread(FILE_HEADER + len(body), 4 * count)), 0)[:4]
    if header.bits == 16:
        return 0x7C00, 0x3E0, 0x1F, 0
    return 0xFF0000, 0xFF00, 0xFF, 0


def _with_palette(header: BmpHeader, body: bytes, source: ByteSource) -> BmpHeader:
    entry, count = (3, 0) if header.version == CORE else (4, 0)
    if header.version >= WINDOWS:
        (count,) = struct.unpack_from("<I", body, 32)
    start = FILE_HEADER + header.version
    room = max(0, min(header.offset or source.size, source.size) - start) // entry
    count = min(count or 1 << header.bits, 1 << header.bits, MAX_PALETTE, room)
    if count == 0:
        raise CorruptFile("This BMP is damaged: its palette is missing.")
    raw = source.pread(start, count * entry)
    palette = tuple((raw[at + 2], raw[at + 1], raw[at]) for at in range(0, count * entry, entry))
    return replace(header, palette=palette)
