"""What every route that gives pixels shares."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from pims.api.answer import ImageQuery
from pims.api.negotiation import EXTENSIONS
from pims.api.request_log import CLIENT_CLOSED
from pims.api.schemas.problem import problems
from pims.api.services import services_of
from pims.errors import UnsupportedParameter

__all__ = ["IMAGE_RESPONSES", "Extension", "image_response"]

IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image.",
        "content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}},
    },
    304: {"description": "The client has it already."},
    **problems(400, 404, 406, 409, 422, 503),
}


async def _extension(request: Request) -> str | None:
    """What follows the last dot of the path, where the route has it. Raises UnsupportedParameter."""
    extension: str | None = request.path_params.get("extension")
    if extension is not None and extension not in EXTENSIONS:
        raise UnsupportedParameter("extension", extension, "path")
    return extension


Extension = Annotated[str | None, Depends(_extension)]
"""The type the path asks for (`.jpg`, `.png`, `.webp`); it wins over the Accept header."""


async def image_response(request: Request, query: ImageQuery) -> Response:
    """The answer to a query as FastAPI wants it. Raises what ImageAnswerer.answer raises.

    When the client goes away meanwhile, the work for it stops or is not begun.
    """
    making = asyncio.ensure_future(services_of(request).answerer.answer(request.scope, query))
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((making, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not making.done():
            making.cancel()
    if not making.done():
        return Response(status_code=CLIENT_CLOSED)  # nobody reads it
    answer = making.result()
    response = Response(answer.body, status_code=answer.status)
    response.raw_headers = answer.headers
    return response


async def _disconnected(request: Request) -> None:
    """Ends when the client is gone. The body of the request was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
