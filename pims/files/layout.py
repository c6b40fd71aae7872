"""Names and places of an upload on disk.

::

    ROOT/upload-<uuid>/<name>                           UPLOAD     as it was received
    ROOT/upload-<uuid>/processed/original.<ID>          ORIGINAL   relative link to the upload
    ROOT/upload-<uuid>/processed/visualisation.<ID>     SPATIAL    link to the original, or converted
    ROOT/upload-<uuid>/processed/histogram              HISTOGRAM
    ROOT/upload-<uuid>/processed/overviews              the tiers above the coarsest stored one, if needed
    ROOT/upload-<uuid>/processed/manifest.json
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pims.errors import ImageNotFound, StorageError

__all__ = ["PREFIX", "Role", "UploadDirectory", "is_name", "sanitized_name", "split_path", "upload_names"]

PREFIX = "upload-"
"""Of the name of every upload's directory."""
MAX_NAME_BYTES = 200
MAX_PATH_BYTES = 1024
MAX_FILE_NAME_BYTES = 255
"""Of what is on a disk: no filesystem here keeps longer names."""


class Role(StrEnum):
    """What a file of an upload is for."""

    UPLOAD = "UPLOAD"
    ORIGINAL = "ORIGINAL"
    SPATIAL = "SPATIAL"
    SPECTRAL = "SPECTRAL"
    HISTOGRAM = "HISTOGRAM"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class UploadDirectory:
    """One upload: a directory and the names of what is in it."""

    path: Path

    @classmethod
    def new(cls, parent: Path) -> UploadDirectory:
        """A name that no upload has; the directory is not made."""
        return cls(parent / f"{PREFIX}{uuid.uuid4()}")

    @property
    def uuid(self) -> str:
        return self.path.name.removeprefix(PREFIX)

    @property
    def processed(self) -> Path:
        return self.path / "processed"

    @property
    def manifest(self) -> Path:
        return self.processed / "manifest.json"

    @property
    def histogram(self) -> Path:
        return self.processed / "histogram"

    @property
    def overviews(self) -> Path:
        return self.processed / "overviews"

    def inside(self, path: Path) -> str:
        """A file of the upload as a manifest names it."""
        return path.relative_to(self.path).as_posix()

    def original(self, format_id: str) -> Path:
        return self.processed / f"original.{format_id}"

    def spatial(self, format_id: str) -> Path:
        return self.processed / f"visualisation.{format_id}"


def upload_names(root: Path) -> list[str]:
    """Names of the uploads under ROOT, in no order; none when there is no ROOT. Raises StorageError."""
    try:
        return [name for name in os.listdir(root) if name.startswith(PREFIX)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"ROOT can't be listed: {error.strerror}") from error


def split_path(filepath: str) -> tuple[str, str]:
    """(upload directory's name, path inside it) of a path that a client sent.

    Purely lexical: nothing on disk is touched. Raises ImageNotFound for everything that can't name a file
    of an upload: other directories, empty or dotted components, control characters, overlong names.
    """
    directory, _, inside = filepath.partition("/")
    components = filepath.split("/")
    if (
        not directory.startswith(PREFIX)
        or not inside
        or len(filepath.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES
        or any(part in ("", ".", "..") or len(part) > 255 for part in components)
        or any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in filepath)
        or "\\" in filepath
    ):
        raise ImageNotFound(filepath)
    return directory, inside


def is_name(value: object) -> bool:
    """Whether a value can be the name of one file or directory on this machine, and be told as text."""
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        return False
    try:
        return len(value.encode("utf-8")) <= MAX_FILE_NAME_BYTES
    except UnicodeEncodeError:
        return False


def sanitized_name(name: str) -> str:
    """The name an uploaded file gets on disk and in URLs, without separators, quotes, spaces, controls.

    The extension and the letters of any script are kept; the length is bounded.
    """
    name = name.replace("\\", "/").rpartition("/")[2]
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = re.sub(r"[\x00-\x1f\x7f<>:|?*\"'\s()+/@$€£°`\[\]#%&;]", "-", name).strip(". ")
    while len(name.encode()) > MAX_NAME_BYTES:
        stem, dot, extension = name.rpartition(".")
        name = f"{stem[:-1]}{dot}{extension}" if stem and len(extension) < 20 else name[:-1]
    name = name.strip(". ")
    if name.strip(".-") and name != "processed":
        return name
    return f"image-{name[:9].strip('.') or 'unnamed'}"
