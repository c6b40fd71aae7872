"""BMP: 1 to 32 bits; palettes, bit fields and run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.formats.abstract import AbstractChecker, AbstractConvertor, AbstractFormat, AbstractParser
from pims.formats.engines.bmp_header import HEADER_SIZES, SIGNATURE, BmpHeader, read_bmp_header
from pims.formats.engines.raster import (
    MAX_NATIVE_SIDE,
    RasterReader,
    check_size,
    raster_metadata,
    read_file,
)
from pims.formats.probe import Probe
from pims.model.metadata import ImageMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BMPChecker", "BMPFormat", "BMPParser", "BMPReader"]


class BMPChecker(AbstractChecker):
    """The letters BM, and a header of a size that a version of BMP has."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        start = probe.signature
        return start.startswith(SIGNATURE) and int.from_bytes(start[14:18], "little") in HEADER_SIZES


class BMPParser(AbstractParser):
    """Reads the header and the palette."""

    format: BMPFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        return raster_metadata(header.width, header.height, header.samples, header.sample_bits)

    def parse_known_metadata(self) -> ImageMetadata:
        density = self.format.header.density
        width_um, height_um = density.pixel_size_um() if density else (None, None)
        return replace(self.format.main_imd, physical_size_x_um=width_um, physical_size_y_um=height_um)

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {
            "BMP.HeaderBytes": header.version,
            "BMP.BitsPerPixel": header.bits,
            "BMP.Compression": header.compression.value,
            "BMP.TopDown": header.top_down,
        }
        if header.palette:
            found["BMP.PaletteColors"] = len(header.palette)
        if header.masks:
            found["BMP.Masks"] = [f"{mask:08x}" for mask in header.masks]
        if header.density is not None:
            found |= {"BMP.XPixelsPerInch": header.density.x, "BMP.YPixelsPerInch": header.density.y}
        return found


class BMPReader(RasterReader):
    """Decodes the picture as a whole."""

    format: BMPFormat

    def decode(self) -> NDArray[Any]:
        from pims.formats.engines.bmp_codec import decode_bmp

        return decode_bmp(read_file(self.format.source, self.format.context.limits), self.format.header)


class BMPFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = BMPChecker
    parser_class = BMPParser
    reader_class = BMPReader
    convertor_class = AbstractConvertor
    remarks = "A palette of greys is read as grey, any other as RGB; transparency is composited on white."
    extensions = (".bmp", ".dib")
    media_type = "image/bmp"
    bits = (1, 2, 4, 8, 16)

    @cached_property
    def header(self) -> BmpHeader:
        """What precedes the pixels. Raises FileError."""
        header = read_bmp_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        return header

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.header.width, self.header.height) > MAX_NATIVE_SIDE
