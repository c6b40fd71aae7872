"""processed/manifest.json: what an upload is, written when it is published."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pims.errors import CorruptFile, StorageError
from pims.files.atomic import write_beside
from pims.files.source import LocalSource

__all__ = ["LAYOUT_VERSION", "Manifest", "Origin"]

LAYOUT_VERSION = 1
MAX_BYTES = 16 << 20
"""Of a manifest; one with a long description has some 100 KB."""


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
        """Whole or not at all. Raises StorageError."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)
        try:
            with write_beside(path) as file:
                file.write(text.encode())
        except OSError as error:
            raise StorageError(f"{path.name}: can't be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises FileNotFoundError when there is none, CorruptFile when it is damaged, StorageError."""
        try:
            with LocalSource(path) as source:
                if source.size > MAX_BYTES:
                    raise ValueError(f"it has {source.size} bytes")
                values = json.loads(source.pread(0, source.size))
            known = {f.name for f in dataclasses.fields(cls)}
            kept = {key: value for key, value in values.items() if key in known}
            kept["origin"] = Origin(**kept["origin"])
            kept["warnings"] = tuple(kept.get("warnings", ()))
            manifest = cls(**kept)
            manifest._check()
            return manifest
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise FileNotFoundError(path) from error
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CorruptFile(f"{path.name} is damaged ({error}); import the image again.") from error

    def _check(self) -> None:
        """Raises TypeError: what is on a disk may be anything."""
        names = (self.file_name, self.original_format, self.spatial_format)
        texts = (*names, self.uuid, self.origin.name, self.origin.digest)
        numbers = (self.revision, self.series, self.origin.size)
        if not all(isinstance(text, str) for text in texts) or not all(type(n) is int for n in numbers):
            raise TypeError("a field is of another type")
        if any("/" in name or name in ("", ".", "..") for name in names) or not isinstance(
            self.metadata, dict
        ):
            raise TypeError("a field is no name")
