"""How large an output is asked to be, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pims.errors import InvalidParameter, OutputTooLarge
from pims.model.geometry import Region
from pims.model.pyramid import Pyramid, Tier

__all__ = ["DEFAULT_LENGTH", "OutputSize", "SizeLimits", "SizeSafety", "parse_side"]

DEFAULT_LENGTH = 256
"""Pixels of the longer side when nothing is asked."""
Side = int | float
"""Pixels (an integer above 1), or a part of the full resolution (a number above 0, up to 1)."""


class SizeSafety(StrEnum):
    """What happens to an output larger than the limit; header X-Image-Size-Safety."""

    SAFE_REJECT = "SAFE_REJECT"
    SAFE_RESIZE = "SAFE_RESIZE"
    UNSAFE = "UNSAFE"


@dataclass(frozen=True, slots=True)
class OutputSize:
    """Size of an output; what comes first here wins. The aspect ratio is always kept."""

    level: int | None = None
    zoom: int | None = None
    height: Side | None = None
    width: Side | None = None
    length: Side | None = None
    """The longer side."""

    @classmethod
    def of_query(
        cls, height: str, width: str, length: str, level: int | None = None, zoom: int | None = None
    ) -> OutputSize:
        """As texts of a query say; empty ones say nothing, and the longer side is DEFAULT_LENGTH by default.

        Raises InvalidParameter.
        """
        return cls(
            level,
            zoom,
            parse_side("height", height) if height else None,
            parse_side("width", width) if width else None,
            parse_side("length", length) if length else DEFAULT_LENGTH,
        )

    def resolve(self, region: Region, tier: Tier, pyramid: Pyramid) -> tuple[int, int]:
        """(width, height) in pixels for a region given in pixels of `tier`; at least 1 x 1.

        Raises InvalidParameter when nothing says the size, or the pyramid has no such tier.
        """
        width, height = region.width * tier.factor_x, region.height * tier.factor_y
        if self.level is not None or self.zoom is not None:
            target = self._target(pyramid)
            return max(1, round(width / target.factor_x)), max(1, round(height / target.factor_y))
        if self.height is not None:
            out_height = _pixels(self.height, height)
            return max(1, round(out_height / height * width)), out_height
        if self.width is not None:
            out_width = _pixels(self.width, width)
            return out_width, max(1, round(out_width / width * height))
        if self.length is None:
            raise InvalidParameter("length", "give length, width, height, zoom or level")
        if width > height:
            out_width = _pixels(self.length, width)
            return out_width, max(1, round(out_width / width * height))
        out_height = _pixels(self.length, height)
        return max(1, round(out_height / height * width)), out_height

    def _target(self, pyramid: Pyramid) -> Tier:
        name, index = ("level", self.level) if self.level is not None else ("zoom", self.zoom)
        assert index is not None
        try:
            return pyramid.tier_at_level(index) if name == "level" else pyramid.tier_at_zoom(index)
        except IndexError:
            raise InvalidParameter(name, f"this image has {name}s 0 to {pyramid.max_level}", index) from None


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The longest side the server gives."""

    limit: int
    ceiling: int
    """For requests that say UNSAFE."""
    default: SizeSafety

    def apply(self, width: int, height: int, safety: SizeSafety | None) -> tuple[int, int, dict[str, str]]:
        """The size to give, and the headers that tell when it is not the one asked for.

        Raises OutputTooLarge.
        """
        safety = safety or self.default
        longest = max(width, height)
        limit = self.ceiling if safety is SizeSafety.UNSAFE else self.limit
        if longest <= limit:
            return width, height, {}
        if safety is not SizeSafety.SAFE_RESIZE:
            raise OutputTooLarge(width, height, limit)
        ratio = limit / longest
        safe_width, safe_height = max(1, round(width * ratio)), max(1, round(height * ratio))
        told = (
            f"request_width={width},request_height={height},"
            f"safe_width={safe_width},safe_height={safe_height},ratio={safe_width / width}"
        )
        return safe_width, safe_height, {"x-image-size-limit": told}


def parse_side(name: str, text: str) -> Side:
    """A side from the text of a query: `512`, `0.25`; `1` is the full size. Raises InvalidParameter."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9 or (value > 1 and value != int(value)):
        raise InvalidParameter(
            name, "must be a whole number of pixels above 1, or a ratio above 0 up to 1", text
        )
    return int(value) if value > 1 else value


def _pixels(side: Side, full: float) -> int:
    return max(1, round(side * full)) if side <= 1 else int(side)
