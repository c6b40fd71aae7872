"""Leica Aperio SVS: a TIFF whose tiled pages are the tiers, and whose other pages are small pictures.

The first page is the base. The thumbnail is the first page in strips, then come the label and the macro.
What is known of the slide is in the description of the base: `Aperio ...|AppMag = 20|MPP = 0.4990|...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
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
from pims.formats.engines.tiff.tags import Compression
from pims.formats.probe import Probe
from pims.model.metadata import AssociatedImage, ImageMetadata, Objective

__all__ = ["SVSChecker", "SVSFormat", "SVSParser", "SVSReader", "positive_number"]

JPEG2000 = (Compression.JPEG2000_YCBCR, Compression.JPEG2000_RGB)
"""The scanner's own numbers; it uses them with loss."""


class SVSChecker(AbstractChecker):
    """A tiled TIFF whose description starts with Aperio."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        if probe.tiff is None:
            return False
        base = probe.tiff.directories[0]
        return has_fast_tiles(base) and base.description.startswith("Aperio")


class SVSParser(TiffParser):
    """Reads the description's `key = value` pairs."""

    format: SVSFormat

    def parse_main_metadata(self) -> ImageMetadata:
        main = super().parse_main_metadata()
        return replace(
            main, brightfield=True, lossy=main.lossy or self.format.levels[0].compression in JPEG2000
        )

    def parse_known_metadata(self) -> ImageMetadata:
        values = self.values
        pixel_size = positive_number(values.get("MPP"))
        magnification = positive_number(values.get("AppMag"))
        return replace(
            super().parse_known_metadata(),
            physical_size_x_um=pixel_size,
            physical_size_y_um=pixel_size,
            acquired_at=_acquired(values.get("Date", ""), values.get("Time", "")),
            microscope_model=values.get("ScanScope ID") or None,
            objective=Objective(magnification, magnification),
            associated=tuple(
                AssociatedImage(name, page.width, page.height, page.decoder.samples)
                for name, page in self.format.associated.items()
            ),
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        return {**super().parse_raw_metadata(), **{f"APERIO.{k}": v for k, v in self.values.items()}}

    @property
    def values(self) -> dict[str, str]:
        """The pairs of the description, as text."""
        fields = self.format.levels[0].description.split("|")[1:]
        pairs = (field.partition("=") for field in fields[:256])
        return {key.strip(): value.strip() for key, equals, value in pairs if equals}


class SVSReader(PicturesReader):
    """Reads tiers and pictures as the engine does."""


class SVSFormat(PicturesFormat):
    """Read as it is; stored JPEG tiles are sent without being decoded."""

    checker_class = SVSChecker
    parser_class = SVSParser
    reader_class = SVSReader
    name = "Leica Aperio SVS"
    extensions = (".svs",)

    @classmethod
    def find_levels(cls, tiff: TiffFile) -> tuple[TiffDirectory, ...]:
        base, *others = tiff.directories
        levels = [page for page in others if page.is_tiled and looks_like_level(page, base)]
        return (base, *sorted(levels, key=lambda level: -level.width * level.height))


def positive_number(text: str | None) -> float | None:
    """The number that a text says, when it can be a size or a magnification."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _acquired(date: str, time: str) -> datetime | None:
    try:
        return datetime.strptime(f"{date} {time}", "%m/%d/%y %H:%M:%S")
    except ValueError:
        return None
