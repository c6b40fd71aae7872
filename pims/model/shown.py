"""What this version can show: the one rule of import, conversion and rendering."""

from __future__ import annotations

from pims.errors import UnsupportedFeature
from pims.model.metadata import ImageMetadata

__all__ = ["PIXEL_TYPES", "SAMPLES", "check_shown"]

PIXEL_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
"""What a reader may return: stored integers of other depths and shorter floats come in the next wider one."""
SAMPLES = (1, 3)
"""Per pixel of a plane: grey and RGB."""


def check_shown(metadata: ImageMetadata) -> None:
    """Raises UnsupportedFeature for images that can be described, but not shown."""
    if metadata.pixel_type not in PIXEL_TYPES:
        raise UnsupportedFeature(
            f"Images of type {metadata.pixel_type} can't be shown by this version; "
            f"save the image as one of {', '.join(PIXEL_TYPES)}."
        )
    if metadata.n_samples not in SAMPLES:
        raise UnsupportedFeature(
            f"Images with {metadata.n_samples} samples per pixel can't be shown by this version; "
            "save the image as grey (1) or RGB (3)."
        )
    if metadata.n_concrete_channels != 1:
        raise UnsupportedFeature(
            f"Images of {metadata.n_concrete_channels} channels can't be shown by this version; "
            "save each channel as an image of its own."
        )
