"""processed/manifest.json: what an upload is, written when it is published."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pims.errors import CorruptFile, StorageError
from pims.files.atomic import write_beside
from pims.files.layout import PREFIX, is_name
from pims.files.source import LocalSource

__all__ = ["LAYOUT_VERSION", "Manifest", "Origin"]

LAYOUT_VERSION = 1
MAX_BYTES = 16 << 20
"""Of a manifest; one with a long description has some 100 KB."""
MAX_DEPTH = 64
"""Of lists and objects in each other."""
MAX_INT = 1 << 63
MAX_TEXT = 4096
"""Characters of a name that is only shown, or of a date."""
FORMAT = re.compile(r"[A-Z0-9_]{1,64}")
DIGEST = re.compile(r"[0-9a-f]{64}")
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


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
            data = text.encode()
            with write_beside(path) as file:
                file.write(data)
        except OSError as error:
            raise StorageError(f"{path.name}: can't be written: {error.strerror}") from error
        except UnicodeEncodeError as error:  # a name on the disk in another encoding
            raise StorageError(f"{path.name}: can't be written: a name in it is no Unicode text") from error

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises FileNotFoundError when there is none, CorruptFile when it is damaged, StorageError.

        What is on a disk may be anything: what is returned has the types of the fields, names that are
        names, digests of files in the upload, and nothing that could not be written again.
        """
        try:
            with LocalSource(path) as source:
                if source.size > MAX_BYTES:
                    raise ValueError(f"it has {source.size} bytes")
                data = source.pread(0, source.size)
            values = _parsed(data)
            known = {f.name for f in dataclasses.fields(cls)}
            kept = {key: value for key, value in values.items() if key in known}
            kept["origin"] = Origin(**kept["origin"])
            manifest = cls(**kept)
            manifest._check()
            return dataclasses.replace(manifest, warnings=tuple(manifest.warnings))
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise FileNotFoundError(path) from error
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CorruptFile(
                f"{path.name} is damaged ({_reason(error)}); import the image again."
            ) from error

    def _check(self) -> None:
        """Raises ValueError that names a field: what is on a disk may be anything."""
        integers = (self.revision, self.series, self.layout_version, self.format_revision, self.origin.size)
        objects = (self.metadata, self.display, self.corrections, self.digests)
        good = {
            "uuid": _is_text(self.uuid) and is_name(f"{PREFIX}{self.uuid}"),
            "file_name": is_name(self.file_name),
            "origin": _is_text(self.origin.name) and _is_digest(self.origin.digest),
            "original_format": _is_format(self.original_format),
            "spatial_format": _is_format(self.spatial_format),
            "imported_at": _is_text(self.imported_at),
            "a number": all(type(n) is int and 0 <= n < MAX_INT for n in integers),
            "an object": all(isinstance(values, dict) for values in objects),
            "conversion": isinstance(self.conversion, dict | None),
            "warnings": _are_texts(self.warnings),
        }
        wrong = [name for name, is_good in good.items() if not is_good]
        if wrong:
            raise ValueError(f"{wrong[0]} is not what it should be")
        for inside, digest in self.digests.items():
            if not all(map(is_name, inside.split("/"))) or not _is_digest(digest):
                raise ValueError("a digest is not what it should be")


def _parsed(data: bytes) -> Any:
    """The values of a JSON text that can be written again. Raises ValueError, RecursionError."""
    text = data.decode("utf-8")
    values = json.loads(text, parse_int=_int)
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _within(value)]
        if not level:
            break
    else:
        raise ValueError("it is too deep")
    if ESCAPED_SURROGATE.search(text):
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    return values


def _within(value: Any) -> Iterable[Any]:
    """The lists and objects directly in one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, dict | list)]


def _int(digits: str) -> int:
    """Raises ValueError for an integer of more than 64 bits."""
    value = int(digits) if len(digits) <= 20 else MAX_INT * 2
    if not -MAX_INT <= value < MAX_INT * 2:
        raise ValueError("an integer is too large")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(text, str) for text in values)


def _is_format(value: object) -> bool:
    return isinstance(value, str) and FORMAT.fullmatch(value) is not None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _reason(error: Exception) -> str:
    """In a few words, without the content: a sentence has to stay one."""
    return "it is no UTF-8 text" if isinstance(error, UnicodeError) else str(error)[:200]
