"""Thumbnails: the whole image, for human eyes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pims.api.image_query import ClientHeaders, thumb_query, whole
from pims.api.image_response import IMAGE_RESPONSES, Extension, image_response
from pims.api.params.body import SIDE, ThumbBody
from pims.api.params.display import DisplayDependency
from pims.api.params.filepath import Filepath
from pims.api.params.size import DEFAULT_LENGTH, OutputSize
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Thumbnails"], responses=IMAGE_RESPONSES)


@router.get("/image/{filepath:path}/thumb.{extension}", include_in_schema=False)
@router.get("/image/{filepath:path}/thumb", summary="Thumbnail")
async def thumb(
    request: Request,
    services: ServicesDependency,
    filepath: Filepath,
    display: DisplayDependency,
    extension: Extension,
    height: Annotated[str, Query(description=f"Height: {SIDE}; wins over width and length.")] = "",
    width: Annotated[str, Query(description=f"Width: {SIDE}; wins over length.")] = "",
    length: Annotated[str, Query(description=f"Longer side: {SIDE}; {DEFAULT_LENGTH} by default.")] = "",
    use_precomputed: Annotated[bool, Query(description="Without effect: the pyramid is as fast.")] = True,
) -> Response:
    """The whole image at a size, 8 bits, its aspect ratio kept."""
    size = OutputSize.of_query(height, width, length)
    headers = ClientHeaders.of(request.scope)
    query = thumb_query(headers, filepath, size, services.size_limits, display, extension)
    return await image_response(request, query)


@router.post("/image/{filepath:path}/thumb.{extension}", include_in_schema=False)
@router.post("/image/{filepath:path}/thumb", summary="Thumbnail, asked by a body")
async def posted_thumb(
    request: Request, services: ServicesDependency, filepath: Filepath, body: ThumbBody, extension: Extension
) -> Response:
    """As by GET, for parameters too long for a URL."""
    headers = ClientHeaders.of(request.scope)
    query = thumb_query(headers, filepath, body.size(), services.size_limits, body.display(), extension)
    return await image_response(request, whole(query))
