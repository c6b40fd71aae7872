"""The header of a PNG file: what its chunks say, without the image data.

Chunks: Portable Network Graphics (PNG) Specification, third edition, sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.exif import Density, Exif, parse_exif
from pims.model.source import ByteSource

__all__ = ["SIGNATURE", "Chunk", "PngColor", "PngHeader", "read_png_header", "walk_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 200_000
MAX_CHUNK_BYTES = 0x7FFFFFFF
MAX_INFORMATION_BYTES = 65_536
"""Of a chunk that is not image data, and of a text once inflated."""
MAX_TEXTS = 64
MAX_SIDE = 1_000_000
"""What libpng takes unless it is told otherwise."""
INCHES_PER_METRE = 1 / 0.0254
CRITICAL = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
INFORMATION = TEXTS | {b"PLTE", b"tRNS", b"bKGD", b"pHYs", b"tIME", b"eXIf"}


class PngColor(IntEnum):
    """Colour types."""

    GREY = 0
    RGB = 2
    PALETTE = 3
    GREY_ALPHA = 4
    RGB_ALPHA = 6

    @property
    def components(self) -> int:
        """Samples stored for one pixel."""
        return {PngColor.RGB: 3, PngColor.GREY_ALPHA: 2, PngColor.RGB_ALPHA: 4}.get(self, 1)


DEPTHS = {
    PngColor.GREY: (1, 2, 4, 8, 16),
    PngColor.RGB: (8, 16),
    PngColor.PALETTE: (1, 2, 4, 8),
    PngColor.GREY_ALPHA: (8, 16),
    PngColor.RGB_ALPHA: (8, 16),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk is."""

    kind: bytes
    offset: int
    """Of its length field."""
    length: int
    """Of its data; the chunk takes 12 bytes more."""


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What the chunks say."""

    width: int
    height: int
    depth: int
    """Bits of a stored sample, or of a palette index."""
    color: PngColor
    interlaced: bool
    palette: bytes = b""
    has_transparency: bool = False
    """Whether a tRNS chunk makes some pixels transparent."""
    background: tuple[int, ...] | None = None
    """Of bKGD, scaled as the decoded samples are: one number for grey, three for RGB."""
    density: Density | None = None
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    modified: datetime | None = None
    exif: Exif = field(default_factory=Exif)
    has_icc: bool = False
    animated: bool = False
    data_bytes: int = 0
    """Of all IDAT chunks together."""

    @property
    def samples(self) -> int:
        """Samples of a decoded pixel without alpha: 1 or 3."""
        return 1 if self.color in (PngColor.GREY, PngColor.GREY_ALPHA) else 3

    @property
    def bits(self) -> int:
        """Bits of a decoded sample."""
        return 16 if self.depth == 16 else 8

    @property
    def has_alpha(self) -> bool:
        return self.has_transparency or self.color in (PngColor.GREY_ALPHA, PngColor.RGB_ALPHA)


def walk_chunks(source: ByteSource) -> Iterator[Chunk]:
    """The chunks up to IEND, in the file's order; bytes after it are ignored.

    Raises CorruptFile when a chunk is cut or is none, LimitExceeded when there are too many.
    """
    if source.size < len(SIGNATURE) or source.pread(0, len(SIGNATURE)) != SIGNATURE:
        raise CorruptFile("This file does not start as a PNG does.")
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 12 > source.size:
            raise CorruptFile("This PNG ends too early: its end chunk is missing.")
        length, kind = struct.unpack(">I4s", source.pread(position, 8))
        if length > MAX_CHUNK_BYTES or not (kind.isalpha() and kind.isascii()):
            raise CorruptFile("This PNG is damaged: something else where a chunk must be.")
        if position + 12 + length > source.size:
            raise CorruptFile(f"This PNG ends within its {kind.decode()} chunk.")
        yield Chunk(kind, position, length)
        if kind == b"IEND":
            return
        position += 12 + length
    raise LimitExceeded(f"This PNG has more than {MAX_CHUNKS} chunks.")


def read_png_header(source: ByteSource) -> PngHeader:
    """Read every chunk but the image data.

    Raises CorruptFile when they are no PNG, UnsupportedFeature when this PNG can't be decoded here,
    LimitExceeded when they are too many. A damaged chunk that decoding does not need is left out.
    """
    chunks = walk_chunks(source)
    first = next(chunks)
    if first.kind == b"CgBI":
        raise UnsupportedFeature(
            "This PNG is in Apple's private variant (CgBI), which this version can't read."
        )
    if first.kind != b"IHDR" or first.length != 13:
        raise CorruptFile("This PNG is damaged: it does not start with its header chunk.")
    header = _main_header(_checked(source, first))
    data_bytes = 0
    for chunk in chunks:
        if chunk.kind == b"IDAT":
            data_bytes += chunk.length
        elif chunk.kind in INFORMATION and chunk.length <= MAX_INFORMATION_BYTES:
            header = _with_chunk(header, source, chunk)
        elif chunk.kind in (b"iCCP", b"acTL"):
            header = replace(
                header,
                has_icc=header.has_icc or chunk.kind == b"iCCP",
                animated=header.animated or chunk.kind == b"acTL",
            )
        elif chunk.kind not in CRITICAL and chunk.kind[:1].isupper():
            raise UnsupportedFeature(
                f"This PNG needs the chunk {chunk.kind.decode()}, which this version does not know."
            )
    if data_bytes == 0:
        raise CorruptFile("This PNG holds no image data.")
    if header.color is PngColor.PALETTE and not header.palette:
        raise CorruptFile("This PNG is damaged: its palette is missing.")
    return replace(header, data_bytes=data_bytes)


def _main_header(body: bytes) -> PngHeader:
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if color not in list(PngColor) or depth not in DEPTHS[PngColor(color)]:
        raise CorruptFile(f"This PNG is damaged: no colour type {color} with {depth} bits exists.")
    if compression or filtering or interlace > 1:
        raise CorruptFile("This PNG is damaged: unknown compression, filter or interlace method.")
    if not (0 < width <= MAX_CHUNK_BYTES and 0 < height <= MAX_CHUNK_BYTES):
        raise CorruptFile(f"This PNG says it is {width} x {height} px.")
    return PngHeader(width, height, depth, PngColor(color), interlace == 1)


def _checked(source: ByteSource, chunk: Chunk) -> bytes:
    """The data of a chunk. Raises CorruptFile when its checksum differs."""
    raw = source.pread(chunk.offset + 4, chunk.length + 8)
    if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        raise CorruptFile(f"This PNG is damaged: the checksum of its {chunk.kind.decode()} chunk is wrong.")
    return raw[4:-4]


def _with_chunk(header: PngHeader, source: ByteSource, chunk: Chunk) -> PngHeader:
    """The header completed with a chunk; unchanged when the chunk is damaged and not critical."""
    try:
        body = _checked(source, chunk)
    except CorruptFile:
        if chunk.kind in CRITICAL:
            raise
        return header
    if chunk.kind == b"PLTE":
        if chunk.length % 3 or not 0 < chunk.length <= 768:
            raise CorruptFile("This PNG is damaged: its palette has a wrong length.")
        return replace(header, palette=body)
    if chunk.kind == b"tRNS":
        return replace(header, has_transparency=_is_transparency(header, body))
    if chunk.kind == b"bKGD":
        return replace(header, background=_background(header, body))
    if chunk.kind == b"pHYs":
        return replace(header, density=_density(body))
    if chunk.kind == b"tIME":
        return replace(header, modified=_time(body))
    if chunk.kind == b"eXIf":
        return replace(header, exif=parse_exif(body.removeprefix(b"Exif\0\0")))
    return _with_text(header, chunk.kind, body)


def _is_transparency(header: PngHeader, body: bytes) -> bool:
    """Whether a tRNS chunk is one libpng applies."""
    if header.color is PngColor.PALETTE:
        return 0 < len(body) <= len(header.palette) // 3
    return len(body) == {PngColor.GREY: 2, PngColor.RGB: 6}.get(header.color)


def _background(header: PngHeader, body: bytes) -> tuple[int, ...] | None:
    if header.color is PngColor.PALETTE:
        rgb = header.palette[3 * body[0] : 3 * body[0] + 3] if len(body) == 1 else b""
        return tuple(rgb) if len(rgb) == 3 else None
    if len(body) != 2 * header.samples:
        return None
    values = struct.unpack(f">{header.samples}H", body)
    highest = (1 << header.depth) - 1
    if max(values) > highest:
        return None
    scale = 255 // highest if header.depth < 8 else 1
    return tuple(value * scale for value in values)


def _density(body: bytes) -> Density | None:
    """pHYs: pixels per metre; without a unit it says only an aspect ratio."""
    if len(body) != 9 or body[8] != 1:
        return None
    x, y = struct.unpack_from(">II", body)
    return Density(x / INCHES_PER_METRE, y / INCHES_PER_METRE)


def _time(body: bytes) -> datetime | None:
    try:
        return datetime(*struct.unpack(">HBBBBB", body))
    except (ValueError, struct.error):
        return None


def _with_text(header: PngHeader, kind: bytes, body: bytes) -> PngHeader:
    keyword, _, rest = body.partition(b"\0")
    name = keyword.decode("latin-1").strip()
    if not 1 <= len(name) <= 79 or name in header.texts or len(header.texts) >= MAX_TEXTS:
        return header
    text = _text(kind, rest)
    return replace(header, texts=MappingProxyType({**header.texts, name: text})) if text else header


def _text(kind: bytes, rest: bytes) -> str | None:
    """The text that follows the keyword of a tEXt, zTXt or iTXt chunk; none when it is damaged."""
    if kind == b"tEXt":
        return rest.decode("latin-1").strip("\0 \r\n\t")
    if kind == b"zTXt":
        inflated = _inflated(rest[1:]) if rest[:1] == b"\0" else None
        return None if inflated is None else inflated.decode("latin-1").strip("\0 \r\n\t")
    flags, parts = rest[:2], rest[2:].split(b"\0", 2)
    if len(parts) != 3 or flags not in (b"\0\0", b"\1\0"):
        return None
    raw = _inflated(parts[2]) if flags[:1] == b"\1" else parts[2]
    return None if raw is None else raw.decode("utf-8", errors="replace").strip("\0 \r\n\t")


def _inflated(compressed: bytes) -> bytes | None:
    """At most MAX_INFORMATION_BYTES of the text, whatever it inflates to."""
    try:
        return zlib.decompressobj().decompress(compressed, MAX_INFORMATION_BYTES)
    except zlib.error:
        return None
