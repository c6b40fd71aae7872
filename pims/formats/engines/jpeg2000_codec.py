"""JPEG 2000 decoding by OpenJPEG: as a whole, at full resolution, which is all its binding offers."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.composite import default_background, over
from pims.formats.engines.jpeg2000_header import Jpeg2000Color, Jpeg2000Header

__all__ = ["decode_jpeg2000"]

BAND_PIXELS = 1 << 20
SIZES_OFFSET = 8
"""Of the sizes in a codestream: after SOC, and marker, length and capabilities of SIZ."""


def decode_jpeg2000(data: bytes, header: Jpeg2000Header) -> NDArray[Any]:
    """Decode a whole file.

    Returns (height, width, 1 or 3), of the type the header names: sYCC, CMYK and palettes become RGB, alpha
    is composited on white for RGB of 8 bits, on black for anything else.

    Raises CorruptFile.
    """
    try:
        pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(_prepared(data, header), numthreads=1)
    except (imagecodecs.Jpeg2kError, ValueError, NotImplementedError) as error:
        raise CorruptFile(f"This JPEG 2000 image is damaged: {_reason(error)}.") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape != (header.height, header.width, header.channels) or pixels.dtype != header.pixel_type:
        raise CorruptFile(
            f"This JPEG 2000 image decodes to an array of shape {pixels.shape} and type {pixels.dtype}, "
            "not as it says."
        )
    highest = (1 << header.bits) - 1
    if header.color is Jpeg2000Color.CMYK:
        return _cmyk_to_rgb(pixels, highest)
    if header.has_alpha and header.signed:
        return np.ascontiguousarray(pixels[..., :-1])
    if header.has_alpha:
        return over(pixels, default_background(header.samples, header.bits), highest)
    return np.ascontiguousarray(pixels)


def _prepared(data: bytes, header: Jpeg2000Header) -> bytes:
    """The file as the decoder takes it: without colour profiles, which it would apply, and without steps.

    An image all of whose components skip the same samples is the image of those it has: sizes and tiles are
    divided by the step (T.800, B.2 and B.3), and no packet changes.
    """
    if not header.profile_boxes and (header.steps_are_one or not header.steps_are_removable):
        return data
    changed = bytearray(data)
    for offset in header.profile_boxes:
        changed[offset + 4 : offset + 8] = b"free"
    if not header.steps_are_one and header.steps_are_removable:
        _remove_steps(changed, header)
    return bytes(changed)


def _remove_steps(data: bytearray, header: Jpeg2000Header) -> None:
    step = header.steps[0]
    at = header.codestream + SIZES_OFFSET
    sizes = np.frombuffer(bytes(data[at : at + 32]), ">u4").reshape(4, 2).astype(np.int64)
    divided = -(-sizes // step)
    if header.tiles == 1:
        divided[2], divided[3] = divided[0], 0
    data[at : at + 32] = divided.astype(">u4").tobytes()
    if header.size_box is not None:
        data[header.size_box : header.size_box + 8] = struct.pack(">II", header.height, header.width)
    for index in range(len(header.components)):
        component = at + 34 + 3 * index
        data[component + 1 : component + 3] = b"\1\1"


def _cmyk_to_rgb(stored: NDArray[Any], highest: int) -> NDArray[Any]:
    """R = (highest - C)(highest - K) / highest, and so on: the plain conversion, without a profile."""
    height, width = stored.shape[:2]
    rgb = np.empty((height, width, 3), stored.dtype)
    band = max(1, BAND_PIXELS // width)
    for top in range(0, height, band):
        part = highest - stored[top : top + band].astype(np.uint32)
        rgb[top : top + band] = (part[..., :3] * part[..., 3:] + highest // 2) // highest
    return rgb


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or "OpenJPEG refused it"
