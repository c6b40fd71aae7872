"""What the server counted, for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pims.api.exposition import MEDIA_TYPE, exposition
from pims.api.metrics import Metrics
from pims.api.schemas.problem import problems

__all__ = ["router"]

router = APIRouter(tags=["Server"])
TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The text format of Prometheus.", "content": {"text/plain": {}}}
}


@router.get(
    "/metrics", summary="What the server counted", response_class=Response, responses=TEXT | problems()
)
def metrics(request: Request) -> Response:
    """Of all processes of this server, since it was started."""
    counted: Metrics = request.app.state.metrics
    return Response(
        exposition(counted.totals()), media_type=MEDIA_TYPE, headers={"cache-control": "no-store"}
    )
