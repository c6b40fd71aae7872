"""Hamamatsu NDPI: every level, of every focal plane, is one JPEG with restart markers.

A directory says its magnification (-1: the macro, -2: a map of the slide) and its position in z. The levels
are read by the engine for JPEGs cut at their restart markers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from pims.cache.object import cached_property
from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.formats.abstract import AbstractChecker
from pims.formats.engines.tiff.directory import TiffFile
from pims.formats.engines.tiff.metadata import TiffFormat, TiffParser, TiffReader
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag
from pims.formats.facts import Axis
from pims.formats.probe import Probe
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.metadata import AssociatedImage, Channel, ImageMetadata, Objective
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier
from pims_plugin_format_openslide.ndpi_directory import NdpiDirectory, is_ndpi, parse_ndpi
from pims_plugin_format_openslide.restart_jpeg import IntervalTable, RestartJpeg

__all__ = ["FLUORESCENCE", "NDPIChecker", "NDPIFormat", "NDPIParser", "NDPIReader"]

SOURCE_LENS, Z_OFFSET, MCU_STARTS, MCU_STARTS_HIGH, FLUORESCENCE, PROPERTIES = (
    65421, 65424, 65426, 65432, 65434, 65449,
)  # fmt: skip
MACRO = -1.0
JPEG_XR = 22610
NAMES = {JPEG_XR: "JPEG XR", Compression.NONE: "none"}
MAX_PROPERTIES = 1024


class NDPIChecker(AbstractChecker):
    """A TIFF of 64 bits in disguise, with the tag of the format."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return is_ndpi(probe.source)


class NDPIParser(TiffParser):
    """Reads the tags, and the `key=value` lines of the scanner."""

    format: NDPIFormat

    def parse_main_metadata(self) -> ImageMetadata:
        base, image = self.format.levels[0], self.format.images_of_planes[0][0]
        samples = image.samples
        rgb = (("R", "#ff0000"), ("G", "#00ff00"), ("B", "#0000ff"))
        dye = base.text(FLUORESCENCE)[:256] or None
        return ImageMetadata(
            width=image.width,
            height=image.height,
            pixel_type="uint8",
            significant_bits=8,
            n_samples=samples,
            depth=len(self.format.focal_planes),
            channels=tuple(Channel(i, *rgb[i]) for i in range(3)) if samples == 3 else (Channel(0, dye),),
            brightfield=samples == 3 and dye is None,
            lossy=True,
            subsampled=samples == 3 and base.integers(Tag.YCBCR_SUBSAMPLING) not in ((1, 1), ()),
        )

    def parse_known_metadata(self) -> ImageMetadata:
        magnification = self.format.levels[0].number(SOURCE_LENS)
        macro = self.format.macro
        return replace(
            super().parse_known_metadata(),
            physical_size_z_um=self._plane_distance_um(),
            objective=Objective(magnification, magnification),
            associated=(AssociatedImage("macro", macro.width, macro.height, macro.samples),) if macro else (),
        )

    def _plane_distance_um(self) -> float | None:
        """The distance of the focal planes, when they are equally far apart (the file says nanometres)."""
        positions = self.format.focal_planes
        distances = {after - before for before, after in pairwise(positions)}
        return distances.pop() / 1000 if len(distances) == 1 else None

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        lines = self.format.levels[0].text(PROPERTIES).splitlines()[:MAX_PROPERTIES]
        pairs = (line.partition("=") for line in lines)
        named = {f"HAMAMATSU.{key.strip()}": value.strip() for key, equals, value in pairs if equals}
        return {**super().parse_raw_metadata(), **named}

    def parse_pyramid(self) -> Pyramid:
        return Pyramid.of(
            (image.width, image.height, image.tile_width, image.tile_height)
            for image, *_ in self.format.images_of_planes
        )


class NDPIReader(TiffReader):
    """Reads levels and focal planes from their JPEGs."""

    format: NDPIFormat

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        return self.format.images_of_planes[tier.level][plane.z].read(region, reduction)

    def read_stored_tile(
        self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
    ) -> EncodedTile | None:
        return None

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        macro = self.format.macro
        return None if macro is None else macro.read(Region(0, 0, macro.width, macro.height))


class NDPIFormat(TiffFormat):
    """Read as it is; a region decodes the rows of blocks it needs."""

    checker_class = NDPIChecker
    parser_class = NDPIParser
    reader_class = NDPIReader
    name = "Hamamatsu NDPI"
    planes = (Axis.FOCUS,)
    extensions = (".ndpi",)

    @cached_property
    def tiff(self) -> TiffFile:
        """The parsed file. Raises FileError."""
        return parse_ndpi(self.source, self.context.limits)

    @cached_property
    def _pages(self) -> dict[float, dict[int, NdpiDirectory]]:
        """The directories of the slide by magnification and position in z (nm), highest and lowest first."""
        found: dict[float, dict[int, NdpiDirectory]] = {}
        for page in self.tiff.directories:
            lens = page.number(SOURCE_LENS)
            if isinstance(page, NdpiDirectory) and lens is not None and lens > 0:
                found.setdefault(lens, {}).setdefault(page.integer(Z_OFFSET, 0), page)
        if not found:
            raise CorruptFile("The NDPI file has no image of the slide.")
        return {lens: dict(sorted(found[lens].items())) for lens in sorted(found, reverse=True)}

    @cached_property
    def focal_planes(self) -> tuple[int, ...]:
        """The positions of the focal planes in nanometres, lowest first."""
        return tuple(next(iter(self._pages.values())))

    @cached_property
    def stacks(self) -> tuple[tuple[NdpiDirectory, ...], ...]:
        """By level, the directories of all focal planes. A level that lacks one of them is left out."""
        planes = self.focal_planes
        whole = [stack for stack in self._pages.values() if all(z in stack for z in planes)]
        return tuple(tuple(stack[z] for z in planes) for stack in whole)

    @cached_property
    def levels(self) -> tuple[NdpiDirectory, ...]:
        """The directories of the first focal plane, largest first."""
        return tuple(stack[0] for stack in self.stacks)

    @cached_property
    def images_of_planes(self) -> tuple[tuple[RestartJpeg, ...], ...]:
        """The levels opened for reading, and in them the focal planes. Raises FileError."""
        opened = tuple(tuple(self._opened(page) for page in stack) for stack in self.stacks)
        sizes = [(stack[0].width, stack[0].height) for stack in opened]
        for stack in opened:
            if {(image.width, image.height, image.samples) for image in stack} != {
                (stack[0].width, stack[0].height, opened[0][0].samples)
            }:
                raise CorruptFile("The focal planes of the NDPI file have different sizes or colours.")
        if sizes != sorted(sizes, reverse=True) or len(set(sizes)) < len(sizes):
            raise CorruptFile("The magnifications of the NDPI file and its sizes contradict each other.")
        return opened

    @cached_property
    def macro(self) -> RestartJpeg | None:
        """The picture of the glass slide; a damaged one is left out."""
        for page in self.tiff.directories:
            if isinstance(page, NdpiDirectory) and page.number(SOURCE_LENS) == MACRO:
                try:
                    return self._opened(page)
                except FileError:
                    return None
        return None

    def _opened(self, page: NdpiDirectory) -> RestartJpeg:
        if page.compression != Compression.JPEG:
            name = NAMES.get(page.compression, f"number {page.compression}")
            raise UnsupportedFeature(
                f"A level of the NDPI file has the compression {name}; this version reads JPEG."
            )
        place = page.wide_integer(Tag.STRIP_OFFSETS), page.wide_integer(Tag.STRIP_BYTE_COUNTS)
        low, high = page.entries.get(MCU_STARTS), page.entries.get(MCU_STARTS_HIGH)
        table = None
        if low is not None and low.count > 1:
            if low.kind != 4 or (high is not None and (high.kind, high.count) != (4, low.count)):
                raise CorruptFile("The NDPI file's list of restart markers has a wrong type.")
            table = IntervalTable(low.offset, low.count, None if high is None else high.offset)
        size, is_rgb = (page.width, page.height), page.photometric == Photometric.RGB
        try:
            return RestartJpeg(self.source, place, size, table, self.context.tile_cache, rgb=is_rgb)
        except UnsupportedFeature as error:
            raise UnsupportedFeature(
                f"{error} OpenSlide may read it: install this plug-in with its extra openslide."
            ) from error
