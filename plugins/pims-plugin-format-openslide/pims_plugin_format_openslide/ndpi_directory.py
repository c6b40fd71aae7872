"""The directories of a Hamamatsu NDPI file: a classic TIFF whose positions have 64 bits.

Pointers to directories take 8 bytes, as in a BigTIFF. The entries of a directory are the 12 bytes of a
classic TIFF; after the pointer to the next directory follow the upper 32 bits of the value of every entry,
4 bytes each. Old and small files may lack what only files of more than 4 GiB need.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.tiff.directory import TYPE_SIZES, TiffDirectory, TiffEntry, TiffFile
from pims.model.limits import Limits
from pims.model.source import ByteSource

__all__ = ["FORMAT_FLAG", "NdpiDirectory", "is_ndpi", "parse_ndpi"]

FORMAT_FLAG = 65420
"""The tag that makes a TIFF an NDPI."""
SIGNATURE = b"II*\0"
MAX_ENTRIES = 512
"""Entries of one directory; real files have some fifty."""
MAX_DIRECTORIES = 4096
"""Directories of a file: levels times focal planes, and two small pictures."""
ENTRY = struct.Struct("<HHI4s")
HIGH = 32


class NdpiDirectory(TiffDirectory):
    """One directory, with the upper halves of what its entries hold."""

    def __init__(
        self, file: TiffFile, offset: int, entries: dict[int, TiffEntry], high: dict[int, int]
    ) -> None:
        super().__init__(file, offset, entries)
        self._high = high

    def wide_integer(self, tag: int) -> int:
        """The first value of an integer tag, of up to 64 bits; 0 when there is no such tag."""
        entry = self.entries.get(tag)
        upper = self._high.get(tag, 0) if entry is not None and entry.count == 1 else 0
        return self.integer(tag, 0) | upper << HIGH


def is_ndpi(source: ByteSource) -> bool:
    """Whether the first directory, found by its 64-bit pointer, has the tag of the format."""
    try:
        if source.size < 12 or source.pread(0, 4) != SIGNATURE:
            return False
        (offset,) = struct.unpack("<Q", source.pread(4, 8))
        return any(code == FORMAT_FLAG for code, *_ in _entries(source, offset))
    except CorruptFile:
        return False


def parse_ndpi(source: ByteSource, limits: Limits) -> TiffFile:
    """Read all directories. Raises CorruptFile, LimitExceeded."""
    if source.size < 12 or source.pread(0, 4) != SIGNATURE:
        raise CorruptFile("This is no NDPI file.")
    file = TiffFile(source, limits, "<", big=False)
    (first,) = struct.unpack("<Q", source.pread(4, 8))
    file.directories = tuple(_chain(file, first))
    if not file.directories:
        raise CorruptFile("The NDPI file holds no image.")
    return file


def _chain(file: TiffFile, offset: int) -> Iterator[NdpiDirectory]:
    visited: set[int] = set()
    while offset:
        if offset in visited:
            raise CorruptFile(f"The NDPI directories form a loop at byte {offset}.")
        if len(visited) >= MAX_DIRECTORIES:
            raise LimitExceeded(f"The NDPI file has more than {MAX_DIRECTORIES} directories.")
        visited.add(offset)
        directory, offset = _directory(file, offset)
        yield directory


def _entries(source: ByteSource, offset: int) -> list[tuple[int, int, int, bytes]]:
    """(tag, type, count, value or position) of the entries of a directory."""
    (count,) = struct.unpack("<H", source.pread(offset, 2))
    if count > MAX_ENTRIES:
        raise CorruptFile(f"The NDPI directory at byte {offset} claims {count} entries.")
    return list(ENTRY.iter_unpack(source.pread(offset + 2, count * ENTRY.size)))


def _directory(file: TiffFile, offset: int) -> tuple[NdpiDirectory, int]:
    """The directory at `offset`, and the offset of the one after it (0: none)."""
    listed = _entries(file.source, offset)
    behind = offset + 2 + len(listed) * ENTRY.size
    (following,) = struct.unpack("<Q", file.source.pread(behind, 8))
    uppers: tuple[int, ...] = (0,) * len(listed)
    if behind + 8 + 4 * len(listed) <= file.source.size:
        uppers = struct.unpack(f"<{len(listed)}I", file.source.pread(behind + 8, 4 * len(listed)))
    entries: dict[int, TiffEntry] = {}
    high: dict[int, int] = {}
    for index, ((code, kind, count, value), upper) in enumerate(zip(listed, uppers, strict=True)):
        if kind not in TYPE_SIZES or code in entries:
            continue
        if TYPE_SIZES[kind] * count <= 4:
            position = offset + 2 + (index + 1) * ENTRY.size - 4
            high[code] = upper
        else:
            position = int.from_bytes(value, "little") | upper << HIGH
        entries[code] = TiffEntry(kind, count, position)
    return NdpiDirectory(file, offset, entries, high), following
