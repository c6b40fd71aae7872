"""JPEG: baseline and progressive of 8 and 12 bits, lossless of 2 to 16; grey, RGB and CMYK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.formats.abstract import (
    AbstractConvertor,
    AbstractFormat,
    AbstractParser,
    SignatureChecker,
)
from pims.formats.engines.jpeg_header import SIGNATURE, JpegColor, JpegHeader, read_jpeg_header
from pims.formats.engines.raster import (
    MAX_NATIVE_SIDE,
    RasterReader,
    check_size,
    raster_metadata,
    read_file,
)
from pims.model.encoded import EncodedTile
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Tier

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JPEGChecker", "JPEGFormat", "JPEGParser", "JPEGReader"]

MAX_DESCRIPTION = 65_536
MAX_SENT_BYTES = 4 << 20
"""A larger file holds more than its picture, and is not read again for every request."""
BROWSER_FRAMES = (0, 1, 2)
"""Baseline, extended sequential and progressive: what every browser decodes, alike."""


class JPEGChecker(SignatureChecker):
    """SOI and the start of a marker."""

    signatures = (SIGNATURE,)


class JPEGParser(AbstractParser):
    """Reads the marker segments before the image."""

    format: JPEGFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        samples = 1 if header.color is JpegColor.GREY else 3
        stored = 8 if header.sample_type == "uint8" else 16
        return replace(
            raster_metadata(header.width, header.height, samples, stored),
            significant_bits=header.precision,
            lossy=header.lossy,
            subsampled=header.subsampled,
        )

    def parse_known_metadata(self) -> ImageMetadata:
        header = self.format.header
        exif = header.exif
        width_um, height_um = None, None
        for density in (exif.density, header.jfif):
            if density is not None and width_um is None and height_um is None:
                width_um, height_um = density.pixel_size_um()
        description = (
            "\n".join(header.comments) or exif.text("ImageDescription") or exif.text("UserComment") or ""
        )
        return replace(
            self.format.main_imd,
            physical_size_x_um=width_um,
            physical_size_y_um=height_um,
            acquired_at=exif.taken_at,
            description=description[:MAX_DESCRIPTION] or None,
            orientation=exif.orientation,
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {
            "File.EncodingProcess": header.process,
            "File.BitsPerSample": header.precision,
            "File.ColorComponents": len(header.components),
            "File.ColorSpace": header.color.value,
            "File.SamplingFactors": " ".join(f"{c.horizontal}x{c.vertical}" for c in header.components),
        }
        if header.comments:
            found["File.Comment"] = "\n".join(header.comments)
        if header.jfif is not None:
            found |= {"JFIF.XPixelsPerInch": header.jfif.x, "JFIF.YPixelsPerInch": header.jfif.y}
        if header.adobe_transform is not None:
            found["APP14.ColorTransform"] = header.adobe_transform
        if header.has_icc:
            found["ICC_Profile.Present"] = True
        return found | {f"EXIF.{name}": value for name, value in header.exif.values.items()}


class JPEGReader(RasterReader):
    """Decodes the picture as a whole; passes a small one on as it is stored."""

    format: JPEGFormat

    def decode(self) -> NDArray[Any]:
        return self.decode_reduced(1)

    def decode_reduced(self, reduction: int) -> NDArray[Any]:
        from pims.formats.engines.jpeg_codec import decode_jpeg

        header = self.format.header
        return decode_jpeg(read_file(self.format.source, self.format.context.limits), header, reduction)

    def read_stored_tile(
        self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
    ) -> EncodedTile | None:
        """The file without its metadata: without the orientation and the profile, viewers show our pixels."""
        from pims.formats.engines.jpeg_codec import pure_stream

        if not may_block and not self.format.is_in_cache("header"):
            raise BlockingIOError
        header = self.format.header
        if (
            header.frame not in BROWSER_FRAMES
            or header.precision != 8
            or header.color in (JpegColor.CMYK, JpegColor.YCCK)
            or max(header.width, header.height) > MAX_NATIVE_SIDE
            or self.format.source.size > MAX_SENT_BYTES
        ):
            return None
        data = read_file(self.format.source, self.format.context.limits, may_block=may_block)
        return EncodedTile("image/jpeg", pure_stream(data, header))


class JPEGFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = JPEGChecker
    parser_class = JPEGParser
    reader_class = JPEGReader
    convertor_class = AbstractConvertor
    remarks = "CMYK is converted to sRGB without a profile."
    extensions = (".jpg", ".jpeg")
    media_type = "image/jpeg"
    bits = tuple(range(2, 17))

    @cached_property
    def header(self) -> JpegHeader:
        """What the segments before the image say. Raises FileError."""
        header = read_jpeg_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        return header

    @cached_property
    def need_conversion(self) -> bool:
        header = self.header
        return max(header.width, header.height) > MAX_NATIVE_SIDE or header.color in (
            JpegColor.CMYK,
            JpegColor.YCCK,
        )
