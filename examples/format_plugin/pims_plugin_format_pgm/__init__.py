"""Portable graymap (PGM), the binary kind: a format small enough to show what a format is made of.

A file is `P5`, the width, the height and the highest value as text, then one byte per pixel, row by row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.cache.object import cached_property
from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import (
    AbstractConvertor,
    AbstractFormat,
    AbstractParser,
    AbstractReader,
    SignatureChecker,
)
from pims.model.geometry import Region
from pims.model.metadata import Channel, ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Tier

__all__ = ["FORMATS", "PGMFormat"]

HEADER = re.compile(rb"P5\s+(?:#[^\n]*\n\s*)*([0-9]{1,9})\s+([0-9]{1,9})\s+([0-9]{1,5})\s")
MAX_HEADER = 4096
MAX_NATIVE_SIDE = 1024
"""Images no side of which is longer are served as they are."""


@dataclass(frozen=True, slots=True)
class Header:
    """What comes before the pixels."""

    width: int
    height: int
    highest: int
    size: int
    """Bytes of the header itself."""


class PGMChecker(SignatureChecker):
    """`P5` and white space."""

    signatures = (b"P5\n", b"P5 ", b"P5\t", b"P5\r")


class PGMParser(AbstractParser):
    """Says what the header says."""

    format: PGMFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        return ImageMetadata(
            width=header.width,
            height=header.height,
            pixel_type="uint8",
            significant_bits=8,
            n_samples=1,
            channels=(Channel(0),),
        )


class PGMReader(AbstractReader):
    """Reads the rows that are asked for."""

    format: PGMFormat

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        header, source = self.format.header, self.format.source
        first = header.size + region.top * header.width
        rows = np.frombuffer(source.pread(first, region.height * header.width), np.uint8)
        pixels = rows.reshape(region.height, header.width, 1)[:, region.left : region.right]
        return np.ascontiguousarray(pixels if reduction == 1 else mean_of_blocks(pixels, reduction))


class PGMFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = PGMChecker
    parser_class = PGMParser
    reader_class = PGMReader
    convertor_class = AbstractConvertor
    name = "Portable graymap"
    remarks = "8 bits, binary."
    extensions = (".pgm",)
    media_type = "image/x-portable-graymap"

    @cached_property
    def header(self) -> Header:
        """Checked against the limits and the length of the file before a pixel is read. Raises FileError."""
        found = HEADER.match(self.source.pread(0, min(MAX_HEADER, self.source.size)))
        if found is None:
            raise CorruptFile("The header of the PGM is damaged.")
        header = Header(int(found[1]), int(found[2]), int(found[3]), found.end())
        if max(header.width, header.height) > self.context.limits.max_side:
            raise LimitExceeded(f"The image is larger than {self.context.limits.max_side} px a side.")
        if header.highest != 255:
            raise UnsupportedFeature(f"The highest value is {header.highest}; this example reads 255 only.")
        if header.size + header.width * header.height > self.source.size:
            raise CorruptFile("The file ends before its last pixel.")
        return header

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.header.width, self.header.height) > MAX_NATIVE_SIDE


def mean_of_blocks(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The mean of every block of side x side pixels; the last ones may be smaller. (height, width, 1)."""
    rows, columns = (np.arange(0, length, side) for length in pixels.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0, dtype=np.uint32), columns, axis=1)
    heights, widths = np.diff(rows, append=pixels.shape[0]), np.diff(columns, append=pixels.shape[1])
    means: NDArray[np.uint8] = np.rint(sums / np.outer(heights, widths)[:, :, np.newaxis]).astype(np.uint8)
    return means


FORMATS = (PGMFormat,)
