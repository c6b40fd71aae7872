"""Planar TIFF: one resolution, in strips or tiles."""

from __future__ import annotations

from typing import ClassVar

from pims.cache.object import cached_property
from pims.formats.abstract import AbstractChecker, AbstractConvertor
from pims.formats.engines.tiff.metadata import PagesParser, TiffFormat, TiffReader
from pims.formats.probe import Probe

__all__ = ["PlanarTIFFChecker", "PlanarTIFFFormat"]

MAX_NATIVE_SIDE = 1024
"""Images no side of which is longer are served as they are."""


class PlanarTIFFChecker(AbstractChecker):
    """Any TIFF: it is asked after the formats that want more."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return probe.tiff is not None


class PlanarTIFFFormat(TiffFormat):
    """Read as it is when it is small, otherwise converted to a pyramid."""

    checker_class: ClassVar[type[AbstractChecker]] = PlanarTIFFChecker
    parser_class = PagesParser
    reader_class = TiffReader
    convertor_class = AbstractConvertor
    name = "Planar TIFF"
    extensions = (".tif", ".tiff")
    generic = True
    bits = tuple(range(1, 33))
    floating_point = True

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.main_imd.width, self.main_imd.height) > MAX_NATIVE_SIDE
