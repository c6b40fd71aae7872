"""The samples of a TIFF: how they are stored, and the type they are read as."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.tags import Predictor, SampleFormat, Tag

__all__ = ["SampleKind", "SampleType", "sample_type_of"]

FLOAT_BITS = (16, 24, 32, 64)
WHOLE_BYTES = (8, 16, 32, 64)
"""Bits of samples that numpy knows."""
MAX_INTEGER_BITS = 32


class SampleKind(StrEnum):
    """What a sample is; the letter that numpy gives it."""

    UNSIGNED = "u"
    SIGNED = "i"
    FLOAT = "f"


KINDS = {
    SampleFormat.UNSIGNED: SampleKind.UNSIGNED,
    SampleFormat.SIGNED: SampleKind.SIGNED,
    SampleFormat.FLOAT: SampleKind.FLOAT,
    SampleFormat.UNDEFINED: SampleKind.UNSIGNED,
}


@dataclass(frozen=True, slots=True)
class SampleType:
    """Kind and stored bits of every sample of an image."""

    kind: SampleKind
    bits: int
    byte_order: str = "<"
    """Of the file, as struct writes it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it is read as: the next wider type of numpy, at least float32 for floats."""
        if self.kind is SampleKind.FLOAT:
            return np.dtype("float64" if self.bits == 64 else "float32")
        return np.dtype(f"{self.kind}{self._container // 8}")

    @property
    def significant_bits(self) -> int:
        """Bits that may differ from zero; all of those of a float."""
        return self.dtype.itemsize * 8 if self.kind is SampleKind.FLOAT else self.bits

    @property
    def highest(self) -> float:
        """The value that is opaque or white."""
        if self.kind is SampleKind.FLOAT:
            return 1.0
        return float((1 << (self.bits - (self.kind is SampleKind.SIGNED))) - 1)

    @property
    def _container(self) -> int:
        return 8 if self.bits <= 8 else 16 if self.bits <= 16 else 32

    def stored_bytes(self, rows: int, values: int) -> int:
        """Bytes of rows of so many values each; every row starts at a byte."""
        return rows * (-(-values * self.bits // 8))

    def unpack(
        self, data: bytes, shape: tuple[int, int, int], predictor: int = Predictor.NONE
    ) -> NDArray[Any]:
        """The values of decompressed bytes, which are at least `stored_bytes` of that shape.

        `shape` is (rows, width, samples); the result is writable, of type `dtype`.
        """
        rows, width, samples = shape
        if predictor == Predictor.FLOATING_POINT:
            return self._unpack_float_differences(data, shape)
        if self.bits not in WHOLE_BYTES:
            values = self._unpack_odd(data[: self.stored_bytes(rows, width * samples)], rows, width * samples)
            return self._sum_odd(values.reshape(shape), predictor)
        stored = np.frombuffer(data, f"{self.byte_order}{self.kind}{self.bits // 8}", rows * width * samples)
        if predictor == Predictor.HORIZONTAL:
            integers = stored.view(f"{self.byte_order}u{self.bits // 8}").astype(f"u{self.bits // 8}")
            integers = integers.reshape(shape)
            imagecodecs.delta_decode(integers, axis=1, out=integers)
            return integers.view(f"{self.kind}{self.bits // 8}").astype(self.dtype, copy=False)
        return stored.reshape(shape).astype(self.dtype, copy=True)

    def _unpack_float_differences(self, data: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
        """Adobe Photoshop TIFF Technical Note 3: the bytes of a row by significance, then differences."""
        kind = np.dtype(f"f{self.bits // 8}")
        stored = np.frombuffer(data, kind, shape[0] * shape[1] * shape[2]).reshape(shape)
        decoded: NDArray[Any] = imagecodecs.floatpred_decode(stored, axis=-2, dist=1)
        return decoded.astype(self.dtype, copy=False)

    def _unpack_odd(self, data: bytes, rows: int, values: int) -> NDArray[Any]:
        if self.kind is SampleKind.FLOAT:
            floats: NDArray[Any] = imagecodecs.float24_decode(
                data, byteorder="<" if self.byte_order == "<" else ">"
            )
            return floats
        # The first bit is the most significant one, also of 24 bits in a little-endian file.
        unsigned = np.dtype(f"u{self._container // 8}")
        unpacked: NDArray[Any] = imagecodecs.packints_decode(data, unsigned, self.bits, runlen=values)
        return unpacked[: rows * values]

    def _sum_odd(self, values: NDArray[Any], predictor: int) -> NDArray[Any]:
        """The values of odd bits, from their differences if they are, and signed if they are."""
        if self.kind is SampleKind.FLOAT:
            return values
        if predictor == Predictor.HORIZONTAL:
            values = np.cumsum(values, axis=1, dtype=values.dtype)
            values &= np.array((1 << self.bits) - 1, values.dtype)
        if self.kind is SampleKind.SIGNED:
            unused = self._container - self.bits
            values = (values << np.array(unused, values.dtype)).view(self.dtype) >> np.array(
                unused, self.dtype
            )
        return np.ascontiguousarray(values)


def sample_type_of(directory: TiffDirectory) -> SampleType:
    """What the tags say. Raises UnsupportedFeature for types that can't be read."""
    bits = directory.bits_per_sample
    code = directory.integer(Tag.SAMPLE_FORMAT, SampleFormat.UNSIGNED)
    kind = KINDS.get(SampleFormat(code)) if code in SampleFormat._value2member_map_ else None
    if kind is None:
        words = "complex numbers" if code in (5, 6) else f"the sample format {code}"
        raise UnsupportedFeature(f"This TIFF uses {words}, which this version can't read.")
    readable = bits in FLOAT_BITS if kind is SampleKind.FLOAT else 1 <= bits <= MAX_INTEGER_BITS
    if not readable or (kind is SampleKind.SIGNED and bits == 1):
        what = {"u": "unsigned integers", "i": "signed integers", "f": "floating-point numbers"}[kind]
        raise UnsupportedFeature(
            f"This TIFF uses {what} of {bits} bit{'s' * (bits != 1)}, which this version can't read."
        )
    return SampleType(kind, bits, directory.file.byte_order)
