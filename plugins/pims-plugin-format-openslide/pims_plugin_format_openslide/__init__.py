"""Formats of whole-slide scanners, as a PIMS plug-in."""

from pims_plugin_format_openslide.ndpi import NDPIFormat
from pims_plugin_format_openslide.openslide_fallback import (
    NDPISlideFormat,
    SVSSlideFormat,
    openslide_is_installed,
)
from pims_plugin_format_openslide.svs import SVSFormat

__all__ = ["FORMATS"]

FALLBACKS = (NDPISlideFormat, SVSSlideFormat) if openslide_is_installed() else ()
"""Tried first: they take only what the others can't read."""
FORMATS = (*FALLBACKS, SVSFormat, NDPIFormat)
