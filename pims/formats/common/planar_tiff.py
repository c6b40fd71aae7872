"""Planar TIFF: one resolution, in strips or tiles."""

from __future__ import annotations

from dataclasses import replace

from pims.cache.object import cached_property
from pims.errors import UnsupportedFeature
from pims.formats.abstract import AbstractChecker, AbstractConvertor
from pims.formats.engines.tiff.metadata import TiffFormat, TiffParser, TiffReader
from pims.formats.probe import Probe
from pims.model.metadata import ImageMetadata

__all__ = ["PlanarTIFFChecker", "PlanarTIFFFormat"]

MAX_NATIVE_SIDE = 1024
"""Images no side of which is longer are served as they are."""


class PlanarTIFFChecker(AbstractChecker):
    """Any TIFF: it is asked after the formats that want more."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return probe.tiff is not None


class PlanarTIFFParser(TiffParser):
    """Takes the first page; a stack needs a format that knows what its pages mean."""

    def parse_main_metadata(self) -> ImageMetadata:
        tiff = self.format.tiff
        description = tiff.directories[0].description
        pages = sum(not directory.is_reduced for directory in tiff.directories)
        if pages > 1 and ("<OME" in description or description.startswith("ImageJ=")):
            raise UnsupportedFeature(
                f"This TIFF is a stack of {pages} pages described by "
                f"{'OME-XML' if '<OME' in description else 'ImageJ'}, which this version can't read."
            )
        metadata = super().parse_main_metadata()
        if pages > 1:
            warning = f"The file has {pages} pages and does not say what they mean; only the first is shown."
            metadata = replace(metadata, warnings=(warning,))
        return metadata


class PlanarTIFFFormat(TiffFormat):
    """Read as it is when it is small, otherwise converted to a pyramid."""

    checker_class = PlanarTIFFChecker
    parser_class = PlanarTIFFParser
    reader_class = TiffReader
    convertor_class = AbstractConvertor
    name = "Planar TIFF"
    extensions = (".tif", ".tiff")
    generic = True

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.main_imd.width, self.main_imd.height) > MAX_NATIVE_SIDE
