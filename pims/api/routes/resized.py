"""The whole image at a size, for programs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pims.api.image_query import ClientHeaders, resized_query, whole
from pims.api.image_response import IMAGE_RESPONSES, Extension, image_response
from pims.api.params.body import SIDE, ResizedBody
from pims.api.params.display import DisplayDependency
from pims.api.params.filepath import Filepath
from pims.api.params.size import DEFAULT_LENGTH, OutputSize
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Resized images"], responses=IMAGE_RESPONSES)

TierNumber = Annotated[int | None, Query(ge=0, le=64)]


@router.get("/image/{filepath:path}/resized.{extension}", include_in_schema=False)
@router.get("/image/{filepath:path}/resized", summary="Resized image")
async def resized(
    request: Request,
    services: ServicesDependency,
    filepath: Filepath,
    display: DisplayDependency,
    extension: Extension,
    level: TierNumber = None,
    zoom: TierNumber = None,
    height: Annotated[str, Query(description=f"Height: {SIDE}; wins over width and length.")] = "",
    width: Annotated[str, Query(description=f"Width: {SIDE}; wins over length.")] = "",
    length: Annotated[str, Query(description=f"Longer side: {SIDE}; {DEFAULT_LENGTH} by default.")] = "",
) -> Response:
    """The whole image, its aspect ratio kept, at the size of a tier (level wins over zoom) or another.

    16 bits as PNG when the image has more than 8; intensities are shown as stored unless the query says
    otherwise.
    """
    size = OutputSize.of_query(height, width, length, level, zoom)
    headers = ClientHeaders.of(request.scope)
    query = resized_query(headers, filepath, size, services.size_limits, display, extension)
    return await image_response(request, query)


@router.post("/image/{filepath:path}/resized.{extension}", include_in_schema=False)
@router.post("/image/{filepath:path}/resized", summary="Resized image, asked by a body")
async def posted_resized(
    request: Request,
    services: ServicesDependency,
    filepath: Filepath,
    body: ResizedBody,
    extension: Extension,
) -> Response:
    """As by GET, for parameters too long for a URL; without a default size."""
    headers = ClientHeaders.of(request.scope)
    query = resized_query(headers, filepath, body.size(), services.size_limits, body.display(), extension)
    return await image_response(request, whole(query))
