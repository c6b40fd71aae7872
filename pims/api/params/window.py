"""The body of a window request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pims.api.params.display import DisplayQuery, display_from_query
from pims.api.params.size import OutputSize, Side
from pims.errors import InvalidParameter, UnsupportedParameter
from pims.model.geometry import Region
from pims.model.pyramid import Pyramid, Tier

__all__ = ["WindowArea", "WindowBody"]

MAX_COORDINATE = 1 << 31
Coordinate = Annotated[int, Field(ge=0, le=MAX_COORDINATE)]
OutputSide = Annotated[float, Field(gt=0, le=1)] | Annotated[int, Field(gt=1, le=MAX_COORDINATE)]


class RegionBody(BaseModel):
    """A rectangle, or a tile by its index or coordinates, in the pixels of a stored tier."""

    model_config = ConfigDict(extra="forbid")

    left: Coordinate | None = Field(None, description="First column, from the left.")
    top: Coordinate | None = Field(None, description="First row, from the top.")
    width: Annotated[int, Field(ge=1, le=MAX_COORDINATE)] | None = None
    height: Annotated[int, Field(ge=1, le=MAX_COORDINATE)] | None = None
    ti: Coordinate | None = Field(None, description="Index of a tile: row * columns + column.")
    tx: Coordinate | None = Field(None, description="Column of a tile.")
    ty: Coordinate | None = Field(None, description="Row of a tile.")
    reference_tier_index: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None, description="Tier the numbers refer to; the best resolution by default."
    )
    tier_index_type: Literal["LEVEL", "ZOOM"] = "LEVEL"


class WindowBody(BaseModel):
    """What part of an image, how large, and how it is displayed."""

    region: RegionBody
    level: Annotated[int, Field(ge=0, le=64)] | None = None
    zoom: Annotated[int, Field(ge=0, le=64)] | None = None
    height: OutputSide | None = Field(None, description="Pixels above 1, or a ratio up to 1.")
    width: OutputSide | None = Field(None, description="Pixels above 1, or a ratio up to 1.")
    length: OutputSide | None = Field(None, description="Longer side: pixels above 1, or a ratio up to 1.")
    channels: Any = None
    z_slices: Any = None
    timepoints: Any = None
    min_intensities: Any = None
    max_intensities: Any = None
    gammas: Any = None
    colormaps: Any = None
    filters: Any = None
    threshold: Any = None
    log: Any = None
    c_reduction: Any = None
    z_reduction: Any = Field(None, description="Not in this version.")
    t_reduction: Any = Field(None, description="Not in this version.")
    bits: Any = Field(None, description="This version has AUTO only: as many as image and encoding have.")
    colorspace: Any = Field(None, description="This version has AUTO only.")
    annotations: Any = Field(None, description="Not in this version.")
    annotation_style: Any = Field(None, description="Not in this version; without effect on its own.")

    def size(self) -> OutputSize:
        return OutputSize(self.level, self.zoom, _side(self.height), _side(self.width), _side(self.length))

    def display(self) -> DisplayQuery:
        """Raises InvalidParameter, UnsupportedParameter."""
        for name in ("bits", "colorspace"):
            if getattr(self, name) not in (None, "", "AUTO"):
                raise UnsupportedParameter(name, getattr(self, name), "body")
        for name in ("annotations", "z_reduction", "t_reduction"):
            if getattr(self, name):
                raise UnsupportedParameter(name, getattr(self, name), "body")
        lists = ("channels", "min_intensities", "max_intensities", "gammas", "colormaps", "filters")
        others = ("z_slices", "timepoints", "threshold", "log", "c_reduction")
        try:
            display = display_from_query(
                {name: _as_text(name, getattr(self, name)) for name in (*lists, *others)}
            )
        except InvalidParameter as error:
            error.where = "body"
            raise
        return replace(display, where="body")

    def area(self) -> WindowArea:
        """Raises InvalidParameter when the region is neither a rectangle nor a tile."""
        region = self.region
        rectangle = (region.left, region.top, region.width, region.height)
        shapes = (rectangle, (region.ti,), (region.tx, region.ty))
        given = [shape for shape in shapes if any(value is not None for value in shape)]
        if len(given) != 1 or any(value is None for value in given[0]):
            raise InvalidParameter(
                "region", "give left, top, width and height, or ti, or tx and ty", None, "body"
            )
        return WindowArea(
            tuple(value for value in given[0] if value is not None),
            region.reference_tier_index,
            by_zoom=region.tier_index_type == "ZOOM",
        )


@dataclass(frozen=True, slots=True)
class WindowArea:
    """A rectangle (left, top, width, height) or a tile (index,) or (column, row) of a stored tier."""

    numbers: tuple[int, ...]
    tier_index: int | None
    by_zoom: bool

    def locate(self, pyramid: Pyramid) -> tuple[Tier, Region]:
        """The tier, and the rectangle in its pixels. Raises InvalidParameter when it is not inside."""
        tier = self._tier(pyramid)
        match self.numbers:
            case (left, top, width, height):
                region = Region(left, top, width, height)
                if not region.is_inside(tier.width, tier.height):
                    raise InvalidParameter(
                        "region",
                        f"must lie inside the tier, which is {tier.width} x {tier.height} px",
                        f"left={left}, top={top}, width={width}, height={height}",
                        "body",
                    )
                return tier, region
            case (index,):
                column, row = tier.position_of(index)
            case (column, row):
                pass
        if not tier.has_tile(column, row):
            raise InvalidParameter(
                "region", f"the tier has {tier.columns} x {tier.rows} tiles", list(self.numbers), "body"
            )
        return tier, tier.tile_region(column, row)

    def _tier(self, pyramid: Pyramid) -> Tier:
        if self.tier_index is None:
            return pyramid.base
        if self.tier_index > pyramid.max_level:
            raise InvalidParameter(
                "reference_tier_index", f"must be 0 to {pyramid.max_level}", self.tier_index, "body"
            )
        return (pyramid.tier_at_zoom if self.by_zoom else pyramid.tier_at_level)(self.tier_index)


def _side(value: float | None) -> Side | None:
    return None if value is None else int(value) if value > 1 else float(value)


def _as_text(name: str, value: object) -> str:
    """A value of the body as the query would write it: lists comma-separated. Raises InvalidParameter."""
    if value is None:
        return ""
    values = value if isinstance(value, list) else [value]
    if len(values) > 1000 or not all(isinstance(part, str | int | float) for part in values):
        raise InvalidParameter(name, "must be a number, a text, or a list of them", None, "body")
    return ",".join(str(part) for part in values)
