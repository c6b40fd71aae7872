"""The header of a WebP file: what its chunks say, but for the image data.

Chunks: RFC 9649, section 2; the frame header of VP8: RFC 6386, section 9.1; that of lossless images:
RFC 9649, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.exif import Exif, parse_exif
from pims.model.source import ByteSource

__all__ = ["WebpHeader", "is_webp", "read_webp_header"]

FRAME_BYTES = 10
"""Of a VP8 frame, up to and with its sizes."""
MAX_CHUNKS = 65_536
MAX_INFORMATION_BYTES = 1 << 20
ANIMATION, ALPHA, ICC = 0x02, 0x10, 0x20
"""Flags of a VP8X chunk."""


@dataclass(frozen=True, slots=True)
class WebpHeader:
    """What the chunks say."""

    width: int = 0
    height: int = 0
    lossless: bool = False
    has_alpha: bool = False
    animated: bool = False
    has_icc: bool = False
    exif: Exif = field(default_factory=Exif)
    data_bytes: int = 0
    """Of the first image, compressed."""


def is_webp(signature: bytes) -> bool:
    """Whether a file starts as a WebP does: RIFF, a size, WEBP, and the first chunk of an image."""
    return (
        signature[:4] == b"RIFF"
        and signature[8:12] == b"WEBP"
        and signature[12:16] in (b"VP8 ", b"VP8L", b"VP8X")
    )


def read_webp_header(source: ByteSource) -> WebpHeader:
    """Read every chunk but the image data.

    Raises CorruptFile when they are no WebP, LimitExceeded when they are too many.
    """
    if not is_webp(source.pread(0, min(source.size, 16))):
        raise CorruptFile("This file does not start as a WebP does.")
    header = WebpHeader()
    for kind, offset, length in _chunks(source):
        if kind == b"VP8X" and not header.width:
            header = _extended(_part(source, offset, length, FRAME_BYTES))
        elif kind in (b"VP8 ", b"VP8L") and not header.data_bytes:
            header = _with_image(header, kind, _part(source, offset, length, FRAME_BYTES), length)
        elif kind == b"ANMF" and not header.data_bytes:
            header = _with_first_frame(header, source, offset, length)
        elif kind == b"EXIF" and length <= MAX_INFORMATION_BYTES and not header.exif.values:
            body = _part(source, offset, length, length, whole=False)
            header = replace(header, exif=parse_exif(body.removeprefix(b"Exif\0\0")))
    if not header.data_bytes:
        raise CorruptFile("This WebP holds no image data.")
    return header


def _chunks(source: ByteSource) -> Iterator[tuple[bytes, int, int]]:
    """(kind, offset of the content, its length) of every chunk of the file."""
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > source.size:
            return
        start = source.pread(position, 8)
        length = int.from_bytes(start[4:], "little")
        yield start[:4], position + 8, length
        position += 8 + length + length % 2
    raise LimitExceeded(f"This WebP has more than {MAX_CHUNKS} chunks.")


def _part(source: ByteSource, offset: int, length: int, wanted: int, *, whole: bool = True) -> bytes:
    """The first bytes of a chunk. Raises CorruptFile when there are fewer and `whole` is true."""
    there = min(length, wanted, source.size - offset)
    if whole and there < min(wanted, 5):
        raise CorruptFile("This WebP ends within a chunk.")
    return source.pread(offset, there)


def _extended(body: bytes) -> WebpHeader:
    if len(body) < FRAME_BYTES:
        raise CorruptFile("This WebP is damaged: its VP8X chunk is too short.")
    flags = body[0]
    return WebpHeader(
        width=1 + int.from_bytes(body[4:7], "little"),
        height=1 + int.from_bytes(body[7:10], "little"),
        has_alpha=bool(flags & ALPHA),
        animated=bool(flags & ANIMATION),
        has_icc=bool(flags & ICC),
    )


def _with_image(header: WebpHeader, kind: bytes, body: bytes, length: int) -> WebpHeader:
    width, height, alpha = _lossless_frame(body) if kind == b"VP8L" else _lossy_frame(body)
    if header.width and not header.animated and (header.width, header.height) != (width, height):
        raise CorruptFile(
            f"This WebP contradicts itself: {header.width} x {header.height} px, and {width} x {height} px."
        )
    return replace(
        header,
        width=header.width or width,
        height=header.height or height,
        lossless=kind == b"VP8L",
        has_alpha=header.has_alpha or alpha,
        data_bytes=length,
    )


def _lossy_frame(body: bytes) -> tuple[int, int, bool]:
    if len(body) < FRAME_BYTES or body[3:6] != b"\x9d\x01\x2a" or body[0] & 1:
        raise CorruptFile("This WebP is damaged: its image has no frame header.")
    width = int.from_bytes(body[6:8], "little") & 0x3FFF
    height = int.from_bytes(body[8:10], "little") & 0x3FFF
    if not width or not height:
        raise CorruptFile(f"This WebP says it is {width} x {height} px.")
    return width, height, False


def _lossless_frame(body: bytes) -> tuple[int, int, bool]:
    if len(body) < 5 or body[0] != 0x2F:
        raise CorruptFile("This WebP is damaged: its image has no lossless header.")
    fields = int.from_bytes(body[1:5], "little")
    return 1 + (fields & 0x3FFF), 1 + (fields >> 14 & 0x3FFF), bool(fields >> 28 & 1)


def _with_first_frame(header: WebpHeader, source: ByteSource, offset: int, length: int) -> WebpHeader:
    """The header completed with the first frame of an animation: whether it is lossless, or has alpha."""
    position, end = offset + 16, min(offset + length, source.size)
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            break
        start = source.pread(position, 8)
        size = int.from_bytes(start[4:], "little")
        if start[:4] in (b"VP8 ", b"VP8L"):
            return _with_image(header, start[:4], _part(source, position + 8, size, FRAME_BYTES), size)
        position += 8 + size + size % 2
    raise CorruptFile("This WebP is damaged: the first frame of its animation holds no image.")
