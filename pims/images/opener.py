"""Finds the uploads under ROOT and opens their images."""

from __future__ import annotations

import logging
import stat
import threading
from contextlib import ExitStack
from pathlib import Path

from pims.errors import (
    CorruptFile,
    FormatNotFound,
    ImageNotFound,
    PimsError,
    RepresentationNotFound,
    StorageError,
    UnsupportedFeature,
)
from pims.files.layout import Role, UploadDirectory, split_path, upload_names
from pims.files.manifest import Manifest
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.registry import FormatRegistry
from pims.images.helper_process import HelperLimits
from pims.images.image import OpenedImage
from pims.images.isolated import Helpers, IsolatedFormat, needs_isolation
from pims.images.overviews import Overviews

__all__ = ["Opener"]

logger = logging.getLogger("pims.images")


class Opener:
    """Turns a path that a client sent into an upload, and an upload into an opened image.

    Only names that a manifest lists are ever opened: a path is compared, not followed.

    Parameters
    ----------
    helper_limits : what the processes may use that read formats which are isolated
    """

    def __init__(
        self,
        root: Path,
        registry: FormatRegistry,
        context: ReadContext,
        helper_limits: HelperLimits | None = None,
    ) -> None:
        self.root = root
        self.registry = registry
        self._context = context
        self.helpers = Helpers(helper_limits)
        self._listing: dict[str, tuple[int, Manifest]] = {}
        self._listing_lock = threading.Lock()

    def resolve(self, filepath: str) -> tuple[UploadDirectory, Manifest, Role, Path]:
        """The upload, its manifest, the role of the file and where it is. Raises ImageNotFound."""
        name, inside = split_path(filepath)
        directory = UploadDirectory(self.root / name)
        manifest = self.read_manifest(directory, filepath)
        names = {
            manifest.file_name: (Role.UPLOAD, directory.path / manifest.file_name),
            f"processed/original.{manifest.original_format}": (
                Role.ORIGINAL,
                directory.original(manifest.original_format),
            ),
            f"processed/visualisation.{manifest.spatial_format}": (
                Role.SPATIAL,
                directory.spatial(manifest.spatial_format),
            ),
        }
        if inside not in names:
            raise ImageNotFound(filepath)
        role, path = names[inside]
        return directory, manifest, role, path

    def read_manifest(self, directory: UploadDirectory, filepath: str = "") -> Manifest:
        """Raises ImageNotFound when there is no such upload, CorruptFile when its manifest is damaged."""
        try:
            if not stat.S_ISDIR(directory.path.lstat().st_mode):
                raise ImageNotFound(filepath)
            return Manifest.read(directory.manifest)
        except FileNotFoundError as error:
            raise ImageNotFound(filepath) from error

    def open(self, directory: UploadDirectory, manifest: Manifest) -> OpenedImage:
        """Open the SPATIAL representation. Raises RepresentationNotFound, FileError, StorageError."""
        path = directory.spatial(manifest.spatial_format)
        with ExitStack() as opened:
            source = LocalSource(self._contained(directory, path))
            opened.callback(source.close)
            fmt = self._format(manifest.spatial_format)
            spatial = self._spatial(fmt, source, manifest.series)
            opened.callback(spatial.close)
            overviews = self._overviews(directory, manifest, spatial)
            if overviews is not None:
                opened.callback(overviews.close)
            image = OpenedImage(directory, manifest, source, spatial, overviews)
            opened.pop_all()  # the image closes them
            return image

    def _overviews(
        self, directory: UploadDirectory, manifest: Manifest, spatial: AbstractFormat
    ) -> Overviews | None:
        """The overviews of an image; none for one that has none, or whose file is damaged or missing."""
        if directory.inside(directory.overviews) not in manifest.digests:
            return None
        _ = spatial.pyramid  # what is wrong with the image is not the overviews' fault
        try:
            source = LocalSource(self._contained(directory, directory.overviews))
            return Overviews(spatial, source, self.registry, self._context)
        except PimsError as error:
            logger.warning(
                "%s: opened without its overviews (%s); pims check --repair writes them again",
                directory.path.name,
                error,
            )
            return None

    def _spatial(self, fmt: type[AbstractFormat], source: LocalSource, series: int) -> AbstractFormat:
        """The image, read here or, when its format asks for it, in another process."""
        if needs_isolation(fmt):
            return IsolatedFormat(fmt, source, self.helpers, series=series, context=self._context)
        return fmt(source, series=series, context=self._context)

    def _format(self, identifier: str) -> type[AbstractFormat]:
        try:
            return self.registry.get(identifier)
        except FormatNotFound as error:
            raise UnsupportedFeature(
                f"This image is stored as {identifier}, which no installed plug-in reads."
            ) from error

    def list_uploads(self) -> list[Manifest]:
        """The manifests of all uploads, newest first; a damaged one is left out."""
        found: dict[str, tuple[int, Manifest]] = {}
        with self._listing_lock:
            for name in upload_names(self.root):
                directory = UploadDirectory(self.root / name)
                try:
                    changed = directory.manifest.stat().st_mtime_ns
                    known = self._listing.get(name)
                    if known is not None and known[0] == changed:
                        found[name] = known
                    else:
                        found[name] = (changed, Manifest.read(directory.manifest))
                except (OSError, StorageError, CorruptFile):
                    continue
            self._listing = found
        return [manifest for _, manifest in sorted(found.values(), key=lambda entry: -entry[0])]

    def _contained(self, directory: UploadDirectory, path: Path) -> Path:
        """Where a link leads, which must be inside its upload."""
        try:
            resolved = path.resolve(strict=True)
            inside = resolved.is_relative_to(directory.path.resolve(strict=True))
        except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
            raise RepresentationNotFound(Role.SPATIAL) from error
        if not inside:
            raise CorruptFile(f"{path.name} leads out of its upload; import the image again.")
        return resolved
