"""A JPEG of any size, cut into tiles at its restart markers, so that a region decodes what it needs.

A scanner writes a level as one JPEG with a restart marker after every interval of some MCUs (minimum coded
units, ITU-T T.81): the decoder's state starts anew there. A row of intervals, and the rows below it, are
therefore complete when the header of the JPEG, with another size in it, is put before them. Where the
intervals start is listed in the file. The sides in the header say nothing when they are larger than JPEG
can say.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.reduce import box_reduce
from pims.formats.engines.tiff.jpeg import JpegSplicer, decode_jpeg
from pims.formats.engines.tile_cache import TileCache
from pims.model.geometry import Region
from pims.model.source import ByteSource

__all__ = ["IntervalTable", "RestartJpeg"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOF_SEQUENTIAL, SOF_MARKERS = (0xC0, 0xC1), frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DRI, SOS, RST_FIRST = 0xDD, 0xDA, 0xD0
MAX_HEADER_BYTES = 65_536
TILE = 256
"""A tile of fewer pixels a side is not made where intervals can be joined."""
MAX_TILE_PIXELS = 1 << 22
"""Pixels of a tile: what is decoded for one pixel of it."""
MAX_JPEG_SIDE = 65_500
"""What libjpeg-turbo decodes."""
MAX_INTERVALS = 1 << 26


@dataclass(frozen=True, slots=True)
class IntervalTable:
    """Where the intervals start: 32-bit numbers, relative to the JPEG, and their upper halves elsewhere."""

    low: int
    """Position of the table in the file."""
    count: int
    high: int | None = None
    """Position of the table of upper halves, when there is one."""

    def read(self, source: ByteSource, first: int, count: int) -> NDArray[np.uint64]:
        """The starts of `count` intervals."""
        starts = np.frombuffer(source.pread(self.low + 4 * first, 4 * count), "<u4").astype(np.uint64)
        if self.high is not None:
            upper = np.frombuffer(source.pread(self.high + 4 * first, 4 * count), "<u4").astype(np.uint64)
            starts |= upper << np.uint64(32)
        return starts


@dataclass(frozen=True, slots=True)
class _Header:
    """What the segments before the scan say."""

    data: bytes
    """From SOI to the end of SOS."""
    size_at: int
    """Where height and width are in it."""
    mcu_width: int
    mcu_height: int
    samples: int
    interval: int
    """MCUs between two restart markers; 0: none."""


class RestartJpeg:
    """One level or small picture, opened for reading. Any thread may read.

    Raises UnsupportedFeature at construction when the stream can't be cut; FileError.

    Parameters
    ----------
    place : (offset, byte count) of the stream in the file
    size : (width, height) of the picture
    table : where its intervals start; None decodes it as a whole
    rgb : whether three components are R, G, B and not Y, Cb, Cr
    """

    def __init__(
        self,
        source: ByteSource,
        place: tuple[int, int],
        size: tuple[int, int],
        table: IntervalTable | None,
        cache: TileCache,
        *,
        rgb: bool = False,
    ) -> None:
        self._source = source
        self._cache = cache
        self._offset, self._byte_count = place
        self.width, self.height = size
        self._header = _read_header(source, *place)
        self.samples = self._header.samples
        self._splicer = JpegSplicer(b"", rgb=rgb, grey=self.samples == 1)
        self._table = table
        self._lay_out()
        self._require_markers()

    def _require_markers(self) -> None:
        """Look whether some markers are where the table says."""
        if self._table is None:
            return
        total = self._columns * -(-self.height // self._interval_height)
        for index in {1, total // 3, total // 2, total - 1} & set(range(1, total)):
            (start,) = self._table.read(self._source, index, 1)
            if not len(self._header.data) < start <= self._byte_count:
                raise UnsupportedFeature("The file's list of restart markers leads out of its JPEG.")
            marker = self._source.pread(self._offset + int(start) - 2, 2)
            if marker != bytes((0xFF, RST_FIRST + (index - 1) % 8)):
                raise UnsupportedFeature("The file's list of restart markers does not fit its JPEG.")

    def _lay_out(self) -> None:
        """Decide of how many intervals a tile is made."""
        header = self._header
        columns = -(-self.width // header.mcu_width)
        rows = -(-self.height // header.mcu_height)
        if self._table is None or header.interval == 0:
            self._table = None
            self._interval_width, self._interval_height = self.width, self.height
            self._columns = self._across = self._down = 1
        else:
            if columns % header.interval:
                raise UnsupportedFeature(
                    f"A level has rows of {columns} blocks, and restart markers after {header.interval}."
                )
            self._columns = columns // header.interval
            if not self._columns * rows <= min(self._table.count, MAX_INTERVALS):
                raise CorruptFile(
                    f"A level has {self._columns * rows} intervals, and the file lists {self._table.count}."
                )
            self._interval_width = header.interval * header.mcu_width
            self._interval_height = header.mcu_height
            self._across = min(max(1, TILE // self._interval_width), self._columns)
            wide = self._across * self._interval_width
            tall = min(TILE, MAX_TILE_PIXELS // wide)
            self._down = max(1, tall // self._interval_height)
        self.tile_width = self._across * self._interval_width
        self.tile_height = self._down * self._interval_height
        pixels = self.tile_width * self.tile_height
        if pixels > MAX_TILE_PIXELS or max(self.tile_width, self.tile_height) > MAX_JPEG_SIDE:
            raise UnsupportedFeature(
                f"A level has {self.tile_width} x {self.tile_height} px between two restart markers."
            )

    def read(self, region: Region, reduction: int = 1) -> NDArray[np.uint8]:
        """The pixels of a region inside the picture; see AbstractReader.read_region."""
        try:
            if self.tile_width % reduction or self.tile_height % reduction:
                return box_reduce(self._compose(region, 1), reduction)
            return self._compose(region, reduction)
        except MemoryError as error:
            raise LimitExceeded("There is not enough memory to read so large a part of the image.") from error

    def _compose(self, region: Region, reduction: int) -> NDArray[np.uint8]:
        wide, high = self.tile_width // reduction, self.tile_height // reduction
        left, top = region.left // reduction, region.top // reduction
        width, height = -(-region.width // reduction), -(-region.height // reduction)
        pixels = np.empty((height, width, self.samples), np.uint8)
        for row in range(top // high, (top + height - 1) // high + 1):
            y = row * high - top
            for column in range(left // wide, (left + width - 1) // wide + 1):
                x = column * wide - left
                tile = self._tile(column, row, reduction)
                part = pixels[max(y, 0) : y + high, max(x, 0) : x + wide]
                from_y, from_x = max(-y, 0), max(-x, 0)
                part[:] = tile[from_y : from_y + part.shape[0], from_x : from_x + part.shape[1]]
        return pixels

    def _tile(self, column: int, row: int, reduction: int) -> NDArray[np.uint8]:
        key = (self._source.revision, self._offset, column, row, reduction)
        return self._cache.get_or_decode(key, lambda: self._decode(column, row, reduction))

    def _decode(self, column: int, row: int, reduction: int) -> NDArray[Any]:
        """A tile, cut at the edges of the picture."""
        across = min(self._across, self._columns - column * self._across)
        width = min(self.tile_width, self.width - column * self.tile_width)
        height = min(self.tile_height, self.height - row * self.tile_height)
        if self._table is None:
            stream, coded = self._whole(), (self.width, self.height)
        else:
            rows = -(-height // self._interval_height)
            stream = self._joined(column * self._across, row * self._down, across, rows)
            coded = (across * self._interval_width, rows * self._interval_height)
        jpeg = self._splicer.complete(stream)
        if width % reduction == 0 and height % reduction == 0:
            pixels = decode_jpeg(jpeg, *coded, self.samples, reduction)
            return np.ascontiguousarray(pixels[: height // reduction, : width // reduction])
        # Padding would be mixed into the last pixels: decoded whole, cut, then shrunk.
        pixels = decode_jpeg(jpeg, *coded, self.samples)
        return box_reduce(np.ascontiguousarray(pixels[:height, :width]), reduction)

    def _whole(self) -> bytes:
        if self._byte_count > 2 * self.width * self.height * self.samples + MAX_HEADER_BYTES:
            raise CorruptFile(f"A picture of {self.width} x {self.height} px has {self._byte_count} bytes.")
        return self._source.pread(self._offset, self._byte_count)

    def _joined(self, column: int, row: int, across: int, rows: int) -> bytes:
        """The JPEG of some intervals of some rows: the header with their size, then they, marked anew."""
        header = self._header
        data = bytearray(header.data)
        size = rows * self._interval_height, across * self._interval_width
        struct.pack_into(">HH", data, header.size_at, *size)
        for index in range(rows):
            parts = self._intervals((row + index) * self._columns + column, across)
            for number, part in enumerate(parts, start=index * across):
                data += part
                data += bytes((0xFF, RST_FIRST + number % 8))
        data[-2:] = EOI
        return bytes(data)

    def _intervals(self, first: int, count: int) -> Sequence[memoryview]:
        """The coded data of some intervals that follow each other, without the markers between them."""
        assert self._table is not None
        total = self._columns * -(-self.height // self._interval_height)
        known = self._table.read(self._source, first, min(count + 1, total - first))
        bounds = [int(start) for start in known]
        if len(bounds) == count:
            bounds.append(self._byte_count)
        limit = 2 * count * self._interval_width * self._interval_height * self.samples + MAX_HEADER_BYTES
        ordered = all(one + 2 <= other for one, other in pairwise(bounds))
        if not ordered or bounds[-1] > self._byte_count or bounds[-1] - bounds[0] > limit:
            raise CorruptFile("The file's list of restart markers is damaged.")
        data = memoryview(self._source.pread(self._offset + bounds[0], bounds[-1] - bounds[0]))
        parts: list[memoryview] = []
        for one, other in pairwise(bounds):
            part = data[one - bounds[0] : other - bounds[0]]
            is_last = first + len(parts) == total - 1
            part = _without_end(part) if is_last else _without_marker(part)
            parts.append(part)
        return parts


def _without_marker(part: memoryview) -> memoryview:
    """An interval without the restart marker that ends it."""
    if part[-2] != 0xFF or not RST_FIRST <= part[-1] < RST_FIRST + 8:
        raise CorruptFile("There is no restart marker where the file says there is one.")
    return part[:-2]


def _without_end(part: memoryview) -> memoryview:
    """The last interval without EOI and what fills the stream up after it."""
    end = bytes(part).rfind(EOI)
    return part if end < 0 else part[:end]


def _read_header(source: ByteSource, offset: int, byte_count: int) -> _Header:
    data = source.pread(offset, min(byte_count, MAX_HEADER_BYTES))
    if not data.startswith(SOI):
        raise CorruptFile("A level does not hold the JPEG data it should.")
    position, interval, frame = 2, 0, 0
    while position + 4 <= len(data):
        lead, marker, length = struct.unpack_from(">BBH", data, position)
        if lead != 0xFF or length < 2:
            break
        body = position + 4
        position += 2 + length
        if marker in SOF_MARKERS:
            if marker not in SOF_SEQUENTIAL or data[body : body + 1] != b"\x08":
                raise UnsupportedFeature(
                    "A level is a progressive, lossless or arithmetic JPEG, or has more than 8 bits."
                )
            frame = body
        elif marker == DRI and position <= len(data):
            (interval,) = struct.unpack_from(">H", data, body)
        elif marker == SOS and frame and position <= len(data):
            return _with_frame(data[:position], frame, interval, scanned=data[body])
    raise CorruptFile("The JPEG header of a level is damaged.")


def _with_frame(data: bytes, frame: int, interval: int, *, scanned: int) -> _Header:
    count = data[frame + 5]
    factors = data[frame + 7 : frame + 6 + 3 * count : 3]
    if count not in (1, 3) or scanned != count or len(factors) != count:
        raise UnsupportedFeature(f"A level is a JPEG with {count} components in scans of {scanned}.")
    if any(not (1 <= factor >> 4 <= 4 and 1 <= factor & 15 <= 4) for factor in factors):
        raise CorruptFile("The JPEG header of a level has impossible sampling factors.")
    # T.81, A.2.2: the blocks of a scan of one component are not joined in larger MCUs.
    wide = 1 if count == 1 else max(factor >> 4 for factor in factors)
    high = 1 if count == 1 else max(factor & 15 for factor in factors)
    return _Header(data, frame + 1, 8 * wide, 8 * high, count, interval)
