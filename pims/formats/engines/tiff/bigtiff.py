"""The bytes of BigTIFF headers and directories, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

__all__ = ["HEADER_BYTES", "FieldType", "Tag", "pack_directories", "pack_header"]

HEADER_BYTES = 16
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
class Tag:
    """One entry of a directory."""

    code: int
    type: FieldType
    count: int
    data: bytes
    """The packed values."""

    @classmethod
    def integers(cls, code: int, values: Sequence[int], type: FieldType = FieldType.SHORT) -> Tag:  # noqa: A002 - TIFF's word
        letter = {FieldType.SHORT: "H", FieldType.LONG: "I", FieldType.LONG8: "Q"}[type]
        return cls(code, type, len(values), struct.pack(f"<{len(values)}{letter}", *values))

    @classmethod
    def short(cls, code: int, *values: int) -> Tag:
        return cls.integers(code, values)

    @classmethod
    def long(cls, code: int, *values: int) -> Tag:
        return cls.integers(code, values, FieldType.LONG)

    @classmethod
    def text(cls, code: int, value: str) -> Tag:
        """UTF-8, which TIFF readers take for the ASCII it should be."""
        data = value.replace("\0", "").encode("utf-8", "replace") + b"\0"
        return cls(code, FieldType.ASCII, len(data), data)

    @classmethod
    def opaque(cls, code: int, data: bytes) -> Tag:
        return cls(code, FieldType.UNDEFINED, len(data), data)

    @classmethod
    def rational(cls, code: int, value: Fraction) -> Tag:
        """The closest fraction of two 32-bit numbers; `value` is from 2**-32 to 2**32 - 1."""
        whole = value.numerator // value.denominator
        close = value.limit_denominator(MAX_LONG // (whole + 1))
        return cls(code, FieldType.RATIONAL, 1, struct.pack("<2I", close.numerator, close.denominator))


def pack_header(first_directory: int) -> bytes:
    """The header of a file whose first directory starts at that offset."""
    return struct.pack("<2s3HQ", b"II", 43, 8, 0, first_directory)


def pack_directories(directories: Iterable[Iterable[Tag]], offset: int) -> bytes:
    """Directories that name each other in order, each followed by its long values; to stand at `offset`.

    `offset` is a multiple of 8.
    """
    packed = [sorted(tags, key=lambda tag: tag.code) for tags in directories]
    chunks: list[bytes] = []
    for number, tags in enumerate(packed):
        chunk = _pack_directory(tags, offset, last=number == len(packed) - 1)
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _pack_directory(tags: Sequence[Tag], offset: int, *, last: bool) -> bytes:
    entries, values = [struct.pack("<Q", len(tags))], bytearray()
    values_offset = offset + 8 + 20 * len(tags) + 8
    for tag in tags:
        if len(tag.data) <= INLINE_BYTES:
            field = tag.data.ljust(INLINE_BYTES, b"\0")
        else:
            field = struct.pack("<Q", values_offset + len(values))
            values += tag.data.ljust(_aligned(len(tag.data)), b"\0")
        entries.append(struct.pack("<2HQ", tag.code, tag.type, tag.count) + field)
    values.extend(bytes(_aligned(values_offset + len(values)) - values_offset - len(values)))
    entries.append(struct.pack("<Q", 0 if last else values_offset + len(values)))
    return b"".join([*entries, values])


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
