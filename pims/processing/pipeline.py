"""The steps between the pixels as stored and the pixels as shown, in one list.

Later kinds of steps and their place: reductions over z, t and channels and colormaps come with the
intensities, filters after them, drawing last, on pixels of the final size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from numpy.typing import NDArray

from pims.model.metadata import ImageMetadata
from pims.model.shown import PIXEL_TYPES, check_shown
from pims.processing.lut import apply_luts, intensity_lut, is_identity
from pims.processing.request import ChannelDisplay
from pims.processing.resize import resample, resize

__all__ = ["AdjustIntensities", "Resample", "Resize", "Step", "is_neutral", "plan", "run"]


class Step(Protocol):
    """One transformation of pixels (height, width, samples); what it is given is left as it is."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class AdjustIntensities:
    """Contrast, gamma and the number of bits, in one look-up."""

    source_bits: int
    channels: tuple[ChannelDisplay, ...]
    """One per sample."""
    output_bits: int

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        return apply_luts(pixels, _luts(self.source_bits, self.channels, self.output_bits))


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


@lru_cache(maxsize=64)
def _luts(
    source_bits: int, channels: tuple[ChannelDisplay, ...], output_bits: int
) -> tuple[NDArray[Any], ...]:
    """One table per channel; a viewer asks many tiles with the same ones."""
    return tuple(intensity_lut(source_bits, channel, output_bits) for channel in channels)


def plan(
    metadata: ImageMetadata,
    channels: tuple[ChannelDisplay, ...],
    *,
    crop: tuple[float, float, float, float] | None,
    out_width: int,
    out_height: int,
    output_bits: int,
) -> list[Step]:
    """The steps that one plane as read needs to be shown.

    Parameters
    ----------
    channels : one per sample of the plane read
    crop : (left, top, width, height) in pixels of the array that was read; none is all of it

    Raises
    ------
    UnsupportedFeature : a type of pixels or a number of samples that this version can't show
    """
    check_shown(metadata)
    if len(channels) != metadata.n_samples:
        raise ValueError(f"{len(channels)} channels for a plane of {metadata.n_samples} samples")
    steps: list[Step] = []
    if not is_neutral(metadata, channels, output_bits):
        steps.append(AdjustIntensities(metadata.bits, channels, output_bits))
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


def is_neutral(metadata: ImageMetadata, channels: tuple[ChannelDisplay, ...], output_bits: int) -> bool:
    """Whether no pixel value would change, so that stored bytes may be passed through."""
    return metadata.pixel_type in PIXEL_TYPES and all(
        is_identity(metadata.bits, channel, output_bits) for channel in channels
    )
