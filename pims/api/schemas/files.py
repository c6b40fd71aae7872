"""Files of an upload and the roles they have, as clients see them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, Field

from pims.api.schemas.pyramid import PyramidInfo
from pims.errors import StorageError
from pims.files.layout import Role, UploadDirectory
from pims.files.manifest import Manifest
from pims.model.pyramid import Pyramid

__all__ = ["FileInfo", "RepresentationInfo", "RepresentationName", "representations"]

RepresentationName = Literal["UPLOAD", "ORIGINAL", "SPATIAL", "SPECTRAL", "NONE"]


class FileInfo(BaseModel):
    """One file of an upload."""

    file_type: Literal["SINGLE", "COLLECTION"] = "SINGLE"
    filepath: str = Field(description="Relative to the root of the server.")
    stem: str = Field(description="The name up to its first dot.")
    extension: str = Field(description="The name from its first dot.")
    created_at: datetime = Field(description="In the server's time zone.")
    size: int = Field(description="Bytes; 0 for a link.")
    is_symbolic: bool
    role: RepresentationName

    @classmethod
    def of(cls, directory: UploadDirectory, path: Path, role: Role) -> FileInfo:
        """Raises StorageError when the file can't be looked at."""
        try:
            status = path.lstat()
        except OSError as error:
            raise StorageError(f"{path.name}: {error.strerror}") from error
        stem, dot, extension = path.name.partition(".")
        is_link = stat.S_ISLNK(status.st_mode)
        return cls(
            filepath=path.relative_to(directory.path.parent).as_posix(),
            stem=stem,
            extension=dot + extension,
            created_at=datetime.fromtimestamp(status.st_ctime),
            size=0 if is_link else status.st_size,
            is_symbolic=is_link,
            role=cast(RepresentationName, "NONE" if role is Role.HISTOGRAM else role.value),
        )


class RepresentationInfo(BaseModel):
    """A file of the image, with what it is for."""

    role: RepresentationName
    file: FileInfo
    pyramid: PyramidInfo | None = Field(None, description="Of the representation that pixels are read from.")


def representations(
    directory: UploadDirectory, manifest: Manifest, pyramid: Pyramid
) -> Iterator[RepresentationInfo]:
    """The representations that the image has. Raises StorageError."""
    paths = {
        Role.UPLOAD: directory.path / manifest.file_name,
        Role.ORIGINAL: directory.original(manifest.original_format),
        Role.SPATIAL: directory.spatial(manifest.spatial_format),
    }
    for role, path in paths.items():
        if path.exists():
            file = FileInfo.of(directory, path, role)
            stored = PyramidInfo.of(pyramid) if role is Role.SPATIAL else None
            yield RepresentationInfo(role=file.role, file=file, pyramid=stored)
