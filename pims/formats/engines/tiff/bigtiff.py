"""The bytes of BigTIFF headers and directories, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from pims.formats.engines.tiff.tags import Tag

__all__ = ["HEADER_BYTES", "Field", "FieldType", "pack_directories", "pack_header"]

HEADER_BYTES = 16
ENTRY_BYTES = 20
INLINE_BYTES = 8
MAX_LONG = 2**32 - 1


class FieldType(IntEnum):
    """The types of TIFF 6.0, section 2, and LONG8 of BigTIFF, that a pyramid needs."""

    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    LONG8 = 16


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of a directory."""

    tag: Tag
    type: FieldType
    count: int
    data: bytes
    """The packed values."""

    @classmethod
    def integers(cls, tag: Tag, values: Sequence[int], type: FieldType = FieldType.SHORT) -> Field:  # noqa: A002 - TIFF's word
        letter = {FieldType.SHORT: "H", FieldType.LONG: "I", FieldType.LONG8: "Q"}[type]
        return cls(tag, type, len(values), struct.pack(f"<{len(values)}{letter}", *values))

    @classmethod
    def short(cls, tag: Tag, *values: int) -> Field:
        return cls.integers(tag, values)

    @classmethod
    def long(cls, tag: Tag, *values: int) -> Field:
        return cls.integers(tag, values, FieldType.LONG)

    @classmethod
    def text(cls, tag: Tag, value: str) -> Field:
        """UTF-8, which TIFF readers take for the ASCII it should be."""
        data = value.replace("\0", "").encode("utf-8", "replace") + b"\0"
        return cls(tag, FieldType.ASCII, len(data), data)

    @classmethod
    def opaque(cls, tag: Tag, data: bytes) -> Field:
        return cls(tag, FieldType.UNDEFINED, len(data), data)

    @classmethod
    def rational(cls, tag: Tag, value: Fraction) -> Field:
        """The closest fraction of two 32-bit numbers; `value` is from 2**-31 to 2**31."""
        whole = value.numerator // value.denominator
        close = value.limit_denominator(MAX_LONG // (whole + 1))
        return cls(tag, FieldType.RATIONAL, 1, struct.pack("<2I", close.numerator, close.denominator))


def pack_header(first_directory: int) -> bytes:
    """The header of a file whose first directory starts at that offset."""
    return struct.pack("<2s3HQ", b"II", 43, 8, 0, first_directory)


def pack_directories(directories: Iterable[Iterable[Field]], offset: int) -> bytes:
    """Directories that name each other in order, each followed by its long values; to stand at `offset`.

    `offset` is a multiple of 8.
    """
    ordered = [sorted(fields, key=lambda field: field.tag) for fields in directories]
    chunks: list[bytes] = []
    for number, fields in enumerate(ordered):
        chunk = _pack_directory(fields, offset, last=number == len(ordered) - 1)
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _pack_directory(fields: Sequence[Field], offset: int, *, last: bool) -> bytes:
    own_bytes = 8 + ENTRY_BYTES * len(fields) + 8
    values_offset = offset + _aligned(own_bytes)
    entries, values = [struct.pack("<Q", len(fields))], bytearray()
    for field in fields:
        if len(field.data) <= INLINE_BYTES:
            value = field.data.ljust(INLINE_BYTES, b"\0")
        else:
            value = struct.pack("<Q", values_offset + len(values))
            values += field.data.ljust(_aligned(len(field.data)), b"\0")
        entries.append(struct.pack("<2HQ", field.tag, field.type, field.count) + value)
    entries.append(struct.pack("<Q", 0 if last else values_offset + len(values)))
    return b"".join(entries).ljust(_aligned(own_bytes), b"\0") + values


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
