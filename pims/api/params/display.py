"""The query parameters that say how an image is displayed.

Every list is comma-separated inside one parameter; of a parameter that is given twice, the last counts; an
empty one counts as not given. What this version does not implement is refused, unless its value asks for
what happens anyway: that is what `check_supported` decides once the image is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, Query

from pims.errors import InvalidParameter, UnsupportedParameter
from pims.model.metadata import ImageMetadata
from pims.processing.request import DisplaySettings, parse_gammas, parse_intensities

__all__ = ["DisplayDependency", "DisplayQuery", "display_from_query", "display_parameters"]

NAMES = (
    "channels",
    "z_slices",
    "timepoints",
    "min_intensities",
    "max_intensities",
    "gammas",
    "colormaps",
    "filters",
    "threshold",
    "log",
    "c_reduction",
)
MAX_LENGTH = 4096
"""Characters of one parameter."""
REDUCTIONS = frozenset({"ADD", "MIN", "MAX", "MED", "AVG"})
TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
INDEX = re.compile(r"[0-9]{1,9}", re.ASCII)
RANGE = re.compile(r"([0-9]{0,9})\s*:\s*([0-9]{0,9})", re.ASCII)

NO_SETTINGS = DisplaySettings()


@dataclass(frozen=True, slots=True)
class DisplayQuery:
    """What a query says of the display, and the planes it names: those as text, until the image is known."""

    settings: DisplaySettings = NO_SETTINGS
    channels: str = ""
    z_slices: str = ""
    timepoints: str = ""
    where: str = "query"
    """Where it was asked, for the error."""

    def check_supported(self, metadata: ImageMetadata) -> None:
        """Raises UnsupportedParameter when planes other than those shown by default are named.

        All channels, focal plane depth // 2 and time point 0 are shown. Raises InvalidParameter for what
        the image does not have.
        """
        try:
            self._check_supported(metadata)
        except InvalidParameter as error:
            error.where = self.where
            raise

    def _check_supported(self, metadata: ImageMetadata) -> None:
        if self.channels and _channels(self.channels, metadata.n_channels) != metadata.n_channels:
            raise UnsupportedParameter("channels", self.channels)
        _check_plane("z_slices", self.z_slices, metadata.depth, metadata.depth // 2)
        _check_plane("timepoints", self.timepoints, metadata.duration, 0)


NOTHING_ASKED = DisplayQuery()


def display_from_query(query: Mapping[str, str]) -> DisplayQuery:
    """The display parameters of a decoded query; other parameters are not looked at.

    Raises InvalidParameter, UnsupportedParameter.
    """
    values = tuple([query.get(name, "") for name in NAMES])
    if not any(values):
        return NOTHING_ASKED
    for name, value in zip(NAMES, values, strict=True):
        if len(value) > MAX_LENGTH:
            raise InvalidParameter(name, f"must not be longer than {MAX_LENGTH} characters", value)
    return _parse(values)


async def display_parameters(
    channels: Annotated[str, Query(description="Channels shown: indices and ranges such as `0,2:5`.")] = "",
    z_slices: Annotated[str, Query(description="Focal plane; the middle one by default.")] = "",
    timepoints: Annotated[str, Query(description="Time point; the first by default.")] = "",
    min_intensities: Annotated[
        str,
        Query(
            description="Intensities shown black: one for all channels or one per channel; numbers such as "
            "`12`, `-0.5` or `1e3`, AUTO_IMAGE, AUTO_PLANE, STRETCH_IMAGE or STRETCH_PLANE. For images of "
            "integers a decimal is rounded."
        ),
    ] = "",
    max_intensities: Annotated[
        str, Query(description="Intensities shown at full brightness, as min_intensities.")
    ] = "",
    gammas: Annotated[
        str,
        Query(description="Exponents in [0, 10], one for all channels or one per channel; above 1 darkens."),
    ] = "",
    colormaps: Annotated[str, Query(description="Colour maps; this version has DEFAULT only.")] = "",
    filters: Annotated[str, Query(description="Filters; this version has none.")] = "",
    threshold: Annotated[str, Query(description="Threshold in [0, 1]; this version has 0 (off) only.")] = "",
    log: Annotated[str, Query(description="Logarithmic display; this version has false only.")] = "",
    c_reduction: Annotated[
        str, Query(description="How channels are merged; this version has ADD only.")
    ] = "",
) -> DisplayQuery:
    """The dependency that documents the parameters; `display_from_query` gives them their meaning."""
    given = locals()
    return display_from_query({name: given[name] for name in NAMES})


DisplayDependency = Annotated[DisplayQuery, Depends(display_parameters)]


@lru_cache(maxsize=512)
def _parse(values: tuple[str, ...]) -> DisplayQuery:
    given = {name: value.strip() for name, value in zip(NAMES, values, strict=True)}
    _check_colormaps(given["colormaps"])
    if given["filters"]:
        raise UnsupportedParameter("filters", given["filters"])
    _check_threshold(given["threshold"])
    _check_log(given["log"])
    _check_reduction(given["c_reduction"])
    settings = DisplaySettings(
        min_intensities=parse_intensities("min_intensities", given["min_intensities"]),
        max_intensities=parse_intensities("max_intensities", given["max_intensities"]),
        gammas=parse_gammas(given["gammas"]),
    )
    return DisplayQuery(settings, given["channels"], given["z_slices"], given["timepoints"])


def _check_colormaps(text: str) -> None:
    if text and any(name.strip() != "DEFAULT" for name in text.split(",")):
        raise UnsupportedParameter("colormaps", text)


def _check_threshold(text: str) -> None:
    if not text:
        return
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise InvalidParameter("threshold", "must be a number between 0 and 1", text)
    if threshold:
        raise UnsupportedParameter("threshold", text)


def _check_log(text: str) -> None:
    if text.lower() in TRUE:
        raise UnsupportedParameter("log", text)
    if text and text.lower() not in FALSE:
        raise InvalidParameter("log", "must be true or false", text)


def _check_reduction(text: str) -> None:
    if text and text not in REDUCTIONS:
        raise InvalidParameter("c_reduction", f"must be one of {', '.join(sorted(REDUCTIONS))}", text)
    if text not in ("", "ADD"):
        raise UnsupportedParameter("c_reduction", text)


def _check_plane(name: str, text: str, count: int, default: int) -> None:
    if not text:
        return
    if not INDEX.fullmatch(text) or int(text) >= count:
        raise InvalidParameter(name, f"must be one whole number from 0 to {count - 1}", text)
    if int(text) != default:
        raise UnsupportedParameter(name, text)


def _channels(text: str, count: int) -> int:
    """How many of `count` channels are named. Those the image does not have are left out."""
    named = bytearray(count)
    for token in (token.strip() for token in text.split(",")):
        bounds = RANGE.fullmatch(token)
        if bounds is not None:
            first, end = int(bounds[1] or 0), int(bounds[2] or count)
            first, end = min(first, end, count), min(max(first, end), count)
        elif INDEX.fullmatch(token):
            first, end = min(int(token), count), min(int(token) + 1, count)
        else:
            raise InvalidParameter("channels", "must be whole numbers and ranges such as 0,2:5", text)
        named[first:end] = b"\1" * (end - first)
    if not any(named):
        raise InvalidParameter("channels", f"the image has the channels 0 to {count - 1}", text)
    return sum(named)
