"""Formats of whole-slide scanners, as a PIMS plug-in."""

from pims_plugin_format_openslide.svs import SVSFormat

__all__ = ["FORMATS"]

FORMATS = (SVSFormat,)
