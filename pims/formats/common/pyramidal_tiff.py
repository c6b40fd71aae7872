"""Pyramidal TIFF: one image, tiled at several resolutions."""

from __future__ import annotations

from pims.formats.abstract import AbstractChecker
from pims.formats.engines.tiff.directory import TiffDirectory, TiffFile
from pims.formats.engines.tiff.metadata import (
    PagesParser,
    TiffFormat,
    TiffReader,
    has_fast_tiles,
    reduced_levels,
)
from pims.formats.probe import Probe

__all__ = ["PyrTIFFChecker", "PyrTIFFFormat"]


class PyrTIFFChecker(AbstractChecker):
    """A TIFF whose first image is tiled and has tiled, smaller versions of itself, or fits in one tile.

    Tiles too large to be decoded for every request make it a planar TIFF, which is converted.
    """

    @classmethod
    def match(cls, probe: Probe) -> bool:
        if probe.tiff is None or not has_fast_tiles(probe.tiff.directories[0]):
            return False
        levels = reduced_levels(probe.tiff)
        base = levels[0]
        complete = len(levels) > 1 or (base.width <= base.tile_width and base.height <= base.tile_height)
        return complete and all(has_fast_tiles(level) for level in levels)


class PyrTIFFFormat(TiffFormat):
    """Read as it is, tile by tile."""

    checker_class = PyrTIFFChecker
    parser_class = PagesParser
    reader_class = TiffReader
    name = "Pyramidal TIFF"
    extensions = (".tif", ".tiff")
    media_type = "image/pyrtiff"
    generic = True
    bits = tuple(range(1, 33))
    floating_point = True

    @classmethod
    def find_levels(cls, tiff: TiffFile) -> tuple[TiffDirectory, ...]:
        return reduced_levels(tiff)
