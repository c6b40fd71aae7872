"""The directories (IFDs) of a TIFF or BigTIFF file, of either byte order, parsed once.

Only the entries are read; a value is read when it is asked for, and checked against the limits first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pims.cache.object import SimpleDataCache, cached_property
from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.tiff.tags import Photometric, Tag
from pims.model.limits import Limits
from pims.model.source import ByteSource

__all__ = ["TiffDirectory", "TiffEntry", "TiffFile", "is_tiff", "parse_tiff"]

MAX_ENTRIES = 4096
"""Entries of one directory; real files have fewer than 100."""
MAX_FILE_ENTRIES = 1 << 21
"""Entries of all directories together: 65,536 pages of 32."""
MAX_NUMBERS = 65_536
"""Numbers of one tag that is read as a whole; the tables of tiles are not."""

MAX_TEXT = 65_536
"""Bytes of a text that are read; descriptions that mean something to us start with it."""

TYPE_CODES = {
    1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d",
    13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
"""struct code of every TIFF type; rationals are pairs."""
TYPE_SIZES = {kind: struct.calcsize("<" + code) for kind, code in TYPE_CODES.items()}
ASCII, UNDEFINED, RATIONALS = 2, 7, (5, 10)
REDUCED, MASK = 1, 4
"""Bits of NewSubfileType."""


def is_tiff(signature: bytes) -> bool:
    """Whether the first bytes are those of a classic TIFF or a BigTIFF."""
    return signature[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True)
class TiffEntry:
    """One entry of a directory: where its values are, not the values."""

    kind: int
    """TIFF type, 1 .. 18."""
    count: int
    offset: int
    """Absolute position of the first value."""

    @property
    def byte_size(self) -> int:
        return TYPE_SIZES[self.kind] * self.count


class TiffFile:
    """The main chain of directories of a file."""

    def __init__(self, source: ByteSource, limits: Limits, byte_order: str, *, big: bool) -> None:
        self.source = source
        self.limits = limits
        self.byte_order = byte_order
        """"<" or ">", as struct writes them."""
        self.big = big
        self.directories: tuple[TiffDirectory, ...] = ()
        self._read: dict[int, tuple[TiffDirectory, int]] = {}
        self._read_bytes = 0
        self._read_entries = 0

    def sub_directories(self, parent: TiffDirectory) -> tuple[TiffDirectory, ...]:
        """The directories that SubIFDs names, each once, with what is chained after it."""
        found: dict[int, TiffDirectory] = {}
        for first in parent.integers(Tag.SUB_IFDS):
            offset = first
            while offset and offset not in found and len(found) < self.limits.max_directories:
                found[offset], offset = self._directory(offset)
        return tuple(found.values())

    def _main_chain(self, offset: int) -> Iterator[TiffDirectory]:
        visited: set[int] = set()
        while offset:
            if offset in visited:
                raise CorruptFile(f"The TIFF directories form a loop at byte {offset}.")
            if len(visited) >= self.limits.max_directories:
                raise LimitExceeded(
                    f"The TIFF has more directories than this server reads ({self.limits.max_directories})."
                )
            visited.add(offset)
            directory, offset = self._directory(offset)
            yield directory

    def _directory(self, offset: int) -> tuple[TiffDirectory, int]:
        """The directory at `offset`, and the offset of the one after it (0: none)."""
        if offset not in self._read:
            self._read[offset] = self._read_directory(offset)
        return self._read[offset]

    def _read_directory(self, offset: int) -> tuple[TiffDirectory, int]:
        count_code, entry_format, pointer_code = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        entry_struct = struct.Struct(self.byte_order + entry_format)
        count_size, pointer_size = struct.calcsize("=" + count_code), struct.calcsize("=" + pointer_code)
        (count,) = self.unpack(count_code, self.source.pread(offset, count_size))
        if count > MAX_ENTRIES:
            raise CorruptFile(f"The TIFF directory at byte {offset} claims {count} entries.")
        first = offset + count_size
        table_size = count * entry_struct.size
        last = first + table_size == self.source.size  # some writers leave the pointer out, as libtiff allows
        block = self.source.pread(first, table_size + (0 if last else pointer_size))
        self._account(count, count_size + len(block))
        entries: dict[int, TiffEntry] = {}
        table = memoryview(block)[:table_size]
        for index, (code, kind, length, value) in enumerate(entry_struct.iter_unpack(table)):
            if kind not in TYPE_SIZES:
                continue  # the standard asks readers to skip types they don't know
            if TYPE_SIZES[kind] * length <= pointer_size:
                position = first + (index + 1) * entry_struct.size - pointer_size
            else:
                (position,) = self.unpack(pointer_code, value)
            entries.setdefault(code, TiffEntry(kind, length, position))
        following = 0 if last else self.unpack(pointer_code, block[table_size:])[0]
        return TiffDirectory(self, offset, entries), following

    def _account(self, entries: int, size: int) -> None:
        """Directories that overlap would make much work of a small file."""
        self._read_entries += entries
        self._read_bytes += size
        if self._read_bytes > self.source.size:
            raise CorruptFile("The TIFF directories overlap.")
        if self._read_entries > MAX_FILE_ENTRIES:
            raise LimitExceeded(
                f"The directories of the TIFF have more than {MAX_FILE_ENTRIES} entries together."
            )

    def unpack(self, code: str, data: bytes) -> tuple[int, ...]:
        """struct.unpack in the file's byte order."""
        return struct.unpack(self.byte_order + code, data)


def parse_tiff(source: ByteSource, limits: Limits) -> TiffFile:
    """Read the main chain of directories.

    Raises CorruptFile or LimitExceeded. What the directories say is checked when it is asked for.
    """
    header = source.pread(0, min(16, source.size))
    if not is_tiff(header):
        raise CorruptFile("This is no TIFF file.")
    byte_order = "<" if header[:2] == b"II" else ">"
    big = header[2 if byte_order == "<" else 3] == 43
    if len(header) < (16 if big else 8):
        raise CorruptFile("The TIFF header is cut.")
    file = TiffFile(source, limits, byte_order, big=big)
    if big:
        offset_size, reserved, first = struct.unpack(byte_order + "HHQ", header[4:16])
        if offset_size != 8 or reserved != 0:
            raise CorruptFile("The BigTIFF header is wrong: offsets are not 8 bytes.")
    else:
        (first,) = struct.unpack(byte_order + "I", header[4:8])
    file.directories = tuple(file._main_chain(first))
    if not file.directories:
        raise CorruptFile("The TIFF holds no image.")
    return file


class TiffDirectory(SimpleDataCache):
    """One directory: an image of the file, described by its tags."""

    def __init__(self, file: TiffFile, offset: int, entries: dict[int, TiffEntry]) -> None:
        super().__init__()
        self.file = file
        self.offset = offset
        self.entries = entries

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def raw(self, tag: int) -> bytes:
        """The bytes of a tag's values; empty when there is no such tag."""
        entry = self.entries.get(tag)
        if entry is None:
            return b""
        self._require_modest(entry)
        return self.file.source.pread(entry.offset, entry.byte_size)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """All values of a tag as numbers; rationals divided (x / 0 is 0)."""
        entry = self.entries.get(tag)
        return () if entry is None else self.numbers_of(entry)

    def numbers_of(self, entry: TiffEntry) -> tuple[float, ...]:
        """All values of an entry as numbers; none when it holds text."""
        if entry.kind == ASCII:
            return ()
        if entry.count > MAX_NUMBERS:
            raise LimitExceeded(f"A TIFF tag claims {entry.count} numbers.")
        data = self.file.source.pread(entry.offset, entry.byte_size)
        if entry.kind == UNDEFINED:
            return tuple(data)
        code = TYPE_CODES[entry.kind]
        values = struct.unpack(f"{self.file.byte_order}{entry.count * len(code)}{code[0]}", data)
        if entry.kind in RATIONALS:
            return tuple(
                top / bottom if bottom else 0.0 for top, bottom in zip(values[::2], values[1::2], strict=True)
            )
        return values

    def integers(self, tag: int) -> tuple[int, ...]:
        """All values of an integer tag; empty when it holds no integers."""
        return tuple(value for value in self.numbers(tag) if isinstance(value, int))

    def integer(self, tag: int, default: int) -> int:
        """The first value of an integer tag."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count:
            return default
        if entry.count > 1:  # only the first is wanted: don't read a table
            entry = TiffEntry(entry.kind, 1, entry.offset)
        code = TYPE_CODES[entry.kind]
        if code not in "BHIQbhiq":
            return default
        return self.file.unpack(code, self.file.source.pread(entry.offset, entry.byte_size))[0]

    def number(self, tag: int) -> float | None:
        """The first value of a numeric tag."""
        values = self.numbers(tag)
        return values[0] if values else None

    def text(self, tag: int) -> str:
        """The first 64 KiB of an ASCII tag, up to its first NUL, read as UTF-8 or else Latin-1."""
        entry = self.entries.get(tag)
        if entry is None:
            return ""
        self._require_modest(entry)
        data = self.file.source.pread(entry.offset, min(entry.byte_size, MAX_TEXT)).partition(b"\0")[0]
        try:
            return data.decode("utf-8").strip()
        except UnicodeDecodeError:
            return data.decode("latin-1").strip()

    def _require_modest(self, entry: TiffEntry) -> None:
        if entry.byte_size > self.file.limits.max_tag_bytes:
            raise LimitExceeded(f"A TIFF tag claims {entry.byte_size} bytes.")

    @cached_property
    def width(self) -> int:
        return self._side(Tag.IMAGE_WIDTH, "width")

    @cached_property
    def height(self) -> int:
        return self._side(Tag.IMAGE_LENGTH, "height")

    @cached_property
    def is_tiled(self) -> bool:
        return Tag.TILE_WIDTH in self.entries

    @cached_property
    def tile_width(self) -> int:
        """Columns of one segment: of a tile, or of the image when it is in strips."""
        return self._side(Tag.TILE_WIDTH, "tile width") if self.is_tiled else self.width

    @cached_property
    def tile_height(self) -> int:
        """Rows of one segment: of a tile, or of a strip."""
        if self.is_tiled:
            return self._side(Tag.TILE_LENGTH, "tile height")
        return max(1, min(self.integer(Tag.ROWS_PER_STRIP, self.height), self.height))

    @cached_property
    def samples_per_pixel(self) -> int:
        entry = self.entries.get(Tag.BITS_PER_SAMPLE)
        samples = self.integer(Tag.SAMPLES_PER_PIXEL, entry.count if entry and entry.count else 1)
        if not 1 <= samples <= self.file.limits.max_samples:
            raise LimitExceeded(
                f"Every pixel has {samples} samples; this server reads 1 to {self.file.limits.max_samples}."
            )
        return samples

    @cached_property
    def bits_per_sample(self) -> int:
        """Bits of every sample. Raises UnsupportedFeature when samples have different bits."""
        bits = self.integers(Tag.BITS_PER_SAMPLE)[: self.samples_per_pixel]
        if len(set(bits)) > 1:
            raise UnsupportedFeature(
                f"The samples of this TIFF have different numbers of bits ({', '.join(map(str, bits))}), "
                "which this version can't read."
            )
        return bits[0] if bits else 1

    @cached_property
    def compression(self) -> int:
        return self.integer(Tag.COMPRESSION, 1)

    @cached_property
    def photometric(self) -> int:
        """The colour space; what is likely, when the tag is missing."""
        if Tag.PHOTOMETRIC in self.entries:
            return self.integer(Tag.PHOTOMETRIC, Photometric.MINISBLACK)
        if Tag.COLOR_MAP in self.entries:
            return Photometric.PALETTE
        if self.samples_per_pixel == 4 and Tag.EXTRA_SAMPLES not in self.entries:
            return Photometric.SEPARATED
        return Photometric.RGB if self.samples_per_pixel >= 3 else Photometric.MINISBLACK

    @property
    def has_undeclared_colors(self) -> bool:
        """Whether it has three samples, says that they are grey, and does not say what the others are."""
        return (
            self.samples_per_pixel == 3
            and self.photometric == Photometric.MINISBLACK
            and Tag.EXTRA_SAMPLES not in self.entries
        )

    @cached_property
    def description(self) -> str:
        return self.text(Tag.IMAGE_DESCRIPTION)

    @cached_property
    def is_reduced(self) -> bool:
        """Whether it says it is a smaller version of another image of the file."""
        return bool(self.integer(Tag.NEW_SUBFILE_TYPE, 0) & REDUCED)

    @cached_property
    def is_mask(self) -> bool:
        """Whether it says which pixels of another image are transparent."""
        return bool(self.integer(Tag.NEW_SUBFILE_TYPE, 0) & MASK)

    def _side(self, tag: int, what: str) -> int:
        side = self.integer(tag, 0)
        if side < 1:
            raise CorruptFile(f"The TIFF directory at byte {self.offset} has no valid {what}.")
        if side > self.file.limits.max_side:
            raise LimitExceeded(
                f"The {what} is {side} px; this server reads at most {self.file.limits.max_side}."
            )
        return side
