"""Huron TIFF: a TIFF whose tiled pages are the tiers, and whose other pages are small pictures.

The first page is the base. Of the pages in strips, the first is the thumbnail; NewSubfileType tells the
label (1) and the macro (9). What is known of the slide is in the description: lines of `key = value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pims.formats.abstract import AbstractChecker
from pims.formats.engines.tiff.directory import TiffDirectory, TiffFile
from pims.formats.engines.tiff.metadata import (
    PicturesFormat,
    PicturesReader,
    TiffParser,
    has_fast_tiles,
    looks_like_level,
)
from pims.formats.engines.tiff.tags import Tag
from pims.formats.probe import Probe
from pims.model.metadata import AssociatedImage, ImageMetadata, Objective

__all__ = ["HuronChecker", "HuronFormat", "HuronParser", "HuronReader"]

MAKE = "Huron"
MAX_LINES = 256
MICROMETRES = ("um", "µm", "micron", "microns")


class HuronChecker(AbstractChecker):
    """A tiled TIFF whose Make starts with Huron."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        if probe.tiff is None:
            return False
        base = probe.tiff.directories[0]
        return has_fast_tiles(base) and base.text(Tag.MAKE).startswith(MAKE)


class HuronParser(TiffParser):
    """Reads the description's lines of `key = value`."""

    format: HuronFormat

    def parse_main_metadata(self) -> ImageMetadata:
        return replace(super().parse_main_metadata(), brightfield=True)

    def parse_known_metadata(self) -> ImageMetadata:
        known, values = super().parse_known_metadata(), self.values
        pixel_size = _micrometres(values.get("Resolution", ""))
        magnification = _positive(values.get("Objective", "").rstrip("xX "))
        return replace(
            known,
            physical_size_x_um=known.physical_size_x_um or pixel_size,
            physical_size_y_um=known.physical_size_y_um or pixel_size,
            microscope_model=values.get("Scanner") or known.microscope_model,
            objective=Objective(magnification, magnification),
            associated=tuple(
                AssociatedImage(name, page.width, page.height, page.decoder.samples)
                for name, page in self.format.associated.items()
            ),
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        return {**super().parse_raw_metadata(), **{f"HURON.{k}": v for k, v in self.values.items()}}

    @property
    def values(self) -> dict[str, str]:
        """The lines of the description, as text."""
        lines = self.format.levels[0].description.splitlines()[:MAX_LINES]
        pairs = (line.partition("=") for line in lines)
        return {key.strip(): value.strip() for key, equals, value in pairs if equals}


class HuronReader(PicturesReader):
    """Reads tiers and pictures as the engine does."""


class HuronFormat(PicturesFormat):
    """Read as it is; stored JPEG tiles are sent without being decoded."""

    checker_class = HuronChecker
    parser_class = HuronParser
    reader_class = HuronReader
    name = "Huron TIFF"
    extensions = (".tif", ".tiff")
    bits = (8,)
    floating_point = False
    samples = (3,)

    @classmethod
    def find_levels(cls, tiff: TiffFile) -> tuple[TiffDirectory, ...]:
        base, *others = tiff.directories
        levels = [page for page in others if has_fast_tiles(page) and looks_like_level(page, base)]
        return (base, *sorted(levels, key=lambda level: -level.width * level.height))


def _micrometres(text: str) -> float | None:
    """`0.499 um`: the number; none when the unit is another."""
    number, _, unit = text.partition(" ")
    return _positive(number) if unit.strip().lower() in MICROMETRES else None


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e4 else None
