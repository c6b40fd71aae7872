"""Where the tiles or strips of a directory are in the file."""

from __future__ import annotations

import struct
import sys
from array import array

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.tiff.directory import TYPE_CODES, TiffDirectory, TiffEntry
from pims.formats.engines.tiff.tags import Tag

__all__ = ["SegmentTable"]

BLOCK, KEPT_BLOCKS = 512, 16
"""Entries of a table that are read at once, and how many such blocks are kept: whole tables of 500 slides
of 100 gigapixels would fill the memory of the server."""
NATIVE = "<" if sys.byteorder == "little" else ">"
TINY_TILE = 64
"""Pixels of a tile below which ..."""
MAX_TINY_TILES = 16_384
"""... an image has at most this many: reading one would take as long as reading a real tile."""


class SegmentTable:
    """Offsets and byte counts of the segments, by index ((plane * rows + row) * columns + column)."""

    def __init__(self, directory: TiffDirectory, planes: int = 1) -> None:
        """`planes` is how often the image is stored, once for each of its samples when they are separate.

        Raises CorruptFile when the tables are missing or shorter than the image needs, LimitExceeded.
        """
        tiled = directory.is_tiled
        self.columns = -(-directory.width // directory.tile_width)
        self.rows = -(-directory.height // directory.tile_height)
        offsets = directory.entries.get(Tag.TILE_OFFSETS if tiled else Tag.STRIP_OFFSETS)
        counts = directory.entries.get(Tag.TILE_BYTE_COUNTS if tiled else Tag.STRIP_BYTE_COUNTS)
        if tiled and offsets is None:  # some writers use the strip tags for tiles
            offsets = directory.entries.get(Tag.STRIP_OFFSETS)
            counts = directory.entries.get(Tag.STRIP_BYTE_COUNTS)
        self.per_plane = self.columns * self.rows
        needed = self.per_plane * planes
        if tiled and directory.tile_width * directory.tile_height < TINY_TILE and needed > MAX_TINY_TILES:
            raise LimitExceeded(
                f"The image is cut in {needed} tiles of {directory.tile_width} x {directory.tile_height} px; "
                f"tiles that small are read up to {MAX_TINY_TILES}."
            )
        for entry, what in ((offsets, "offsets"), (counts, "byte counts")):
            if entry is None:
                raise CorruptFile(f"The TIFF directory at byte {directory.offset} has no {what}.")
            if entry.count < needed:
                raise CorruptFile(f"The image needs {needed} {what} and the file gives {entry.count}.")
        assert offsets is not None and counts is not None
        self._offsets = _Column(directory, offsets, needed)
        self._counts = _Column(directory, counts, needed)
        self._blocks: dict[int, tuple[array[int], array[int]]] = {}

    def locate(self, index: int, *, may_block: bool = True) -> tuple[int, int] | None:
        """(offset, byte count) of a segment; None for one that is not stored (sparse)."""
        number = index // BLOCK
        offsets, counts = self._blocks.get(number) or self._read(number, may_block)
        place = index % BLOCK
        offset, count = offsets[place], counts[place]
        return (offset, count) if offset and count else None

    def _read(self, number: int, may_block: bool) -> tuple[array[int], array[int]]:
        """A block of both tables; the last ones are kept."""
        block = self._offsets.read(number, may_block), self._counts.read(number, may_block)
        if len(self._blocks) >= KEPT_BLOCKS:
            self._blocks = {}  # replaced, not emptied: another thread may be looking at it
        self._blocks[number] = block
        return block


class _Column:
    """One table of integers."""

    def __init__(self, directory: TiffDirectory, entry: TiffEntry, needed: int) -> None:
        code = TYPE_CODES[entry.kind]
        if code not in ("B", "H", "I", "Q"):
            raise CorruptFile("The table of segments does not hold integers.")
        self._source = directory.file.source
        self._swapped = directory.file.byte_order != NATIVE
        self._code = code
        self._size = struct.calcsize("=" + code)
        self._offset = entry.offset
        self._needed = needed
        if entry.offset + needed * self._size > self._source.size:
            raise CorruptFile("The file ends before the end of its table of segments.")

    def read(self, number: int, may_block: bool) -> array[int]:
        """The values of one block of indices."""
        first = number * BLOCK
        count = min(BLOCK, self._needed - first)
        values = array(self._code)
        values.frombytes(
            self._source.pread(self._offset + first * self._size, count * self._size, may_block=may_block)
        )
        if self._swapped:
            values.byteswap()
        return values
