"""The steps between the pixels as stored and the pixels as shown, in one list.

Later kinds of steps and their place: reductions over z, t and channels and colormaps come with the
intensities, filters after them, drawing last, on pixels of the final size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from pims.model.metadata import ImageMetadata
from pims.model.shown import check_shown
from pims.processing.lut import IntensityTables, intensity_lut, is_identity
from pims.processing.request import ChannelDisplay
from pims.processing.resize import resample, resize
from pims.processing.stretch import STRETCHED_TYPES, IntensityStretch

__all__ = [
    "AdjustIntensities",
    "Resample",
    "Resize",
    "Step",
    "StretchIntensities",
    "adjustment",
    "plan",
    "run",
]


class Step(Protocol):
    """One transformation of pixels (height, width, samples), which it may overwrite if they are writable."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class AdjustIntensities:
    """Contrast, gamma and the number of bits, in one look-up."""

    tables: IntensityTables

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return self.tables.apply(pixels, in_place=pixels.flags.writeable)


@dataclass(frozen=True, slots=True)
class StretchIntensities:
    """The same, computed, for types of 32 and 64 bits."""

    stretch: IntensityStretch

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return self.stretch.apply(pixels)


@dataclass(frozen=True, slots=True)
class Resample:
    """A rectangle, which may have fractional bounds, at the output's size."""

    crop: tuple[float, float, float, float]
    """Left, top, width and height in pixels of what the step is given."""
    width: int
    height: int

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return resample(pixels, *self.crop, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Resize:
    """Everything, at the output's size; nothing is done when it has that size."""

    width: int
    height: int

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return resize(pixels, self.width, self.height)


def adjustment(
    metadata: ImageMetadata, channels: tuple[ChannelDisplay, ...], output_bits: int
) -> AdjustIntensities | StretchIntensities | None:
    """The step that shows intensities as asked, as unsigned integers; None when it would change no value.

    `channels` has one entry per sample of a plane. Raises UnsupportedFeature for a type of pixels or a number
    of samples that this version can't show.
    """
    check_shown(metadata)
    if len(channels) != metadata.n_samples:
        raise ValueError(f"{len(channels)} channels for a plane of {metadata.n_samples} samples")
    bits = metadata.bits
    if metadata.pixel_type in STRETCHED_TYPES:
        return StretchIntensities(IntensityStretch(channels, output_bits))
    signed = not metadata.pixel_type.startswith("u")
    if not signed and all(is_identity(bits, channel, output_bits) for channel in channels):
        return None
    luts = [intensity_lut(bits, channel, output_bits, signed=signed) for channel in channels]
    return AdjustIntensities(IntensityTables(luts, signed=signed))


def plan(
    adjust: AdjustIntensities | StretchIntensities | None,
    *,
    crop: tuple[float, float, float, float] | None,
    out_width: int,
    out_height: int,
) -> list[Step]:
    """The steps that one plane as read needs to be shown.

    Parameters
    ----------
    adjust : what `adjustment` gave
    crop : (left, top, width, height) in pixels of the array that was read; none is all of it
    """
    steps: list[Step] = [] if adjust is None else [adjust]
    if crop is not None:
        steps.append(Resample(crop, out_width, out_height))
    else:
        steps.append(Resize(out_width, out_height))
    return steps


def run(pixels: NDArray[Any], steps: Sequence[Step]) -> NDArray[Any]:
    """The pixels after all steps; with none of them needed, the array that was given."""
    for step in steps:
        pixels = step(pixels)
    return pixels
