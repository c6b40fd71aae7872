"""PNG: 1 to 16 bits; grey, RGB and palette, with or without transparency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.errors import UnsupportedFeature
from pims.formats.abstract import (
    AbstractConvertor,
    AbstractFormat,
    AbstractParser,
    SignatureChecker,
)
from pims.formats.engines.exif import parse_date
from pims.formats.engines.png_header import (
    MAX_SIDE,
    SIGNATURE,
    PngHeader,
    read_png_header,
    walk_chunks,
)
from pims.formats.engines.raster import (
    MAX_NATIVE_SIDE,
    RasterReader,
    check_size,
    raster_metadata,
    read_file,
)
from pims.model.metadata import ImageMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PNGChecker", "PNGFormat", "PNGParser", "PNGReader"]

DESCRIPTION_KEYWORDS = ("Description", "Comment", "Title")


class PNGChecker(SignatureChecker):
    """The eight bytes every PNG starts with."""

    signatures = (SIGNATURE,)


class PNGParser(AbstractParser):
    """Reads every chunk but the image data."""

    format: PNGFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        metadata = raster_metadata(header.width, header.height, header.samples, header.bits)
        if not header.animated:
            return metadata
        return replace(metadata, warnings=("The file is an animation; only its default image is shown.",))

    def parse_known_metadata(self) -> ImageMetadata:
        header = self.format.header
        density = header.density or header.exif.density
        width_um, height_um = density.pixel_size_um() if density else (None, None)
        texts = [header.texts[keyword] for keyword in DESCRIPTION_KEYWORDS if keyword in header.texts]
        return replace(
            self.format.main_imd,
            physical_size_x_um=width_um,
            physical_size_y_um=height_um,
            acquired_at=parse_date(header.texts.get("Creation Time"))
            or header.exif.taken_at
            or header.modified,
            description=next(iter(texts), None) or header.exif.text("ImageDescription"),
            orientation=header.exif.orientation,
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {
            "PNG.BitDepth": header.depth,
            "PNG.ColorType": header.color.name,
            "PNG.Interlaced": header.interlaced,
            "PNG.Alpha": header.has_alpha,
        }
        if header.background is not None:
            found["PNG.Background"] = list(header.background)
        if header.density is not None:
            found |= {"PNG.XPixelsPerInch": header.density.x, "PNG.YPixelsPerInch": header.density.y}
        if header.modified is not None:
            found["PNG.ModifyDate"] = header.modified.isoformat()
        if header.has_icc:
            found["ICC_Profile.Present"] = True
        for keyword, text in header.texts.items():
            found.setdefault("PNG." + keyword.replace(" ", ""), text)
        return found | {f"EXIF.{name}": value for name, value in header.exif.values.items()}


class PNGReader(RasterReader):
    """Decodes the picture as a whole."""

    format: PNGFormat

    def decode(self) -> NDArray[Any]:
        from pims.formats.engines.png_codec import decode_png

        source = self.format.source
        header = self.format.header
        return decode_png(read_file(source, self.format.context.limits), list(walk_chunks(source)), header)


class PNGFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = PNGChecker
    parser_class = PNGParser
    reader_class = PNGReader
    convertor_class = AbstractConvertor
    remarks = "Transparency is composited on the file's background, else on white for RGB, black for grey."
    extensions = (".png",)
    media_type = "image/png"
    bits = (1, 2, 4, 8, 16)

    @cached_property
    def header(self) -> PngHeader:
        """What the chunks say. Raises FileError."""
        header = read_png_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        if max(header.width, header.height) > MAX_SIDE:
            raise UnsupportedFeature(
                f"This PNG has a side of more than {MAX_SIDE} px, which can't be decoded."
            )
        return header

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.main_imd.width, self.main_imd.height) > MAX_NATIVE_SIDE
