"""What a caller asked about the display of intensities, resolved against the image and validated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

from pims.errors import InvalidParameter
from pims.model.metadata import ImageMetadata

__all__ = [
    "AutoBound",
    "ChannelDisplay",
    "DisplaySettings",
    "Intensity",
    "parse_gammas",
    "parse_intensities",
    "resolve_display",
]

MAX_GAMMA = 10.0
MAX_ENTRIES = 1000
"""Entries of one list; more is refused before anything is parsed."""
MAX_QUOTED = 64
"""Characters of a wrong value that an error repeats."""

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")

T = TypeVar("T")
Number: TypeAlias = int | float
Bounds: TypeAlias = Sequence[tuple[Number, Number]]
"""(lowest, highest) intensity of every apparent channel."""


class AutoBound(StrEnum):
    """A bound the server chooses.

    AUTO_* is the full range for uint8, which is 0 to 2**significant_bits - 1, and the bounds of the histogram
    for all other types; STRETCH_* is always the bounds of the histogram. The histogram is of the whole image:
    *_PLANE gives the same as *_IMAGE. A channel in which nothing but 0 was seen is black.
    """

    AUTO_IMAGE = "AUTO_IMAGE"
    AUTO_PLANE = "AUTO_PLANE"
    STRETCH_IMAGE = "STRETCH_IMAGE"
    STRETCH_PLANE = "STRETCH_PLANE"


STRETCHED = frozenset({AutoBound.STRETCH_IMAGE, AutoBound.STRETCH_PLANE})
KEPT_TYPES = frozenset({"uint8", "uint16"})
"""What a window can hold as it is stored."""

Intensity: TypeAlias = Number | AutoBound


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """As asked: each list has no entry, one for all apparent channels, or one for each."""

    min_intensities: tuple[Intensity, ...] = ()
    max_intensities: tuple[Intensity, ...] = ()
    gammas: tuple[float, ...] = ()

    @property
    def needs_histogram(self) -> bool:
        """Whether some bound is that of the histogram whatever the image."""
        return any(bound in STRETCHED for bound in (*self.min_intensities, *self.max_intensities))


@dataclass(frozen=True, slots=True)
class ChannelDisplay:
    """How one apparent channel is shown: minimum is black, maximum is full, gamma > 1 darkens between."""

    minimum: Number
    maximum: Number
    gamma: float = 1.0


def resolve_display(
    asked: DisplaySettings,
    metadata: ImageMetadata,
    bounds: Callable[[], Bounds],
    *,
    default: AutoBound | None,
) -> tuple[ChannelDisplay, ...]:
    """The display of every apparent channel.

    For images of integers, what was asked is rounded to a whole number and kept within what the significant
    bits can hold; for images of real numbers it counts as it is.

    Parameters
    ----------
    bounds : (lowest, highest) intensity per apparent channel, from the stored histogram; called at most
        once, and only when something depends on it
    default : the bound of what was not asked; none is for processing: the full range of unsigned integers of
        at most 16 significant bits, so that they can be given as they are stored, and the bounds of the
        histogram for all others

    Raises
    ------
    InvalidParameter : a list of the wrong length, a gamma out of [0, 10], a minimum above its maximum
    """
    count = metadata.n_channels
    minima = _per_channel("min_intensities", asked.min_intensities, count, default)
    maxima = _per_channel("max_intensities", asked.max_intensities, count, default)
    gammas = [_checked_gamma(gamma) for gamma in _per_channel("gammas", asked.gammas, count, 1.0)]
    needed = any(_needs_histogram(value, metadata) for value in (*minima, *maxima))
    ranges = bounds() if needed else [(0, 0)] * count
    resolved = []
    for low, high, gamma, seen in zip(minima, maxima, gammas, ranges, strict=True):
        automatic = (0, 1) if seen == (0, 0) else seen
        minimum = _resolve(low, 0, automatic, metadata)
        maximum = _resolve(high, 1, automatic, metadata)
        if minimum > maximum:
            name = "min_intensities" if asked.min_intensities else "max_intensities"
            raise InvalidParameter(
                name,
                f"A minimum intensity must not be above the maximum: {minimum} is above {maximum}.",
                minimum if asked.min_intensities else maximum,
            )
        resolved.append(ChannelDisplay(minimum, maximum, gamma))
    return tuple(resolved)


def parse_intensities(name: str, text: str) -> tuple[Intensity, ...]:
    """The list in a query: "10,20", "-0.5,1e3", "AUTO_IMAGE", "12,STRETCH_PLANE". No text is an empty list.

    What is written without point and exponent is an int. Raises InvalidParameter `name`.
    """
    return tuple(_parse_intensity(name, token) for token in _split(name, text))


def parse_gammas(text: str) -> tuple[float, ...]:
    """The list in a query: "0.8,1,1.2". Empty text is an empty list. Raises InvalidParameter gammas."""
    return tuple(_parse_gamma(token) for token in _split("gammas", text))


def _split(name: str, text: str) -> list[str]:
    if text.count(",") >= MAX_ENTRIES:
        raise InvalidParameter(
            name, f"At most {MAX_ENTRIES} comma-separated values are taken.", text[:MAX_QUOTED]
        )
    return [token.strip(" ") for token in text.split(",")] if text.strip(" ") else []


def _parse_intensity(name: str, token: str) -> Intensity:
    if INTEGER.fullmatch(token):
        return int(token)
    if NUMBER.fullmatch(token) and math.isfinite(number := float(token)):
        return number
    try:
        return AutoBound(token)
    except ValueError as error:
        choices = ", ".join(AutoBound)
        raise InvalidParameter(
            name, f"Each value must be a number or one of {choices}.", token[:MAX_QUOTED]
        ) from error


def _parse_gamma(token: str) -> float:
    if not NUMBER.fullmatch(token):
        raise InvalidParameter("gammas", "Each value must be a number.", token[:MAX_QUOTED])
    return _checked_gamma(float(token))


def _checked_gamma(gamma: float) -> float:
    if not (math.isfinite(gamma) and 0 <= gamma <= MAX_GAMMA):
        raise InvalidParameter("gammas", f"Each value must be between 0 and {MAX_GAMMA:g}.", str(gamma))
    return float(gamma)


def _per_channel(name: str, values: Sequence[T], count: int, default: T) -> Sequence[T]:
    if not values:
        return [default] * count
    if len(values) == 1:
        return [values[0]] * count
    if len(values) != count:
        wanted = f"1 value or {count}, one per channel" if count > 1 else "1 value: the image has 1 channel"
        raise InvalidParameter(name, f"This image takes {wanted}; {len(values)} were given.", len(values))
    return values


def _needs_histogram(value: Intensity | None, metadata: ImageMetadata) -> bool:
    """Whether a bound is that of the histogram; none is the default of processing."""
    if value is None:
        return metadata.pixel_type not in KEPT_TYPES
    return isinstance(value, AutoBound) and (value in STRETCHED or metadata.pixel_type != "uint8")


def _resolve(
    value: Intensity | None, end: int, automatic: tuple[Number, Number], metadata: ImageMetadata
) -> Number:
    """One bound as a number: `end` is 0 for the minimum and 1 for the maximum."""
    full = metadata.full_range
    if value is None or isinstance(value, AutoBound):
        number = automatic[end] if full is None or _needs_histogram(value, metadata) else full[end]
    else:
        number = value
    return float(number) if full is None else min(max(round(number), full[0]), full[1])
