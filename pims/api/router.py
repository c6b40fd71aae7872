"""The table of contents of the API."""

from __future__ import annotations

from fastapi import APIRouter

from pims.api.routes import (
    associated,
    files,
    formats,
    health,
    home,
    metadata,
    metrics,
    resized,
    server,
    thumb,
    tiles,
    window,
)

__all__ = ["api_router"]

RESOURCES = (
    server,
    health,
    metrics,
    formats,
    files,
    metadata,
    tiles,
    associated,  # before thumb: its last part may be that word
    thumb,
    resized,
    window,
    home,
)


def api_router(base_path: str) -> APIRouter:
    """Every documented route, below `base_path`."""
    router = APIRouter(prefix=base_path)
    for resource in RESOURCES:
        router.include_router(resource.router)
    return router
