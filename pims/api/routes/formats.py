"""The image formats this server knows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from pims.api.schemas.problem import problems
from pims.api.schemas.server import FormatInfo, FormatList
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Formats"])


@router.get("/formats", summary="List the formats", responses=problems())
async def formats(services: ServicesDependency) -> FormatList:
    """By identifier. `failures` names the plug-ins that could not be loaded."""
    return FormatList.of_registry(services.registry)


@router.get("/formats/{format_id}", summary="Get a format", responses=problems(404))
async def format_(
    services: ServicesDependency,
    format_id: Annotated[str, Path(description="Identifier of the format, in any case.")],
) -> FormatInfo:
    return FormatInfo.of(services.registry.get(format_id))
