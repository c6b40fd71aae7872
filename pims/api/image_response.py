"""What every route that gives pixels shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Request
from starlette.responses import Response

from pims.api.answer import ImageQuery
from pims.api.schemas.problem import problems
from pims.api.services import services_of

__all__ = ["IMAGE_RESPONSES", "Extension", "image_response"]

Extension = Annotated[
    Literal["jpg", "png", "webp"] | None,
    Path(description="Type of the image; it wins over the Accept header."),
]

IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image.",
        "content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}},
    },
    304: {"description": "The client has it already."},
    **problems(400, 404, 406, 409, 422, 503),
}


async def image_response(request: Request, query: ImageQuery) -> Response:
    """The answer to a query as FastAPI wants it. Raises what ImageAnswerer.answer raises."""
    answer = await services_of(request).answerer.answer(request.scope, query)
    response = Response(answer.body, status_code=answer.status)
    response.raw_headers = answer.headers
    return response
