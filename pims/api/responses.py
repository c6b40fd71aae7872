"""Answers that several routes give in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from pims.api.conditional import cache_control, etag, matches
from pims.api.services import Services, services_of
from pims.images.image import OpenedImage

__all__ = ["describe", "revalidated"]


def revalidated(
    request: Request, tag: str, max_age: int, headers: Mapping[str, str] | None = None
) -> tuple[dict[str, str], Response | None]:
    """The headers that let a client keep an answer, and the 304 when it has kept it already."""
    kept = {"etag": tag, "cache-control": cache_control(max_age), **(headers or {})}
    if matches(request.headers.get("if-none-match"), tag):
        return kept, Response(status_code=304, headers=kept)
    return kept, None


def describe(request: Request, filepath: str, view: Callable[[OpenedImage], BaseModel]) -> Response:
    """The JSON that `view` makes of an image: authorised, then looked at, then revalidated.

    The tag is made of the body, which costs next to nothing: it is right whatever the view looks at.
    Blocks: for handlers that are plain functions. Raises what authorize, the pool and the view raise.
    """
    services: Services = services_of(request)
    services.authorizer.authorize(request.scope, filepath)
    with services.pool.lease(filepath) as image:
        body = view(image).model_dump_json()
        tag = etag(image.identity, body)
    headers, not_modified = revalidated(request, tag, services.max_age)
    return not_modified or Response(body, headers=headers, media_type="application/json")
