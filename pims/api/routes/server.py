"""The server itself: whether it lives, and what it is."""

from __future__ import annotations

from fastapi import APIRouter

from pims.api.schemas.problem import problems
from pims.api.schemas.server import Pong, ServerInfo
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Server"])


@router.get("/ping", summary="Whether the server lives")
async def ping() -> Pong:
    """Open to everyone: for liveness probes."""
    return Pong()


@router.get("/info", summary="Version and settings", responses=problems())
async def info(services: ServicesDependency) -> ServerInfo:
    return ServerInfo(version=services.version, settings=dict(services.settings))
