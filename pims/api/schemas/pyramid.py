"""Pyramids and their tiers, as clients see them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from pims.model.pyramid import Pyramid, Tier

__all__ = ["PyramidInfo", "TierInfo"]


class TierInfo(BaseModel):
    """One resolution of a pyramid."""

    zoom: int = Field(description="0 is the worst resolution.")
    level: int = Field(description="0 is the best resolution.")
    width: int
    height: int
    tile_width: int
    tile_height: int
    downsampling_factor: float = Field(description="Mean of the horizontal and vertical factor to level 0.")
    n_tiles: int
    n_tx: int = Field(description="Tiles in a row.")
    n_ty: int = Field(description="Tiles in a column.")

    @classmethod
    def of(cls, tier: Tier, zoom: int) -> TierInfo:
        return cls(
            zoom=zoom,
            level=tier.level,
            width=tier.width,
            height=tier.height,
            tile_width=tier.tile_width,
            tile_height=tier.tile_height,
            downsampling_factor=tier.factor,
            n_tiles=tier.tile_count,
            n_tx=tier.columns,
            n_ty=tier.rows,
        )


class PyramidInfo(BaseModel):
    """The tiers, level 0 first."""

    n_tiers: int
    tiers: list[TierInfo]

    @classmethod
    def of(cls, pyramid: Pyramid) -> PyramidInfo:
        tiers = [TierInfo.of(tier, pyramid.zoom_of(tier.level)) for tier in pyramid.tiers]
        return cls(n_tiers=len(tiers), tiers=tiers)
