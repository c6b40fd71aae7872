"""Which tile of which pyramid a path names."""

from __future__ import annotations

from dataclasses import dataclass

from pims.errors import InvalidParameter
from pims.model.pyramid import Pyramid

__all__ = ["TileAddress"]


@dataclass(frozen=True, slots=True)
class TileAddress:
    """A tile as a client names it: a zoom or a level, and an index or coordinates."""

    normalized: bool
    by_zoom: bool
    tier: int
    """The zoom, or the level."""
    index: int | None = None
    column: int = 0
    """tx, when there is no index."""
    row: int = 0
    """ty, when there is no index."""
    where: str = "path"
    """Where it was asked, for the error."""

    def locate(self, pyramid: Pyramid) -> tuple[int, int, int]:
        """(level, column, row). Raises InvalidParameter when the pyramid has no such tile."""
        if not 0 <= self.tier <= pyramid.max_level:
            name = "zoom" if self.by_zoom else "level"
            raise InvalidParameter(
                name, f"this image has {name}s 0 to {pyramid.max_level}", self.tier, self.where
            )
        level = pyramid.max_level - self.tier if self.by_zoom else self.tier
        tier = pyramid.tiers[level]
        if self.index is None:
            column, row = self.column, self.row
            if not 0 <= column < tier.columns:
                reason = f"this tier has columns 0 to {tier.columns - 1}"
                raise InvalidParameter("tx", reason, column, self.where)
            if not 0 <= row < tier.rows:
                raise InvalidParameter("ty", f"this tier has rows 0 to {tier.rows - 1}", row, self.where)
            return level, column, row
        if not 0 <= self.index < tier.tile_count:
            raise InvalidParameter(
                "ti", f"this tier has tiles 0 to {tier.tile_count - 1}", self.index, self.where
            )
        return level, *tier.position_of(self.index)
