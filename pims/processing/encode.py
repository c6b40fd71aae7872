"""Pixels to JPEG, PNG and WebP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pims.errors import InvalidParameter, OutputTooLarge, UnsupportedFeature

__all__ = ["MEDIA_TYPES", "encode", "max_bits"]

QUALITY = 75
"""Of JPEG and WebP, 0 to 100."""


@dataclass(frozen=True, slots=True)
class Codec:
    """What one encoder takes."""

    name: str
    write: Callable[[NDArray[Any]], bytes]
    max_bits: int
    max_side: int
    """Pixels, as the library has it: it can be less than what the file format allows."""


def encode(pixels: NDArray[Any], media_type: str) -> bytes:
    """A complete file.

    Parameters
    ----------
    pixels : (height, width, samples) with 1 or 3 samples; uint8, for PNG also uint16
    media_type : one of MEDIA_TYPES

    Raises
    ------
    InvalidParameter : another media type
    OutputTooLarge : a side longer than the codec allows
    UnsupportedFeature : a type or a number of samples that the codec can't write
    """
    codec = _codec(media_type)
    if pixels.dtype != np.uint8 and not (pixels.dtype == np.uint16 and codec.max_bits == 16):
        raise UnsupportedFeature(
            f"{codec.name} can't hold pixels of type {pixels.dtype}; it takes {codec.max_bits} bits at most."
        )
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0:
        raise UnsupportedFeature(
            f"Pixels of shape {pixels.shape} can't be written as {codec.name}; "
            "(height, width, 1) and (height, width, 3) can."
        )
    height, width = pixels.shape[:2]
    if max(width, height) > codec.max_side:
        raise OutputTooLarge(width, height, codec.max_side)
    try:
        return bytes(codec.write(np.ascontiguousarray(pixels)))
    except (RuntimeError, ValueError) as error:
        raise UnsupportedFeature(f"{codec.name} can't be written: {error}") from error


def max_bits(media_type: str) -> int:
    """The most bits a sample can have: 16 for PNG, 8 for the others. Raises InvalidParameter."""
    return _codec(media_type).max_bits


def _codec(media_type: str) -> Codec:
    try:
        return MEDIA_TYPES[media_type]
    except KeyError as error:
        raise InvalidParameter(
            "Accept", f"It must be one of {', '.join(MEDIA_TYPES)}.", media_type[:100], where="header"
        ) from error


def _jpeg(pixels: NDArray[Any]) -> bytes:
    if pixels.shape[2] == 1:
        data = simplejpeg.encode_jpeg(pixels, QUALITY, colorspace="GRAY", colorsubsampling="Gray")
    else:
        data = simplejpeg.encode_jpeg(pixels, QUALITY, colorspace="RGB", colorsubsampling="420")
    return bytes(data)


def _png(pixels: NDArray[Any]) -> bytes:
    """Run lengths and differences to the row above: a third of the time of the default, the same size."""
    return bytes(
        imagecodecs.png_encode(
            pixels[:, :, 0] if pixels.shape[2] == 1 else pixels,
            level=1,
            strategy=imagecodecs.PNG.STRATEGY.RLE,
            filter=imagecodecs.PNG.FILTER.UP,
        )
    )


def _webp(pixels: NDArray[Any]) -> bytes:
    """WebP has no grey: it is written as RGB."""
    rgb = pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
    return bytes(imagecodecs.webp_encode(rgb, level=QUALITY, lossless=False, method=0))


JPEG = Codec("JPEG", _jpeg, max_bits=8, max_side=65_500)
PNG = Codec("PNG", _png, max_bits=16, max_side=1_000_000)
WEBP = Codec("WebP", _webp, max_bits=8, max_side=16_382)

MEDIA_TYPES: Mapping[str, Codec] = {
    "image/jpeg": JPEG,
    "image/jpg": JPEG,
    "image/png": PNG,
    "image/apng": PNG,
    "image/webp": WEBP,
}
"""The codec of every media type this server writes."""
