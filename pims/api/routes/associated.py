"""Pictures stored beside an image: the label, the whole glass slide."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from pims.api.image_query import ClientHeaders, associated_query
from pims.api.image_response import IMAGE_RESPONSES, image_response
from pims.api.params.body import SIDE
from pims.api.params.filepath import Filepath
from pims.api.params.size import DEFAULT_LENGTH, OutputSize
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Associated images"], responses=IMAGE_RESPONSES)


@router.get("/image/{filepath:path}/associated/{name}", summary="Associated image")
async def associated(
    request: Request,
    services: ServicesDependency,
    filepath: Filepath,
    name: Annotated[Literal["label", "macro", "thumb"], Path(description="Which picture.")],
    height: Annotated[str, Query(description=f"Height: {SIDE}; wins over width and length.")] = "",
    width: Annotated[str, Query(description=f"Width: {SIDE}; wins over length.")] = "",
    length: Annotated[str, Query(description=f"Longer side: {SIDE}; {DEFAULT_LENGTH} by default.")] = "",
) -> Response:
    """A picture that the file holds beside the image, at a size; 404 when it holds none of that name."""
    size = OutputSize.of_query(height, width, length)
    headers = ClientHeaders.of(request.scope)
    query = associated_query(headers, filepath, name, size, services.size_limits)
    return await image_response(request, query)
