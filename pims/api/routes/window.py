"""Windows: rectangles of an image, for people and for programs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pims.api.image_query import ClientHeaders, whole, window_query
from pims.api.image_response import IMAGE_RESPONSES, Extension, image_response
from pims.api.params.filepath import Filepath
from pims.api.params.window import WindowBody
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Windows"], responses=IMAGE_RESPONSES)


@router.post("/image/{filepath:path}/window.{extension}", include_in_schema=False)
@router.post("/image/{filepath:path}/window", summary="Window")
async def window(
    request: Request,
    services: ServicesDependency,
    filepath: Filepath,
    body: WindowBody,
    extension: Extension,
) -> Response:
    """A rectangle of a stored tier at a size, its aspect ratio kept; 16 bits as PNG when the image has more
    than 8. Intensities are shown as stored unless the body says otherwise."""
    headers = ClientHeaders.of(request.scope)
    query = window_query(
        headers, filepath, body.area(), body.size(), services.size_limits, body.display(), extension
    )
    return await image_response(request, whole(query))
