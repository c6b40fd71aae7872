"""The body of a window request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pims.api.params.body import ProcessedBody
from pims.api.params.display import DisplayQuery
from pims.errors import InvalidParameter, UnsupportedParameter
from pims.model.geometry import Region
from pims.model.pyramid import Pyramid, Tier

__all__ = ["WindowArea", "WindowBody"]

MAX_COORDINATE = 1 << 31
Coordinate = Annotated[int, Field(ge=0, le=MAX_COORDINATE)]


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


class WindowBody(ProcessedBody):
    """What part of an image, how large, and how it is displayed."""

    region: RegionBody
    annotations: Any = Field(None, description="Not in this version.")
    annotation_style: Any = Field(None, description="Not in this version; without effect on its own.")

    def display(self) -> DisplayQuery:
        """Raises InvalidParameter, UnsupportedParameter."""
        if self.annotations:
            raise UnsupportedParameter("annotations", self.annotations, "body")
        return super().display()

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
