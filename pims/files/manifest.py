"""processed/manifest.json: what an upload is, written when it is published."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pims.errors import StorageError

__all__ = ["LAYOUT_VERSION", "Manifest", "Origin"]

LAYOUT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Origin:
    """The file as the user had it."""

    name: str
    """Its name before it was made safe for a disk."""
    size: int
    """Bytes."""
    digest: str
    """sha256 of its content, hexadecimal."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an upload is. An image opens with this and without parsing its metadata again."""

    uuid: str
    file_name: str
    """The name of the UPLOAD file in the upload's directory."""
    origin: Origin
    original_format: str
    """Identifier of the format that was detected."""
    spatial_format: str
    """Identifier of the format of the SPATIAL representation."""
    metadata: dict[str, Any]
    """ImageMetadata.as_dict() of the original."""
    revision: int = 1
    """Raised by every change of what can be seen: re-conversion, histogram, corrections."""
    series: int = 0
    layout_version: int = LAYOUT_VERSION
    format_revision: int = 1
    imported_at: str = ""
    """ISO 8601, UTC."""
    conversion: dict[str, Any] | None = None
    """How the SPATIAL representation was made; none when it is the original."""
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of every derived file, by its path in the upload's directory."""
    warnings: tuple[str, ...] = ()
    display: dict[str, Any] = field(default_factory=dict)
    """Display settings."""
    corrections: dict[str, Any] = field(default_factory=dict)
    """What people corrected: calibration, names."""

    def write(self, path: Path) -> None:
        """Written beside, fsynced, renamed. Raises StorageError."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(self), file, ensure_ascii=False, indent=1)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StorageError(f"{path.name}: can't be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises FileNotFoundError when there is none, StorageError when it can't be understood."""
        try:
            values = json.loads(path.read_bytes())
            known = {f.name for f in dataclasses.fields(cls)}
            kept = {key: value for key, value in values.items() if key in known}
            kept["origin"] = Origin(**kept["origin"])
            kept["warnings"] = tuple(kept.get("warnings", ()))
            return cls(**kept)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{path.name} can't be read: {error}") from error
