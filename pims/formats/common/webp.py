"""WebP: lossy and lossless, with or without transparency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.formats.abstract import AbstractChecker, AbstractConvertor, AbstractFormat, AbstractParser
from pims.formats.engines.raster import (
    MAX_NATIVE_SIDE,
    RasterReader,
    check_size,
    raster_metadata,
    read_file,
)
from pims.formats.engines.webp_header import WebpHeader, is_webp, read_webp_header
from pims.formats.probe import Probe
from pims.model.metadata import ImageMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WebPChecker", "WebPFormat", "WebPParser", "WebPReader"]


class WebPChecker(AbstractChecker):
    """A RIFF file of WEBP whose first chunk is one of an image."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return is_webp(probe.signature)


class WebPParser(AbstractParser):
    """Reads every chunk but the image data."""

    format: WebPFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        metadata = raster_metadata(header.width, header.height, n_samples=3, bits=8)
        warnings = ("The file is an animation; only its first frame is shown.",) if header.animated else ()
        lossy = not header.lossless
        return replace(metadata, lossy=lossy, subsampled=lossy, warnings=warnings)

    def parse_known_metadata(self) -> ImageMetadata:
        exif = self.format.header.exif
        width_um, height_um = exif.density.pixel_size_um() if exif.density else (None, None)
        return replace(
            self.format.main_imd,
            physical_size_x_um=width_um,
            physical_size_y_um=height_um,
            acquired_at=exif.taken_at,
            description=exif.text("ImageDescription") or exif.text("UserComment") or None,
            orientation=exif.orientation,
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {
            "WEBP.Lossless": header.lossless,
            "WEBP.Alpha": header.has_alpha,
            "WEBP.Animation": header.animated,
        }
        if header.has_icc:
            found["ICC_Profile.Present"] = True
        return found | {f"EXIF.{name}": value for name, value in header.exif.values.items()}


class WebPReader(RasterReader):
    """Decodes the picture as a whole."""

    format: WebPFormat

    def decode(self) -> NDArray[Any]:
        from pims.formats.engines.webp_codec import decode_webp

        return decode_webp(read_file(self.format.source, self.format.context.limits), self.format.header)


class WebPFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = WebPChecker
    parser_class = WebPParser
    reader_class = WebPReader
    convertor_class = AbstractConvertor
    name = "WebP"
    remarks = "Transparency is composited on white; of an animation, the first frame is shown."
    extensions = (".webp",)
    media_type = "image/webp"
    samples = (3,)

    @cached_property
    def header(self) -> WebpHeader:
        """What the chunks say. Raises FileError."""
        header = read_webp_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        return header

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.header.width, self.header.height) > MAX_NATIVE_SIDE
