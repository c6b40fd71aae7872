"""What was imported already: found by name and size, told apart by digest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pims.errors import CorruptFile, StorageError
from pims.files.layout import UploadDirectory, upload_names
from pims.files.manifest import Manifest

__all__ = ["KnownUpload", "KnownUploads"]


@dataclass(frozen=True, slots=True)
class KnownUpload:
    """One upload, as far as recognising the same file again needs."""

    digest: str
    path: str
    """As used in URLs: upload-<uuid>/<file name>."""
    format: str


class KnownUploads:
    """An index of the manifests of ROOT; each is read once, by the first refresh that sees it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_origin: dict[tuple[str, int], list[KnownUpload]] = {}
        self._read: dict[str, tuple[tuple[str, int], KnownUpload] | None] = {}

    def refresh(self) -> None:
        """See what was published or removed since. Raises StorageError when ROOT can't be listed."""
        names = set(upload_names(self._root))
        if names == self._read.keys():
            return
        self._read = {
            name: self._read[name] if name in self._read else self._look_at(name) for name in sorted(names)
        }
        by_origin = defaultdict(list)
        for found in self._read.values():
            if found is not None:
                by_origin[found[0]].append(found[1])
        self._by_origin = dict(by_origin)

    def candidates(self, name: str, size: int) -> list[KnownUpload]:
        """The uploads whose file had this name and number of bytes; the digest tells if it is the same."""
        return self._by_origin.get((name, size), [])

    def _look_at(self, name: str) -> tuple[tuple[str, int], KnownUpload] | None:
        try:
            manifest = Manifest.read(UploadDirectory(self._root / name).manifest)
        except (FileNotFoundError, CorruptFile, StorageError):
            return None
        known = KnownUpload(manifest.origin.digest, f"{name}/{manifest.file_name}", manifest.original_format)
        return (manifest.origin.name, manifest.origin.size), known
