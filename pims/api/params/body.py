"""What the bodies of POST requests have in common: the size of the output, and how it is displayed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pims.api.params.display import DisplayQuery, display_from_query
from pims.api.params.size import DEFAULT_LENGTH, OutputSize, Side
from pims.api.params.tile import TileAddress
from pims.errors import InvalidParameter, UnsupportedParameter

__all__ = [
    "SIDE",
    "DisplayBody",
    "OutputSide",
    "ProcessedBody",
    "ResizedBody",
    "ThumbBody",
    "TileBody",
]

MAX_SIDE = 1 << 31
MAX_VALUES = 1000
"""Values of one list."""
MAX_INDEX = 1 << 53
"""No image has so many tiles."""

OutputSide = Annotated[float, Field(gt=0, le=1)] | Annotated[int, Field(gt=1, le=MAX_SIDE)]
TierNumber = Annotated[int, Field(ge=0, le=999)]
Index = Annotated[int, Field(ge=0, le=MAX_INDEX)]

SIDE = "pixels above 1, or a ratio of the full size up to 1"


class DisplayBody(BaseModel):
    """How an image is displayed: as in a query, but lists may be lists."""

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

    def display(self) -> DisplayQuery:
        """Raises InvalidParameter, UnsupportedParameter."""
        for name in ("z_reduction", "t_reduction"):
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


class ProcessedBody(DisplayBody):
    """An output for programs: of any size, with as many bits as image and encoding have."""

    level: Annotated[int, Field(ge=0, le=64)] | None = None
    zoom: Annotated[int, Field(ge=0, le=64)] | None = None
    height: OutputSide | None = Field(None, description=f"Height: {SIDE}.")
    width: OutputSide | None = Field(None, description=f"Width: {SIDE}.")
    length: OutputSide | None = Field(None, description=f"Longer side: {SIDE}.")
    bits: Any = Field(None, description="This version has AUTO only: as many as image and encoding have.")
    colorspace: Any = Field(None, description="This version has AUTO only.")

    def size(self) -> OutputSize:
        return OutputSize(self.level, self.zoom, _side(self.height), _side(self.width), _side(self.length))

    def display(self) -> DisplayQuery:
        """Raises InvalidParameter, UnsupportedParameter."""
        for name in ("bits", "colorspace"):
            if getattr(self, name) not in (None, "", "AUTO"):
                raise UnsupportedParameter(name, getattr(self, name), "body")
        return super().display()


class ResizedBody(ProcessedBody):
    """The whole image for programs."""


class ThumbBody(DisplayBody):
    """The whole image for people."""

    height: OutputSide | None = Field(None, description=f"Height: {SIDE}; wins over width and length.")
    width: OutputSide | None = Field(None, description=f"Width: {SIDE}; wins over length.")
    length: OutputSide | None = Field(None, description=f"Longer side: {SIDE}; {DEFAULT_LENGTH} by default.")
    use_precomputed: bool = Field(True, description="Without effect: the pyramid is as fast.")

    def size(self) -> OutputSize:
        length = DEFAULT_LENGTH if self.length is None else _side(self.length)
        return OutputSize(height=_side(self.height), width=_side(self.width), length=length)


class TilePlace(BaseModel):
    """A tile: its tier by zoom or level, and its index or its column and row."""

    model_config = ConfigDict(extra="forbid")

    zoom: TierNumber | None = Field(None, description="0 is the worst resolution.")
    level: TierNumber | None = Field(None, description="0 is the best resolution.")
    ti: Index | None = Field(None, description="row * columns + column")
    tx: Index | None = None
    ty: Index | None = None


class TileBody(DisplayBody):
    """One tile, and how it is displayed."""

    tile: TilePlace

    def address(self, *, normalized: bool) -> TileAddress:
        """Raises InvalidParameter when the place is not exactly one tile."""
        tile = self.tile
        coordinates = tile.tx is not None and tile.ty is not None
        half = (tile.tx is None) != (tile.ty is None)
        if (tile.zoom is None) == (tile.level is None) or (tile.ti is None) != coordinates or half:
            raise InvalidParameter("tile", "give zoom or level, and ti or both tx and ty", None, "body")
        number = tile.level if tile.zoom is None else tile.zoom
        assert number is not None
        return TileAddress(
            normalized, tile.zoom is not None, number, tile.ti, tile.tx or 0, tile.ty or 0, "body"
        )


def _side(value: float | None) -> Side | None:
    return None if value is None else int(value) if value > 1 else float(value)


def _as_text(name: str, value: object) -> str:
    """A value of the body as the query would write it: lists comma-separated. Raises InvalidParameter."""
    if value is None:
        return ""
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_VALUES or not all(isinstance(part, str | int | float) for part in values):
        raise InvalidParameter(name, "must be a number, a text, or a list of them", None, "body")
    return ",".join(str(part) for part in values)
