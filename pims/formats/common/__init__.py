"""The core formats, one module each."""

from pims.formats.common.jpeg import JPEGFormat
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.png import PNGFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat

__all__ = ["FORMATS"]

FORMATS = (JPEGFormat, PNGFormat, PyrTIFFFormat, PlanarTIFFFormat)
