"""Which image type a client gets."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from pims.api.errors import NotAcceptable

__all__ = ["EXTENSIONS", "Preference", "negotiate"]

EXTENSIONS = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
"""The type of every extension a path may end with."""

MAX_ACCEPT = 1024
"""Characters of an Accept header that are looked at."""
QUALITY = re.compile(r"(?:0(?:\.\d*)?|1(?:\.0*)?|\.\d+)", re.ASCII)


class Preference(Enum):
    """What the server gives first among types the client named with the same quality."""

    VISUALISATION = ("image/webp", "image/jpg", "image/jpeg", "image/png", "image/apng")
    """For people to look at."""
    PROCESSING = ("image/png", "image/apng", "image/jpg", "image/jpeg", "image/webp")
    """For programs to compute with."""

    @property
    def without_choice(self) -> tuple[str, ...]:
        """The order when the client did not name a type.

        For looking, image/jpeg comes first: it is the type stored tiles have, and the cheapest to make.
        """
        return ("image/jpeg", "image/png", "image/webp") if self is Preference.VISUALISATION else self.value


def negotiate(extension: str | None, accept: str | None, preference: Preference) -> str:
    """The media type of the answer.

    Parameters
    ----------
    extension : of the path, without the dot; it wins over the header
    accept : the Accept header (RFC 9110, section 12.5.1); none and empty mean `*/*`

    Among what the client accepts with the highest quality, types it named come before those that only a
    wildcard covers, then the server's preference decides: a browser that names image/webp gets it. The
    answer is the name the client used (image/jpg stays image/jpg). Elements that can't be understood are
    left out. Answers to requests without extension depend on Accept: send `Vary: Accept`.

    Raises
    ------
    NotAcceptable
    """
    if accept is not None and len(accept) > MAX_ACCEPT:
        accept = accept[:MAX_ACCEPT].rpartition(",")[0]
    return _negotiate(extension, accept, preference)


@lru_cache(maxsize=512)
def _negotiate(extension: str | None, accept: str | None, preference: Preference) -> str:
    if extension is not None:
        if extension not in EXTENSIONS:
            raise NotAcceptable(accept or "", preference.value)
        return EXTENSIONS[extension]
    if accept is None or not accept.strip(" \t,"):
        return preference.without_choice[0]
    qualities = _qualities(accept)
    best: tuple[float, int, int] | None = None
    chosen = ""
    for media_type in preference.value:
        rank = _rank(media_type, qualities, preference)
        if rank[0] > 0 and (best is None or rank > best):
            best, chosen = rank, media_type
    if best is None:
        raise NotAcceptable(accept, preference.value)
    return chosen


def _rank(media_type: str, qualities: dict[str, float], preference: Preference) -> tuple[float, int, int]:
    """(quality, how specifically it was named, server preference), each the larger the better."""
    for specificity, media_range in ((2, media_type), (1, "image/*"), (0, "*/*")):
        if media_range in qualities:
            order = preference.value if specificity == 2 else preference.without_choice
            place = order.index(media_type) if media_type in order else len(order)
            return qualities[media_range], specificity, -place
    return 0.0, -1, 0


def _qualities(accept: str) -> dict[str, float]:
    """Quality by media range, in lower case. A range that comes twice keeps its highest quality."""
    qualities: dict[str, float] = {}
    for element in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in element.split(";"))
        media_range = "*/*" if media_range == "*" else media_range
        quality = _quality(parameters)
        if media_range and quality is not None:
            qualities[media_range] = max(quality, qualities.get(media_range, 0.0))
    return qualities


def _quality(parameters: list[str]) -> float | None:
    """The weight among the parameters, 1 without one, none when it is malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if QUALITY.fullmatch(value.strip()) else None
    return 1.0
