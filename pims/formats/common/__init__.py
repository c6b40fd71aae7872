"""The core formats, one module each."""

from pims.formats.common.bmp import BMPFormat
from pims.formats.common.huron_tiff import HuronFormat
from pims.formats.common.jpeg import JPEGFormat
from pims.formats.common.jpeg2000 import JPEG2000Format
from pims.formats.common.olympus_sis import SISFormat
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.png import PNGFormat
from pims.formats.common.ppm import PPMFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat
from pims.formats.common.webp import WebPFormat

__all__ = ["FORMATS"]

FORMATS = (
    JPEGFormat,
    PNGFormat,
    BMPFormat,
    WebPFormat,
    JPEG2000Format,
    SISFormat,
    HuronFormat,
    PPMFormat,
    PyrTIFFFormat,
    PlanarTIFFFormat,
)
