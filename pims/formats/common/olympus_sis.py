"""Olympus SIS TIFF: a TIFF with a private block of calibration, date and camera.

Tag 33560 points at the block: "SIS0", the date, a name, and a table of further parts, of which the first
kind holds the calibration. Tag 33471 is a text of the dimensions, as an INI file. There is no specification;
the layout is the one that other readers found.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any

from pims.cache.object import cached_property
from pims.errors import CorruptFile
from pims.formats.abstract import AbstractChecker, AbstractConvertor
from pims.formats.engines.raster import MAX_NATIVE_SIDE
from pims.formats.engines.tiff.metadata import PagesParser, TiffFormat, TiffReader
from pims.formats.probe import Probe
from pims.model.metadata import ImageMetadata, Objective
from pims.model.source import ByteSource

__all__ = ["SISChecker", "SISFormat", "SISParser", "SisBlock"]

BLOCK_TAG, INI_TAG = 33560, 33471
MAGIC = b"SIS0"
HEAD = struct.Struct("<4s6x5h6x32sh")
"""Magic; minute, hour, day, month from 0, years from 1900; name; number of parts."""
PART = struct.Struct("<hhI")
"""Kind, count, offset."""
CALIBRATION = struct.Struct("<10xhdd8xd2x34s32s")
"""Power of ten of a length in metres, width and height of a pixel, magnification, camera, kind of picture."""
CALIBRATION_KIND = 1
MAX_PARTS = 64
MAX_TEXT = 65_536
MAX_PIXEL_UM = 1e4
"""A larger pixel is no calibration: files without one say 1 metre."""


@dataclass(frozen=True, slots=True)
class SisBlock:
    """What the private block says."""

    name: str = ""
    acquired_at: datetime | None = None
    pixel_width_um: float | None = None
    pixel_height_um: float | None = None
    magnification: float | None = None
    camera: str = ""
    picture_kind: str = ""


class SISChecker(AbstractChecker):
    """A TIFF whose tag 33560 points at a block that starts with SIS0."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        if probe.tiff is None or BLOCK_TAG not in probe.tiff.directories[0]:
            return False
        offset = probe.tiff.directories[0].integer(BLOCK_TAG, 0)
        return offset + HEAD.size <= probe.source.size and probe.source.pread(offset, 4) == MAGIC


class SISParser(PagesParser):
    """Reads the private block."""

    format: SISFormat

    def parse_known_metadata(self) -> ImageMetadata:
        known, block = super().parse_known_metadata(), self.format.block
        return replace(
            known,
            physical_size_x_um=block.pixel_width_um or known.physical_size_x_um,
            physical_size_y_um=block.pixel_height_um or known.physical_size_y_um,
            acquired_at=block.acquired_at or known.acquired_at,
            description=known.description or block.name or None,
            objective=Objective(block.magnification, block.magnification),
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        block = self.format.block
        found = {
            **super().parse_raw_metadata(),
            "SIS.Name": block.name,
            "SIS.Magnification": block.magnification,
            "SIS.CameraName": block.camera,
            "SIS.PictureType": block.picture_kind,
        }
        base = self.format.levels[0]
        if INI_TAG in base and base.entries[INI_TAG].byte_size <= MAX_TEXT:
            found["SIS.Dimensions"] = base.raw(INI_TAG).decode("latin-1").strip("\0 \r\n")
        return found


class SISFormat(TiffFormat):
    """Read as it is when it is small, otherwise converted to a pyramid."""

    checker_class = SISChecker
    parser_class = SISParser
    reader_class = TiffReader
    convertor_class = AbstractConvertor
    name = "Olympus SIS TIFF"
    remarks = "Of several pages, the first is shown."
    extensions = (".tif", ".tiff", ".vsi")

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.main_imd.width, self.main_imd.height) > MAX_NATIVE_SIDE

    @cached_property
    def block(self) -> SisBlock:
        """The private block; what is damaged of it is left out."""
        return _read_block(self.source, self.levels[0].integer(BLOCK_TAG, 0))


def _read_block(source: ByteSource, offset: int) -> SisBlock:
    try:
        magic, minute, hour, day, month, year, name, parts = HEAD.unpack(source.pread(offset, HEAD.size))
    except CorruptFile:
        return SisBlock()
    if magic != MAGIC:
        return SisBlock()
    block = SisBlock(_text(name), _date(1900 + year, month + 1, day, hour, minute))
    for index in range(min(max(parts, 0), MAX_PARTS)):
        try:
            kind, _, at = PART.unpack(source.pread(offset + HEAD.size + index * PART.size, PART.size))
            if kind == CALIBRATION_KIND:
                return _calibrated(block, source.pread(at, CALIBRATION.size))
        except CorruptFile:
            break  # the rest of the table lies outside of the file
    return block


def _calibrated(block: SisBlock, body: bytes) -> SisBlock:
    power, width, height, magnification, camera, picture = CALIBRATION.unpack(body)
    scale = 10.0 ** (power + 6) if abs(power) <= 30 else 0.0
    sizes = [value * scale if _is_number(value) else 0.0 for value in (width, height)]
    is_calibrated = all(0 < size <= MAX_PIXEL_UM for size in sizes)
    return replace(
        block,
        pixel_width_um=sizes[0] if is_calibrated else None,
        pixel_height_um=sizes[1] if is_calibrated else None,
        magnification=magnification if is_calibrated and _is_number(magnification) else None,
        camera=_text(camera),
        picture_kind=_text(picture),
    )


def _is_number(value: float) -> bool:
    return isfinite(value) and 0 < value < 1e6


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()


def _date(year: int, month: int, day: int, hour: int, minute: int) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute)
    except ValueError:
        return None
