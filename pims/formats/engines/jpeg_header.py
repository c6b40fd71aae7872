"""The header of a JPEG file: what its marker segments say up to the first scan.

Markers: ITU-T T.81, annex B; JFIF: ITU-T T.871; the meaning of the Adobe marker and of component
identifiers: ITU-T T.872, section 6.5.3, and the rule libjpeg applies where markers are missing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.exif import Density, Exif, parse_exif
from pims.model.source import ByteSource

__all__ = ["SIGNATURE", "Component", "JpegColor", "JpegHeader", "read_jpeg_header"]

SIGNATURE = b"\xff\xd8\xff"
SOI, EOI, SOS, DNL, TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0x01
DHT, DAC, DQT, DRI, COM = 0xC4, 0xCC, 0xDB, 0xDD, 0xFE
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
RST = range(0xD0, 0xD8)
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, DAC}
TABLES = frozenset((DHT, DAC, DQT, DRI))
MAX_SEGMENTS = 10_000
MAX_JUNK_BYTES = 65_536
"""Bytes that belong to no segment: libjpeg skips them, so do we, up to here."""
MAX_COMMENTS = 16
MAX_SIDE = 65_500
"""What libjpeg-turbo takes; the standard allows 65 535."""
READ_BYTES = 65_536
PRECISIONS = {True: (8, 12), False: range(2, 17)}
"""Bits of a sample that the standard allows, with loss and without: T.81, table B.2."""
PROCESSES = {
    0: "baseline",
    1: "extended sequential",
    2: "progressive",
    3: "lossless",
    9: "extended sequential, arithmetic",
    10: "progressive, arithmetic",
    11: "lossless, arithmetic",
}


class JpegColor(Enum):
    """What the components are."""

    GREY = "grey"
    RGB = "RGB"
    YCBCR = "YCbCr"
    CMYK = "CMYK"
    YCCK = "YCCK"


@dataclass(frozen=True, slots=True)
class Component:
    """One component of the frame and its sampling factors."""

    identifier: int
    horizontal: int
    vertical: int


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say."""

    width: int = 0
    height: int = 0
    precision: int = 8
    """Bits of a sample."""
    frame: int = -1
    """n of the SOFn marker."""
    components: tuple[Component, ...] = ()
    jfif: Density | None = None
    """Pixels per inch of the JFIF marker, when it gives a unit."""
    has_jfif: bool = False
    adobe_transform: int | None = None
    exif: Exif = field(default_factory=Exif)
    comments: tuple[str, ...] = ()
    has_icc: bool = False
    tables: tuple[tuple[int, int], ...] = ()
    """(offset, length) of the segments a decoder needs: the frame and the tables, in the file's order."""
    scan: int = 0
    """Offset of the first SOS marker."""

    @property
    def sample_type(self) -> str:
        """numpy name of the smallest type that holds a sample."""
        return "uint8" if self.precision <= 8 else "uint16"

    @property
    def lossy(self) -> bool:
        return self.frame not in (3, 11)

    @property
    def arithmetic(self) -> bool:
        return self.frame >= 9

    @property
    def process(self) -> str:
        """The coding process, in words."""
        return PROCESSES[self.frame]

    @property
    def subsampled(self) -> bool:
        """Whether any component is stored at a lower resolution than another."""
        return len({(c.horizontal, c.vertical) for c in self.components}) > 1

    @property
    def color(self) -> JpegColor:
        """As libjpeg decides: JFIF first, then Adobe's marker, then the identifiers of the components."""
        if len(self.components) == 1:
            return JpegColor.GREY
        if len(self.components) == 4:
            return JpegColor.CMYK if self.adobe_transform in (0, None) else JpegColor.YCCK
        identifiers = tuple(component.identifier for component in self.components)
        if self.has_jfif:
            is_rgb = False
        elif self.adobe_transform is not None:
            is_rgb = self.adobe_transform == 0
        else:
            is_rgb = not self.lossy or bytes(identifiers) == b"RGB"
        return JpegColor.RGB if is_rgb else JpegColor.YCBCR


def read_jpeg_header(source: ByteSource) -> JpegHeader:
    """Read the segments up to the first scan.

    Raises CorruptFile when they are no JPEG, UnsupportedFeature when the JPEG is of a kind that can't be
    decoded here, LimitExceeded when they are too many.
    """
    header = JpegHeader()
    frame: tuple[int, bytes] | None = None
    tables: list[tuple[int, int]] = []
    for marker, offset, body in _segments(source):
        if marker == SOS:
            header = replace(header, scan=offset, tables=tuple(tables))
            break
        if marker in FRAMES:
            if frame is not None:
                raise CorruptFile("This JPEG has two frame headers.")
            frame = marker, body
        if marker in FRAMES or marker in TABLES:
            tables.append((offset, 4 + len(body)))
        else:
            header = _with_information(header, marker, body)
    if frame is None:
        raise CorruptFile("This JPEG has no frame header: its size is unknown.")
    return _with_frame(header, *frame)


def _segments(source: ByteSource) -> Iterator[tuple[int, int, bytes]]:
    """(marker, offset of its FF, content) of the segments up to SOS, whose content is not read."""
    if source.size < 4 or source.pread(0, 3) != SIGNATURE:
        raise CorruptFile("This file does not start as a JPEG does.")
    window = _Window(source)
    position, junk = 2, 0
    for _ in range(MAX_SEGMENTS):
        start = position
        while True:
            first, marker = window.read(position, 2)
            if first == 0xFF and marker not in (0x00, 0xFF):
                break
            position += 1
            junk += first != 0xFF
            if position - start > MAX_JUNK_BYTES or junk > MAX_JUNK_BYTES:
                raise CorruptFile("This JPEG is damaged: no marker where one must be.")
        if marker == EOI:
            raise CorruptFile("This JPEG ends before its image.")
        if marker == SOS:
            yield marker, position, b""
            return
        if marker in RST or marker in (TEM, SOI):
            raise CorruptFile(f"This JPEG is damaged: marker {marker:02X} is not allowed in its header.")
        length = int.from_bytes(window.read(position + 2, 2), "big")
        if length < 2:
            raise CorruptFile("This JPEG is damaged: a segment is shorter than its own length.")
        yield marker, position, window.read(position + 4, length - 2)
        position += 2 + length
    raise LimitExceeded(f"This JPEG has more than {MAX_SEGMENTS} segments.")


class _Window:
    """Small reads at growing positions, served from large ones."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._start = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        """Raises CorruptFile when the file ends before."""
        if offset + length > self._source.size:
            raise CorruptFile("This JPEG ends within its header.")
        if not (self._start <= offset and offset + length <= self._start + len(self._data)):
            self._start = offset
            self._data = self._source.pread(offset, min(max(READ_BYTES, length), self._source.size - offset))
        return self._data[offset - self._start : offset - self._start + length]


def _with_information(header: JpegHeader, marker: int, body: bytes) -> JpegHeader:
    """The header completed with a segment that decoding does not need. A damaged one changes nothing."""
    if marker == APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        unit, x, y = struct.unpack_from(">BHH", body, 7)
        factor = {1: 1.0, 2: 2.54}.get(unit)
        return replace(header, has_jfif=True, jfif=Density(x * factor, y * factor) if factor else None)
    if marker == APP1 and body.startswith(b"Exif\0") and not header.exif.values:
        return replace(header, exif=parse_exif(body[6:]))
    if marker == APP2 and body.startswith(b"ICC_PROFILE\0"):
        return replace(header, has_icc=True)
    if marker == APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        return replace(header, adobe_transform=body[11])
    if marker == COM and len(header.comments) < MAX_COMMENTS:
        comment = _text(body)
        return replace(header, comments=(*header.comments, comment)) if comment else header
    return header


def _text(raw: bytes) -> str:
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _with_frame(header: JpegHeader, marker: int, body: bytes) -> JpegHeader:
    """The header completed with the frame: size, precision, components."""
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise CorruptFile("This JPEG is damaged: its frame header has a wrong length.")
    precision, height, width, count = struct.unpack_from(">BHHB", body)
    components = tuple(
        Component(body[at], body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, 6 + 3 * count, 3)
    )
    if any(not (1 <= c.horizontal <= 4 and 1 <= c.vertical <= 4) for c in components):
        raise CorruptFile("This JPEG is damaged: impossible sampling factors.")
    if width == 0:
        raise CorruptFile("This JPEG says it is 0 px wide.")
    header = replace(
        header, width=width, height=height, precision=precision, frame=marker - 0xC0, components=components
    )
    _check_supported(header)
    return header


def _check_supported(header: JpegHeader) -> None:
    if header.frame not in PROCESSES:
        raise UnsupportedFeature(
            f"This JPEG is hierarchical (process SOF{header.frame}), which this version can't read."
        )
    if header.precision not in PRECISIONS[header.lossy]:
        raise CorruptFile(
            f"This JPEG is damaged: {header.precision} bits per sample don't go with its process "
            f"({header.process})."
        )
    if header.arithmetic and header.precision != 8:
        raise UnsupportedFeature(
            f"This JPEG ({header.process}) has {header.precision} bits per sample; with that process this "
            "version reads 8."
        )
    if header.height == 0:
        raise UnsupportedFeature(
            "This JPEG gives its height after the image (DNL), which this version can't read."
        )
    if max(header.width, header.height) > MAX_SIDE:
        raise UnsupportedFeature(f"This JPEG has a side of more than {MAX_SIDE} px, which can't be decoded.")
    if len(header.components) not in (1, 3, 4):
        raise UnsupportedFeature(
            f"This JPEG has {len(header.components)} components; this version reads 1, 3 and 4."
        )
