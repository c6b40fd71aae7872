"""Netpbm: PBM, PGM, PPM, PAM and PFM; decimal or binary, 1 to 16 bits or floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pims.cache.object import cached_property
from pims.formats.abstract import AbstractChecker, AbstractConvertor, AbstractFormat, AbstractParser
from pims.formats.engines.pnm_header import PnmHeader, is_pnm, read_pnm_header
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

__all__ = ["PPMChecker", "PPMFormat", "PPMParser", "PPMReader"]


class PPMChecker(AbstractChecker):
    """P and a digit (or f, or F), white space, and the beginning of a header."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return is_pnm(probe.signature)


class PPMParser(AbstractParser):
    """Reads the header."""

    format: PPMFormat

    def parse_main_metadata(self) -> ImageMetadata:
        header = self.format.header
        metadata = raster_metadata(header.width, header.height, header.samples, 8 * header.sample_bytes)
        pixel_type = "float32" if header.is_float else metadata.pixel_type
        brightfield = metadata.brightfield and not header.is_float
        return replace(
            metadata,
            pixel_type=pixel_type,
            significant_bits=header.significant_bits,
            brightfield=brightfield,
        )

    def parse_known_metadata(self) -> ImageMetadata:
        return replace(self.format.main_imd, description=self.format.header.comment or None)

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        header = self.format.header
        found: dict[str, Any] = {"PNM.Kind": header.kind.decode(), "PNM.Alpha": header.has_alpha}
        found |= {"PNM.Scale": header.scale} if header.is_float else {"PNM.MaxValue": header.maxval}
        return found | ({"PNM.Comment": header.comment} if header.comment else {})


class PPMReader(RasterReader):
    """Decodes the picture as a whole."""

    format: PPMFormat

    def decode(self) -> NDArray[Any]:
        from pims.formats.engines.pnm_codec import decode_pnm

        return decode_pnm(read_file(self.format.source, self.format.context.limits), self.format.header)


class PPMFormat(AbstractFormat):
    """Served as it is when it is small, otherwise converted to a pyramid."""

    checker_class = PPMChecker
    parser_class = PPMParser
    reader_class = PPMReader
    convertor_class = AbstractConvertor
    name = "Netpbm (PBM, PGM, PPM, PAM, PFM)"
    remarks = "Stored values are kept; a brightest value other than a power of two less one is not stretched."
    extensions = (".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm")
    media_type = "image/x-portable-anymap"
    bits = tuple(range(1, 17))
    floating_point = True
    generic = True

    @cached_property
    def header(self) -> PnmHeader:
        """What precedes the pixels. Raises FileError."""
        header = read_pnm_header(self.source)
        check_size(header.width, header.height, self.context.limits)
        return header

    @cached_property
    def need_conversion(self) -> bool:
        return max(self.header.width, self.header.height) > MAX_NATIVE_SIDE
