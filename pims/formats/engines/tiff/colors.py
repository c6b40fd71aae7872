"""Colour spaces of TIFF that become RGB of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, UnsupportedFeature
from pims.formats.engines.tiff.bits import SampleKind, SampleType
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.tags import Photometric, Tag

__all__ = ["ColorConversion", "conversion_of", "ycbcr_to_rgb"]

BAND_PIXELS = 1 << 20
"""Converted at a time: between, pixels take four bytes a sample."""
LUMA_601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
CMYK_INKS = 1
MAX_PALETTE_BITS = 16

Convert = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ColorConversion:
    """How the samples that are colour are read."""

    stored: int
    """Samples of a pixel that are colour."""
    samples: int
    """Those of the result: 1 or 3."""
    dtype: np.dtype[Any]
    significant_bits: int
    convert: Convert | None = None
    """(rows, width, stored), which it may overwrite -> (rows, width, samples); none: nothing to do."""


def conversion_of(
    directory: TiffDirectory, photometric: int, kind: SampleType, *, decoded_as_rgb: bool
) -> ColorConversion:
    """What has to be done with the colours of a directory.

    `decoded_as_rgb` is whether the codec makes RGB of YCbCr. Raises UnsupportedFeature, CorruptFile.
    """
    as_stored = partial(ColorConversion, dtype=kind.dtype, significant_bits=kind.significant_bits)
    match photometric:
        case Photometric.MINISBLACK | Photometric.MASK:
            return as_stored(1, 1)
        case Photometric.MINISWHITE:
            return as_stored(1, 1, convert=partial(_inverted, kind=kind))
        case Photometric.RGB:
            return as_stored(3, 3)
        case Photometric.YCBCR if decoded_as_rgb:
            return as_stored(3, 3)
        case Photometric.PALETTE:
            return _to_rgb(1, partial(_looked_up, palette=_palette(directory, kind)))
        case Photometric.SEPARATED:
            if directory.integer(Tag.INK_SET, CMYK_INKS) != CMYK_INKS or directory.samples_per_pixel < 4:
                raise _unsupported("inks that are not CMYK")
            return _to_rgb(4, partial(_banded, convert=partial(_cmyk, kind=kind)))
        case Photometric.YCBCR:
            if kind.bits != 8 or kind.kind is not SampleKind.UNSIGNED:
                raise _unsupported(f"YCbCr colours of {kind.bits} bits")
            return _to_rgb(3, _ycbcr_of(directory))
        case Photometric.CIELAB | Photometric.ICCLAB:
            if kind.bits not in (8, 16) or kind.kind is SampleKind.FLOAT:
                raise _unsupported(f"CIE L*a*b* colours of {kind.bits} bits")
            signed = photometric == Photometric.CIELAB
            return _to_rgb(3, partial(_banded, convert=partial(_lab, bits=kind.bits, signed=signed)))
    names = {10: "ITU L*a*b*", 32803: "the colour filter array of a camera", 34892: "raw camera colours"}
    raise _unsupported(names.get(photometric, f"the colour space {photometric}"))


def ycbcr_to_rgb(
    pixels: NDArray[Any],
    luma: tuple[float, ...] = LUMA_601,
    reference: tuple[float, ...] = FULL_RANGE,
) -> NDArray[Any]:
    """TIFF 6.0, section 21: (height, width, 3) of uint8, Y Cb Cr in, R G B out.

    `luma` are the coefficients of red, green and blue; `reference` the black and white of every component.
    """
    red, green, blue = luma
    black = np.array(reference[::2])
    scale = np.array([255.0, 127.0, 127.0]) / (np.array(reference[1::2]) - black)
    from_red, from_blue = 2 - 2 * red, 2 - 2 * blue
    mixing = np.array(
        [
            [1, 0, from_red],
            [1, -from_blue * blue / green, -from_red * red / green],
            [1, from_blue, 0],
        ]
    )
    matrix = np.zeros((3, 4), np.float32)
    matrix[:, :3] = mixing * scale
    matrix[:, 3] = -(mixing * scale) @ black
    return _banded(pixels, lambda band: cv2.transform(band.astype(np.float32), matrix))


def _unsupported(what: str) -> UnsupportedFeature:
    return UnsupportedFeature(f"This TIFF uses {what}, which this version can't read.")


def _to_rgb(stored: int, convert: Convert) -> ColorConversion:
    return ColorConversion(stored, 3, np.dtype(np.uint8), 8, convert)


def _banded(pixels: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Converted in parts to floats of 0 to 255, which are rounded."""
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, BAND_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        part = convert(pixels[top : top + rows])
        rgb[top : top + rows] = np.clip(np.rint(part), 0, 255)
    return rgb


def _inverted(pixels: NDArray[Any], kind: SampleType) -> NDArray[Any]:
    """Zero is white: it becomes the highest value. Signed values change their order, floats their sign."""
    if kind.kind is SampleKind.FLOAT:
        np.negative(pixels, out=pixels)
    elif kind.kind is SampleKind.SIGNED:
        np.invert(pixels, out=pixels)
    else:
        np.subtract(pixels.dtype.type((1 << kind.bits) - 1), pixels, out=pixels)
    return pixels


def _palette(directory: TiffDirectory, kind: SampleType) -> NDArray[np.uint8]:
    """(2 ** bits, 3); a map whose values are all below 256 is one of 8 bits, written by mistake."""
    if kind.kind is not SampleKind.UNSIGNED or kind.bits > MAX_PALETTE_BITS:
        raise _unsupported(f"a colour palette of {kind.bits} bits")
    entry = directory.entries.get(Tag.COLOR_MAP)
    count = 1 << kind.bits
    if entry is None or entry.kind != 3 or entry.count < 3 * count:
        raise CorruptFile("The colour palette of the TIFF is missing or too short.")
    stored = np.frombuffer(directory.raw(Tag.COLOR_MAP), f"{directory.file.byte_order}u2", 3 * count)
    colors = stored.reshape(3, count).T
    return np.ascontiguousarray(colors if colors.max() < 256 else colors >> 8).astype(np.uint8)


def _looked_up(pixels: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[Any]:
    return np.asarray(palette[pixels[..., 0]])


def _cmyk(pixels: NDArray[Any], kind: SampleType) -> NDArray[Any]:
    """R = 255 (1 - C)(1 - K), and so on: the plain conversion, without a profile."""
    light = 1 - np.clip(pixels.astype(np.float32) / np.float32(kind.highest), 0, 1)
    return np.asarray(255 * light[..., :3] * light[..., 3:4])


def _ycbcr_of(directory: TiffDirectory) -> Convert:
    luma = directory.numbers(Tag.YCBCR_COEFFICIENTS)[:3]
    reference = directory.numbers(Tag.REFERENCE_BLACK_WHITE)[:6]
    if len(luma) != 3 or not all(0 < part < 1 for part in luma):
        luma = LUMA_601
    if len(reference) != 6 or any(
        not 0 <= black < white <= 255 for black, white in zip(reference[::2], reference[1::2], strict=True)
    ):
        reference = FULL_RANGE
    return partial(ycbcr_to_rgb, luma=luma, reference=reference)


def _lab(pixels: NDArray[Any], bits: int, signed: bool) -> NDArray[Any]:
    """CIE 1976 L*a*b* to sRGB; white is white, whatever the light it was measured in.

    L* is 0 to 100 over the range of the type; a* and b* are signed, or offset by half the range (ICC).
    """
    unit = 1 if bits == 8 else 256
    values = np.empty(pixels.shape, np.float32)
    top = (255 if bits == 8 else 65535) if signed else 255 * unit
    values[..., 0] = np.ascontiguousarray(pixels[..., 0]).view(f"u{bits // 8}") * np.float32(100 / top)
    chroma = np.ascontiguousarray(pixels[..., 1:])
    if signed:
        values[..., 1:] = chroma.view(f"i{bits // 8}") / np.float32(unit)
    else:
        values[..., 1:] = chroma.view(f"u{bits // 8}") / np.float32(unit) - 128
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_Lab2RGB)) * 255
