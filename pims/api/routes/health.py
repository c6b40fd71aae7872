"""Health, for those who start servers and spread requests over them. Open to everyone."""

from __future__ import annotations

from fastapi import APIRouter, Request

from pims.api.errors import NotReady
from pims.api.readiness import Readiness
from pims.api.schemas.problem import problems
from pims.api.schemas.server import Health

__all__ = ["router"]

router = APIRouter(tags=["Server"])


@router.get("/health/live", summary="Whether this process answers")
async def live() -> Health:
    """Says nothing about the disk: a process that answers need not be started again."""
    return Health(status="live")


@router.get("/health/ready", summary="Whether this process can work", responses=problems(503))
async def ready(request: Request) -> Health:
    """Looks whether ROOT can be read and written and the render threads live. No directory is listed."""
    readiness: Readiness = request.app.state.readiness
    wrong = await readiness.wrong()
    if wrong is not None:
        raise NotReady(wrong)
    return Health(status="ready")
