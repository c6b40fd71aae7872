"""The files of an upload."""

from __future__ import annotations

from fastapi import APIRouter, Request

from pims.api.params.filepath import Filepath
from pims.api.schemas.files import FileInfo
from pims.api.schemas.problem import problems
from pims.api.services import ServicesDependency

__all__ = ["router"]

router = APIRouter(tags=["Files"])


@router.get("/file/{filepath:path}/info", summary="Describe a file", responses=problems(404, 503))
def file_info(request: Request, services: ServicesDependency, filepath: Filepath) -> FileInfo:
    services.authorizer.authorize(request.scope, filepath)
    directory, _, role, path = services.opener.resolve(filepath)
    return FileInfo.of(directory, path, role)
