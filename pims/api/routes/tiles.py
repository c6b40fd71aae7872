"""Tiles: of the normalized pyramid, and as they are stored."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from pims.api.image_query import ClientHeaders, tile_query, whole
from pims.api.image_response import IMAGE_RESPONSES, Extension, image_response
from pims.api.params.body import TileBody
from pims.api.params.display import DisplayDependency, DisplayQuery
from pims.api.params.filepath import Filepath
from pims.api.params.tile import TileAddress

__all__ = ["router"]

router = APIRouter(tags=["Tiles"], responses=IMAGE_RESPONSES)

MAX_INDEX = 1 << 53
"""No image has so many tiles."""

Reference = Annotated[
    Literal["zoom", "level"],
    Path(description="How the tier is counted: zoom 0 is the worst resolution, level 0 the best."),
]
Tier = Annotated[int, Path(ge=0, le=999, description="Zoom or level of the tier.")]
Index = Annotated[int, Path(ge=0, le=MAX_INDEX, description="Index of the tile: row * columns + column.")]
Column = Annotated[int, Path(ge=0, le=MAX_INDEX, description="Column of the tile.")]
Row = Annotated[int, Path(ge=0, le=MAX_INDEX, description="Row of the tile.")]

INDEX = "/image/{filepath:path}/%s/{reference}/{tier}/ti/{ti}"
COORDINATES = "/image/{filepath:path}/%s/{reference}/{tier}/tx/{tx}/ty/{ty}"


@router.get(INDEX % "normalized-tile", summary="Normalized tile by index")
@router.get(f"{INDEX % 'normalized-tile'}.{{extension}}", include_in_schema=False)
async def normalized_tile_by_index(
    request: Request,
    filepath: Filepath,
    reference: Reference,
    tier: Tier,
    ti: Index,
    display: DisplayDependency,
    extension: Extension,
) -> Response:
    """A tile of 256 x 256 pixels of the pyramid that halves, rounded up; smaller at the right and bottom."""
    address = TileAddress(True, reference == "zoom", tier, ti)
    return await _tile(request, filepath, address, display, extension)


@router.get(COORDINATES % "normalized-tile", summary="Normalized tile")
@router.get(f"{COORDINATES % 'normalized-tile'}.{{extension}}", include_in_schema=False)
async def normalized_tile(
    request: Request,
    filepath: Filepath,
    reference: Reference,
    tier: Tier,
    tx: Column,
    ty: Row,
    display: DisplayDependency,
    extension: Extension,
) -> Response:
    """As by index, by column and row: what viewers ask."""
    address = TileAddress(True, reference == "zoom", tier, None, tx, ty)
    return await _tile(request, filepath, address, display, extension)


@router.get(INDEX % "tile", summary="Stored tile by index")
@router.get(f"{INDEX % 'tile'}.{{extension}}", include_in_schema=False)
async def tile_by_index(
    request: Request,
    filepath: Filepath,
    reference: Reference,
    tier: Tier,
    ti: Index,
    display: DisplayDependency,
    extension: Extension,
) -> Response:
    """A tile of the pyramid that is stored, in the size it is stored; smaller at the right and bottom."""
    return await _tile(
        request, filepath, TileAddress(False, reference == "zoom", tier, ti), display, extension
    )


@router.get(COORDINATES % "tile", summary="Stored tile")
@router.get(f"{COORDINATES % 'tile'}.{{extension}}", include_in_schema=False)
async def tile(
    request: Request,
    filepath: Filepath,
    reference: Reference,
    tier: Tier,
    tx: Column,
    ty: Row,
    display: DisplayDependency,
    extension: Extension,
) -> Response:
    """As by index, by column and row."""
    address = TileAddress(False, reference == "zoom", tier, None, tx, ty)
    return await _tile(request, filepath, address, display, extension)


@router.post("/image/{filepath:path}/normalized-tile.{extension}", include_in_schema=False)
@router.post("/image/{filepath:path}/normalized-tile", summary="Normalized tile, asked by a body")
async def posted_normalized_tile(
    request: Request, filepath: Filepath, body: TileBody, extension: Extension
) -> Response:
    """As by GET, for parameters too long for a URL."""
    return await _posted_tile(request, filepath, body.address(normalized=True), body.display(), extension)


@router.post("/image/{filepath:path}/tile.{extension}", include_in_schema=False)
@router.post("/image/{filepath:path}/tile", summary="Stored tile, asked by a body")
async def posted_tile(request: Request, filepath: Filepath, body: TileBody, extension: Extension) -> Response:
    """As by GET, for parameters too long for a URL."""
    return await _posted_tile(request, filepath, body.address(normalized=False), body.display(), extension)


async def _tile(
    request: Request, filepath: str, address: TileAddress, display: DisplayQuery, extension: str | None
) -> Response:
    headers = ClientHeaders.of(request.scope)
    return await image_response(request, tile_query(headers, filepath, address, display, extension))


async def _posted_tile(
    request: Request, filepath: str, address: TileAddress, display: DisplayQuery, extension: str | None
) -> Response:
    headers = ClientHeaders.of(request.scope)
    query = tile_query(headers, filepath, address, display, extension)
    return await image_response(request, whole(query))
