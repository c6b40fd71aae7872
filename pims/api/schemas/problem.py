"""The body of every error (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

__all__ = ["ParameterError", "ProblemBody", "problems"]


class ParameterError(BaseModel):
    """One wrong parameter."""

    in_: str = Field(alias="in", description="path, query, header or body.")
    name: str
    reason: str
    value: Any = Field(description="What was given, shortened.")


class ProblemBody(BaseModel):
    """What went wrong. Some problems have further members."""

    type: str
    title: str
    status: int
    detail: str = Field(description="A sentence for people.")
    details: str = Field(description="The same as detail, for clients of older servers.")
    instance: str = Field(description="The path of the request.")
    errors: list[ParameterError]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these statuses; every route may refuse access."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*statuses, 401, 403, 405, 421, 422, 500})
    }
