"""JPEG 2000: JP2 files and bare codestreams; grey, RGB, sYCC, CMYK and palette, 1 to 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.errors import LimitExceeded
from pims.formats.abstract import AbstractConvertor, AbstractFormat, AbstractParser, SignatureChecker
from pims.formats.engines.jpeg2000_header import (
    CODESTREAM,
    JP2,
    Jpeg2000Color,
    Jpeg2000Header,
    read_jpeg2000_header,
)
from pims.formats.engines.raster import (
    MAX_NATIVE_SIDE,
    RasterReader,
    check_size,
    raster_metadata,
    read_file,
)
from pims.formats.facts import ConversionClass
from pims.model.metadata import ImageMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JPEG2000Checker", "JPEG2000Format", "JPEG2000Parser", "JPEG2000Reader"]

MAX_DECODER_BYTES = 8 << 30
"""What OpenJPEG may take: 4 bytes a sample, whatever its bits."""
MAX_DESCRIPTION = 65_536


class JPEG2000Checker(SignatureChecker):
    """The signature box of a JP2 file, or the first two markers of a codestream."""

    signatures = (JP2, CODESTREAM)


class JPEG2000Parser(AbstractParser):
    """Reads the boxes and the main header of the codestream."""

    format: JPEG2000Format

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        stored = 8 if header.bits <= 8 else 16
        return replace(
            raster_metadata(header.width, header.height, header.samples, stored),
            pixel_type=header.pixel_type,
            significant_bits=header.bits,
            lossy=not header.lossless,
            subsampled=header.has_known_subsampling,
        )

    def parse_known_metadata(self) -> ImageMetadata:
        header = self.format.header
        width_um, height_um = header.density.pixel_size_um() if header.density else (None, None)
        return replace(
            self.format.main_imd,
            physical_size_x_um=width_um,
            physical_size_y_um=height_um,
            description="\n".join(header.comments)[:MAX_DESCRIPTION] or None,
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {
            "JPEG2000.BitsPerComponent": [component.bits for component in header.components],
            "JPEG2000.ColorSpace": header.color.value,
            "JPEG2000.Layers": header.layers,
            "JPEG2000.Lossless": header.lossless,
            "JPEG2000.Resolutions": header.resolutions,
            "JPEG2000.TileSize": [header.tile_width, header.tile_height],
        }
        if header.density is not None:
            found |= {
                "JPEG2000.XPixelsPerInch": header.density.x,
                "JPEG2000.YPixelsPerInch": header.density.y,
            }
        if header.comments:
            found["JPEG2000.Comment"] = "\n".join(header.comments)
        if header.profile_boxes:
            found["ICC_Profile.Present"] = True
        return found


class JPEG2000Reader(RasterReader):
    """Decodes the picture as a whole."""

    format: JPEG2000Format

    def decode(self) -> NDArray[Any]:
        from pims.formats.engines.jpeg2000_codec import decode_jpeg2000

        header = self.format.header
        return decode_jpeg2000(read_file(self.format.source, self.format.context.limits), header)


class JPEG2000Format(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = JPEG2000Checker
    parser_class = JPEG2000Parser
    reader_class = JPEG2000Reader
    convertor_class = AbstractConvertor
    name = "JPEG 2000"
    remarks = "Components of different bits, and of different resolutions but in sYCC, can't be read."
    extensions = (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf")
    media_type = "image/jp2"
    bits = tuple(range(1, 17))
    conversion_class = ConversionClass.HEAVY

    @cached_property
    def header(self) -> Jpeg2000Header:
        """What precedes the image data. Raises FileError."""
        header = read_jpeg2000_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        needed = 4 * header.width * header.height * len(header.components)
        if needed > MAX_DECODER_BYTES:
            raise LimitExceeded(
                f"Decoding this JPEG 2000 image of {header.width} x {header.height} px takes "
                f"{needed >> 30} GB of memory; at most {MAX_DECODER_BYTES >> 30} are given. "
                "A tiled pyramidal TIFF has no such limit."
            )
        return header

    @cached_property
    def need_conversion(self) -> bool:
        header = self.header
        return max(header.width, header.height) > MAX_NATIVE_SIDE or header.color is Jpeg2000Color.CMYK
