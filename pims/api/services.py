"""What the routes work with: made in application.py, found by every route on the application's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from pims.api.answer import ImageAnswerer
from pims.api.authorize import Authorizer
from pims.api.params.size import SizeLimits
from pims.formats.registry import FormatRegistry
from pims.images.opener import Opener
from pims.images.pool import ImagePool

__all__ = ["Services", "ServicesDependency", "services_of"]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the server that routes call, and the few settings they need, as values."""

    registry: FormatRegistry
    opener: Opener
    pool: ImagePool
    authorizer: Authorizer
    answerer: ImageAnswerer
    size_limits: SizeLimits
    base_path: str
    """Prefix of every URL, without a slash at its end."""
    max_age: int
    """Seconds a client may keep an answer without asking again."""
    version: str
    settings: Mapping[str, Any]
    """What /info tells: no secrets, no paths."""


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def _services(request: Request) -> Services:  # FastAPI calls a plain function in a thread
    return services_of(request)


ServicesDependency = Annotated[Services, Depends(_services)]
