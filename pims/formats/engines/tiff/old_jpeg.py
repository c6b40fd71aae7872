"""JPEG as TIFF 6.0 had it before its Technical Note 2: the parts of one stream, spread over the file.

Writers never agreed how. What is read: a whole JPEG that JPEGInterchangeFormat or the only strip points at;
a header there with the strips continuing it; and tables in tags of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.jpeg_header import MAX_SIDE
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.segments import SegmentTable
from pims.formats.engines.tiff.tags import Photometric, Tag

__all__ = ["OldJpeg"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF0, DHT, SOS, DQT, DRI = 0xC0, 0xC4, 0xDA, 0xDB, 0xDD
FRAMES = (0xC0, 0xC1)
SEQUENTIAL = bytes([0, 63, 0])
"""Spectral selection and approximation of the scan of a sequential frame."""
MIN_SCAN_BYTES = 64
"""Behind the header of a scan, if JPEGInterchangeFormat is all of a picture and not its header only."""
MAX_STRIPS = 65_536
MAX_HEADER_SEGMENTS = 64

Segments = list[tuple[int, bytes]]
"""Markers and their contents."""


class OldJpeg:
    """The stream of one directory."""

    def __init__(self, directory: TiffDirectory, segments: SegmentTable, max_bytes: int) -> None:
        """Raises UnsupportedFeature for tiles and for sides that no JPEG has, LimitExceeded."""
        if directory.is_tiled:
            raise UnsupportedFeature("This TIFF uses old-style JPEG in tiles, which this version can't read.")
        if max(directory.width, directory.height) > MAX_SIDE:
            raise UnsupportedFeature(
                f"This TIFF uses old-style JPEG for {directory.width} x {directory.height} px; "
                f"a JPEG has sides of up to {MAX_SIDE} px."
            )
        if segments.per_plane > MAX_STRIPS:
            raise LimitExceeded(f"Old-style JPEG in {segments.per_plane} strips; {MAX_STRIPS} are read.")
        self._directory = directory
        self._segments = segments
        self._max_bytes = max_bytes

    def stream(self) -> bytes:
        """All of the image as one JPEG. Raises CorruptFile."""
        interchange = self._interchange()
        header, scan = _split(interchange)
        if len(scan) >= MIN_SCAN_BYTES:
            return _with_usual_scan(interchange)
        strips = self._strips()
        if strips[0].startswith(SOI) and len(strips) == 1:
            return _with_usual_scan(strips[0])
        if not any(marker in FRAMES for marker, _ in _markers(header)):
            header = self._header_of_tags()
        return self._joined(header, strips)

    def _interchange(self) -> bytes:
        directory = self._directory
        offset = directory.integer(Tag.JPEG_INTERCHANGE_FORMAT, 0)
        room = directory.file.source.size - offset
        length = directory.integer(Tag.JPEG_INTERCHANGE_FORMAT_LENGTH, 0) or room
        if offset <= 0 or room <= 0:
            return b""
        data = directory.file.source.pread(offset, min(length, room, self._max_bytes))
        return data if data.startswith(SOI) else b""

    def _strips(self) -> list[bytes]:
        found, size = [], 0
        for index in range(self._segments.per_plane):
            place = self._segments.locate(index)
            if place is None:
                raise CorruptFile("A strip of an old-style JPEG is not stored.")
            size += place[1]
            if size > self._max_bytes:
                raise CorruptFile(f"The strips of an old-style JPEG claim {size} bytes.")
            found.append(self._directory.file.source.pread(*place))
        return found

    def _header_of_tags(self) -> bytes:
        """SOI, tables and frame from JPEGQTables, JPEGDCTables and JPEGACTables."""
        directory, samples = self._directory, self._directory.samples_per_pixel
        quantization = directory.integers(Tag.JPEG_Q_TABLES)[:samples]
        coding = [directory.integers(tag)[:samples] for tag in (Tag.JPEG_DC_TABLES, Tag.JPEG_AC_TABLES)]
        if samples not in (1, 3) or any(len(tables) != samples for tables in (quantization, *coding)):
            raise CorruptFile("The old-style JPEG of the TIFF has no tables.")
        source, parts = directory.file.source, [SOI]
        for index, offset in enumerate(quantization):
            parts.append(_segment(DQT, bytes([index]) + source.pread(offset, 64)))
        for kind, offsets in enumerate(coding):
            for index, offset in enumerate(offsets):
                counts = source.pread(offset, 16)
                values = source.pread(offset + 16, min(sum(counts), 256))
                parts.append(_segment(DHT, bytes([16 * kind + index]) + counts + values))
        across, down = self._sampling()
        frame = struct.pack(">BHHB", 8, directory.height, directory.width, samples)
        for index in range(samples):
            factors = 16 * across + down if index == 0 else 0x11
            frame += bytes([index + 1, factors, index])
        return b"".join([*parts, _segment(SOF0, frame)])

    def _sampling(self) -> tuple[int, int]:
        if self._directory.photometric != Photometric.YCBCR:
            return 1, 1
        across, down = (*self._directory.integers(Tag.YCBCR_SUBSAMPLING), 2, 2)[:2]
        return min(max(across, 1), 4), min(max(down, 1), 4)

    def _joined(self, header: bytes, strips: list[bytes]) -> bytes:
        """The strips behind the header, with the markers between them that restart the decoder."""
        markers = list(_markers(header))
        parts = [header]
        if DRI not in dict(markers) and len(strips) > 1:
            parts.append(_segment(DRI, struct.pack(">H", self._blocks_of_strip(markers) & 0xFFFF)))
        if not strips[0].startswith(bytes([0xFF, SOS])):
            parts.append(_scan_header(markers))
        for index, strip in enumerate(strips):
            data = strip.removesuffix(EOI)
            parts.append(data)
            if index < len(strips) - 1 and not _ends_with_restart(data):
                parts.append(bytes([0xFF, 0xD0 + index % 8]))
        return b"".join([*parts, EOI])

    def _blocks_of_strip(self, markers: Segments) -> int:
        """Minimum coded units of a strip: the restart interval."""
        frame = _frame(markers)
        across, down = (8 * (frame[7] >> 4), 8 * (frame[7] & 15)) if len(frame) > 7 else (8, 8)
        return -(-self._directory.width // max(across, 8)) * -(-self._directory.tile_height // max(down, 8))


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _markers(header: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the segments of a header, up to the scan."""
    position = 2
    for _ in range(MAX_HEADER_SEGMENTS):
        if header[position : position + 1] != b"\xff" or len(header) < position + 4:
            return
        marker, length = struct.unpack_from(">BH", header, position + 1)
        if marker == SOS or length < 2:
            return
        yield marker, header[position + 4 : position + 2 + length]
        position += 2 + length


def _frame(markers: Segments) -> bytes:
    return next((content for marker, content in markers if marker in FRAMES), b"")


def _split(stream: bytes) -> tuple[bytes, bytes]:
    """What precedes the scan header, and what follows it."""
    position = 2 + sum(4 + len(content) for _, content in _markers(stream))
    if stream[position : position + 2] != bytes([0xFF, SOS]):
        return stream[:position], b""
    length = int.from_bytes(stream[position + 2 : position + 4], "big")
    return stream[:position], stream[position + 2 + length :]


def _scan_header(markers: Segments) -> bytes:
    """One scan of all components, in the order of the frame; the first uses the first tables."""
    identifiers = _frame(markers)[6::3]
    most = max((content[0] & 3 for marker, content in markers if marker == DHT and content), default=0)
    content = bytes([len(identifiers)])
    for index, identifier in enumerate(identifiers):
        content += bytes([identifier, 0x11 * min(index, most)])
    return _segment(SOS, content + SEQUENTIAL)


def _with_usual_scan(stream: bytes) -> bytes:
    """The same with the spectral selection that a sequential JPEG must have; some writers left it zero."""
    header, _ = _split(stream)
    if stream[len(header) : len(header) + 2] != bytes([0xFF, SOS]):
        return stream
    end = len(header) + 2 + int.from_bytes(stream[len(header) + 2 : len(header) + 4], "big")
    if not any(marker in FRAMES for marker, _ in _markers(header)):
        return stream
    return stream[: end - 3] + SEQUENTIAL + stream[end:]


def _ends_with_restart(data: bytes) -> bool:
    return len(data) > 1 and data[-2] == 0xFF and 0xD0 <= data[-1] <= 0xD7
