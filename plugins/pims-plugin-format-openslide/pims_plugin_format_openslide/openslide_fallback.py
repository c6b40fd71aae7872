"""What OpenSlide reads of SVS and NDPI and the engines of PIMS don't.

OpenSlide is a library of its own (LGPL), installed or not; it may abort on what it does not expect. It is
imported where an image is opened: in the process of an import, or in one that reads for the server, and
never in the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pims.cache.object import cached_property
from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import (
    AbstractChecker,
    AbstractConvertor,
    AbstractFormat,
    AbstractParser,
    AbstractReader,
    ReadContext,
)
from pims.formats.engines.reduce import box_reduce
from pims.formats.probe import Probe
from pims.model.geometry import Region
from pims.model.metadata import AssociatedImage, Channel, ImageMetadata, Objective
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier
from pims_plugin_format_openslide.ndpi import FLUORESCENCE, NDPIFormat
from pims_plugin_format_openslide.ndpi_directory import parse_ndpi
from pims_plugin_format_openslide.svs import SVSFormat, positive_number

if TYPE_CHECKING:
    from openslide import OpenSlide
    from PIL.Image import Image

__all__ = [
    "NDPISlideFormat",
    "OpenSlideParser",
    "OpenSlideReader",
    "SVSSlideFormat",
    "SlideFormat",
    "openslide_is_installed",
]

TILE = 256
BAND_PIXELS = 1 << 24
"""Pixels read at once: OpenSlide aborts when memory runs out."""
CACHE_BYTES = 128 << 20
"""For decoded tiles (4 bytes a pixel)."""
MAX_NATIVE_TILE = 1 << 22
"""Pixels of a stored tile; an image with larger ones is converted."""
ASSOCIATED = ("label", "macro")
MAX_ASSOCIATED_PIXELS = 1 << 26


def openslide_is_installed() -> bool:
    """Whether it can be imported; it is not."""
    return find_spec("openslide") is not None


class OpenSlideParser(AbstractParser):
    """Passes on what OpenSlide says."""

    format: SlideFormat

    def parse_main_metadata(self) -> ImageMetadata:
        width, height = self.format.level_sizes[0]
        rgb = (("R", "#ff0000"), ("G", "#00ff00"), ("B", "#0000ff"))
        return ImageMetadata(
            width=width,
            height=height,
            pixel_type="uint8",
            significant_bits=8,
            n_samples=3,
            channels=tuple(Channel(index, *named) for index, named in enumerate(rgb)),
            brightfield=True,
            lossy=True,
        )

    def parse_known_metadata(self) -> ImageMetadata:
        properties = self.format.properties
        magnification = positive_number(properties.get("openslide.objective-power"))
        return replace(
            self.format.main_imd,
            physical_size_x_um=positive_number(properties.get("openslide.mpp-x")),
            physical_size_y_um=positive_number(properties.get("openslide.mpp-y")),
            objective=Objective(magnification, magnification),
            associated=tuple(
                AssociatedImage(name, width, height, 3)
                for name, (width, height) in self.format.associated_sizes.items()
            ),
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        named = ((name.partition("."), value) for name, value in self.format.properties.items())
        return {f"{space.upper()}.{key}": value for (space, _, key), value in named if space != "openslide"}

    def parse_pyramid(self) -> Pyramid:
        return Pyramid.of((width, height, TILE, TILE) for width, height in self.format.level_sizes)


class NDPISlideParser(OpenSlideParser):
    """Knows of fluorescence what OpenSlide does not say."""

    def parse_main_metadata(self) -> ImageMetadata:
        base = parse_ndpi(self.format.source, self.format.context.limits).directories[0]
        return replace(super().parse_main_metadata(), brightfield=not base.text(FLUORESCENCE))


class OpenSlideReader(AbstractReader):
    """Reads by OpenSlide. Transparent pixels, where the slide was not scanned, are white."""

    trusted = False
    format: SlideFormat

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        rows = max(BAND_PIXELS // region.width // reduction, 1) * reduction
        bands = [
            Region(region.left, top, region.width, min(rows, region.bottom - top))
            for top in range(region.top, region.bottom, rows)
        ]
        return np.concatenate([box_reduce(self._read(tier, band), reduction) for band in bands])

    def _read(self, tier: Tier, region: Region) -> NDArray[np.uint8]:
        slide = self.format.slide
        scale = slide.level_downsamples[tier.level]
        place = round(region.left * scale), round(region.top * scale)
        try:
            with _errors_of_openslide():
                return _opaque(slide.read_region(place, tier.level, (region.width, region.height)))
        except CorruptFile:
            # What failed once, OpenSlide does not read again; another opening of the file may read the rest.
            self.close()
            self.format.clear_cache()
            raise

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._associated("label")

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._associated("macro")

    def _associated(self, name: str) -> NDArray[Any] | None:
        if name not in self.format.associated_sizes:
            return None
        with _errors_of_openslide():
            return _opaque(self.format.slide.associated_images[name])

    def close(self) -> None:
        if self.format.is_in_cache("slide"):
            self.format.slide.close()


class SlideChecker(AbstractChecker):
    """A file of the native format that uses what its reader does not support."""

    native: ClassVar[type[AbstractFormat]]

    @classmethod
    def match(cls, probe: Probe) -> bool:
        if probe.source.path is None or not cls.native.match(probe):
            return False
        with cls.native(probe.source, context=ReadContext(probe.limits)) as image:
            try:
                _ = image.main_imd, image.pyramid
            except UnsupportedFeature:
                return True
            return False


class SlideFormat(AbstractFormat):
    """An image opened by OpenSlide."""

    parser_class = OpenSlideParser
    reader_class = OpenSlideReader
    convertor_class = AbstractConvertor

    @cached_property
    def slide(self) -> OpenSlide:
        """The file as OpenSlide opens it. Raises UnsupportedFeature."""
        if self.source.path is None:
            raise UnsupportedFeature("OpenSlide can only read files.")
        try:
            import openslide
        except (ImportError, OSError) as error:  # OSError: the Python part without the native one
            raise UnsupportedFeature(f"This file needs OpenSlide, which can't be loaded: {error}.") from error
        try:
            slide = openslide.OpenSlide(self.source.path)
            slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
            return slide
        except openslide.OpenSlideError as error:
            reason = str(error) or "it is of none of its formats"
            raise UnsupportedFeature(f"OpenSlide can't open this file: {reason}.") from error

    @cached_property
    def properties(self) -> dict[str, str]:
        """What OpenSlide knows of the slide, as text."""
        return dict(self.slide.properties)

    @cached_property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of every level, largest first. Raises LimitExceeded."""
        sizes = tuple(self.slide.level_dimensions)
        if max(sizes[0]) > self.context.limits.max_side:
            raise LimitExceeded(
                f"The image is {sizes[0][0]} x {sizes[0][1]} px; "
                f"this server reads at most {self.context.limits.max_side} a side."
            )
        return sizes

    @cached_property
    def need_conversion(self) -> bool:
        sides = [self.properties.get(f"openslide.level[0].tile-{side}", "1") for side in ("width", "height")]
        width, height = map(int, sides)
        return width * height > MAX_NATIVE_TILE

    @cached_property
    def associated_sizes(self) -> dict[str, tuple[int, int]]:
        """(width, height) of label and macro, by name; nothing is decoded for it."""
        found = {}
        for name in ASSOCIATED:
            sides = [
                self.properties.get(f"openslide.associated.{name}.{side}", "0")
                for side in ("width", "height")
            ]
            width, height = map(int, sides)
            if 0 < width * height <= MAX_ASSOCIATED_PIXELS:
                found[name] = (width, height)
        return found


class NDPISlideChecker(SlideChecker):
    native = NDPIFormat


class SVSSlideChecker(SlideChecker):
    native = SVSFormat


class NDPISlideFormat(SlideFormat):
    """Levels without restart markers; of several focal planes, OpenSlide shows the middle one."""

    checker_class = NDPISlideChecker
    parser_class = NDPISlideParser
    name = "Hamamatsu NDPI, by OpenSlide"
    extensions = (".ndpi",)


class SVSSlideFormat(SlideFormat):
    """Compressions that only OpenSlide reads."""

    checker_class = SVSSlideChecker
    name = "Leica Aperio SVS, by OpenSlide"
    extensions = (".svs",)


@contextmanager
def _errors_of_openslide() -> Iterator[None]:
    import openslide

    try:
        yield
    except openslide.OpenSlideError as error:
        raise CorruptFile(f"OpenSlide can't read this file: {error}.") from error
    except (MemoryError, ValueError) as error:
        raise LimitExceeded(f"OpenSlide can't give so large a part of the image: {error}.") from error


def _opaque(picture: Image) -> NDArray[np.uint8]:
    """(height, width, 3) of a picture with opacities, on white."""
    pixels = np.asarray(picture)
    color, opacity = pixels[:, :, :3], pixels[:, :, 3:]
    if opacity.min() == 255:
        return np.ascontiguousarray(color)
    weighted = color.astype(np.uint16) * opacity + 255 * (255 - opacity.astype(np.uint16)) + 127
    white: NDArray[np.uint8] = (weighted // 255).astype(np.uint8)
    return white
