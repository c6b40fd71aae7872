"""What is wrong with the uploads of a ROOT: damaged, incomplete, abandoned."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from pims.errors import CorruptFile, FileError, FormatNotFound, NotFoundError, PimsError, StorageError
from pims.files.claim import abandoned
from pims.files.layout import UploadDirectory, upload_names
from pims.files.manifest import Manifest
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.engines.tiff.encode import TileCodec
from pims.formats.registry import FormatRegistry
from pims.images.helper_process import HelperLimits
from pims.images.histogram import read_histogram
from pims.images.isolated import Helpers, IsolatedFormat, needs_isolation
from pims.images.overviews import Overviews
from pims.importer.extract import digest_of
from pims.importer.failure import is_expected
from pims.importer.overviews import overviews_spec
from pims.model.metadata import ImageMetadata

__all__ = ["Finding", "Inspector", "Remedy", "unexpected"]

logger = logging.getLogger("pims.importer")

HELPER_LIMITS = HelperLimits(processes=2, seconds=300.0, standby=False)
"""Repairs have two images open, and read more at once than a server does."""


class Remedy(Enum):
    """What can be done about a finding: its value says it to people."""

    HISTOGRAM = "pims check --repair computes it again"
    OVERVIEWS = "pims check --repair writes them again"
    LINKS = "pims check --repair makes the links again"
    MANIFEST = "pims check --repair makes a new one from the file"
    PENDING = "pims check --repair removes it"
    IMPORT_AGAIN = "import the image again and remove this directory"
    LOOK = "look at it"


REPAIRS = (Remedy.PENDING, Remedy.MANIFEST, Remedy.LINKS, Remedy.OVERVIEWS, Remedy.HISTOGRAM)
"""What a program can do, in the order in which it is done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one directory."""

    directory: Path
    sentence: str
    """What is wrong, without a full stop."""
    remedy: Remedy

    @property
    def can_be_repaired(self) -> bool:
        return self.remedy in REPAIRS

    def __str__(self) -> str:
        return f"{self.directory.name}: {self.sentence}; {self.remedy.value}"


class Inspector:
    """Looks at uploads without changing anything.

    Parameters
    ----------
    digests : whether every file is read from one end to the other and compared with its digest
    complete : whether overviews are missed that an older version of this server did not write; the image
        is in order without them, and slow to look at from afar
    helper_memory : bytes of address space of a process that reads an image of a format that is not trusted
    """

    def __init__(
        self,
        registry: FormatRegistry,
        context: ReadContext,
        *,
        digests: bool = False,
        complete: bool = False,
        helper_memory: int = HELPER_LIMITS.memory_bytes,
    ) -> None:
        self.registry = registry
        self.context = context
        self._digests = digests
        self._complete = complete
        self._helpers = Helpers(replace(HELPER_LIMITS, memory_bytes=helper_memory))

    def root(self, root: Path, pending: Path) -> Iterator[Finding]:
        """All findings, an upload at a time. Raises StorageError when ROOT can't be listed."""
        try:
            for path in abandoned(pending):
                yield Finding(path, "was left by an import that was killed", Remedy.PENDING)
        except StorageError as error:
            yield Finding(pending, str(error).rstrip("."), Remedy.LOOK)
        for name in sorted(upload_names(root)):
            yield from self.upload(UploadDirectory(root / name))

    def open(self, fmt: type[AbstractFormat], source: LocalSource, series: int = 0) -> AbstractFormat:
        """The image, read in this process or, when its format asks for it, in another.

        What a format says of itself is to be asked of `fmt`: the image may stand for one elsewhere.
        """
        if needs_isolation(fmt):
            return IsolatedFormat(fmt, source, self._helpers, series=series, context=self.context)
        return fmt(source, series=series, context=self.context)

    def upload(self, directory: UploadDirectory) -> Iterator[Finding]:
        """The findings of one upload; those that hide others come alone. Nothing is raised."""
        try:
            yield from self._upload(directory)
        except Exception as error:  # noqa: BLE001 - whatever one upload does, the others are looked at
            yield Finding(directory.path, f"can't be looked at: {unexpected(directory, error)}", Remedy.LOOK)

    def _upload(self, directory: UploadDirectory) -> Iterator[Finding]:
        path = directory.path
        if path.is_symlink() or not path.is_dir():
            yield Finding(path, "is not a directory", Remedy.LOOK)
            return
        if directory.processed.is_symlink():
            yield Finding(path, "its processed/ is a link to another place", Remedy.LOOK)
            return
        try:
            manifest = Manifest.read(directory.manifest)
            ImageMetadata.from_dict(manifest.metadata)
            if manifest.uuid != directory.uuid:
                raise ValueError(f"it is of the upload {manifest.uuid}")
        except FileNotFoundError:
            yield Finding(path, "has no manifest, as uploads of older servers", Remedy.MANIFEST)
            return
        except StorageError as error:
            yield Finding(path, f"the manifest can't be read: {error}", Remedy.LOOK)
            return
        except (CorruptFile, ValueError) as error:
            yield Finding(path, f"the manifest is damaged ({str(error).rstrip('.')})", Remedy.MANIFEST)
            return
        wrong = list(self._files(directory, manifest))
        yield from wrong
        if not wrong:
            yield from self._derived(directory, manifest)

    def _files(self, directory: UploadDirectory, manifest: Manifest) -> Iterator[Finding]:
        """The original, the conversion, the links to them."""
        path, original = directory.path, directory.path / manifest.file_name
        try:
            with LocalSource(_not_a_link(original)) as source:
                if source.size != manifest.origin.size:
                    sentence = f"the original has {source.size} bytes, not {manifest.origin.size}"
                    yield Finding(path, sentence, Remedy.IMPORT_AGAIN)
                    return
        except StorageError as error:
            yield Finding(path, f"the original is not usable: {error}", Remedy.IMPORT_AGAIN)
            return
        spatial = directory.spatial(manifest.spatial_format)
        if manifest.conversion is not None and not (spatial.is_file() and not _leaves(spatial, path)):
            yield Finding(path, f"the conversion {spatial.name} is missing", Remedy.IMPORT_AGAIN)
        links = [directory.original(manifest.original_format)]
        links += [spatial] if manifest.conversion is None else []
        for link in links:
            if _leaves(link, path):
                yield Finding(path, f"processed/{link.name} leads out of the upload", Remedy.LINKS)
            elif not os.path.lexists(link) or link.resolve() != original.resolve():
                yield Finding(path, f"processed/{link.name} does not lead to the original", Remedy.LINKS)

    def _derived(self, directory: UploadDirectory, manifest: Manifest) -> Iterator[Finding]:
        """What was computed from the original, and every digest."""
        path = directory.path
        try:
            yield from self._opened(directory, manifest)
        except FormatNotFound:
            yield Finding(path, f"no installed plug-in reads {manifest.spatial_format}", Remedy.LOOK)
        except (FileError, StorageError) as error:
            yield Finding(path, f"the image can't be opened: {error}", Remedy.IMPORT_AGAIN)
        except Exception as error:  # noqa: BLE001 - readers are foreign code and raise anything
            yield Finding(path, f"the image can't be opened: {unexpected(directory, error)}", Remedy.LOOK)
        try:
            read_histogram(directory.histogram)
        except (NotFoundError, CorruptFile, StorageError) as error:
            yield Finding(path, f"the histogram is not usable ({str(error).rstrip('.')})", Remedy.HISTOGRAM)
        if self._digests:
            yield from self._digested(directory, manifest)

    def _opened(self, directory: UploadDirectory, manifest: Manifest) -> Iterator[Finding]:
        """Raises FormatNotFound, FileError, StorageError: of the image itself."""
        fmt = self.registry.get(manifest.spatial_format)
        with (
            LocalSource(directory.spatial(manifest.spatial_format)) as source,
            self.open(fmt, source, manifest.series) as image,
        ):
            _ = image.main_imd, image.pyramid  # raises what is wrong with it
            if directory.inside(directory.overviews) not in manifest.digests:
                if self._complete and overviews_spec(image, TileCodec.ZSTD) is not None:
                    yield Finding(directory.path, "there are no overviews", Remedy.OVERVIEWS)
                return
            try:
                self._open_overviews(directory, image)
            except PimsError as error:
                sentence = f"the overviews are not usable ({str(error).rstrip('.')})"
                yield Finding(directory.path, sentence, Remedy.OVERVIEWS)

    def _open_overviews(self, directory: UploadDirectory, image: AbstractFormat) -> None:
        source = LocalSource(_not_a_link(directory.overviews))
        Overviews(image, source, self.registry, self.context).close()

    def _digested(self, directory: UploadDirectory, manifest: Manifest) -> Iterator[Finding]:
        remedies = {
            directory.inside(directory.histogram): Remedy.HISTOGRAM,
            directory.inside(directory.overviews): Remedy.OVERVIEWS,
        }
        for name, digest in {manifest.file_name: manifest.origin.digest, **manifest.digests}.items():
            file = directory.path / name
            try:
                if _leaves(file, directory.path):
                    raise StorageError(f"{file.name} leads out of the upload")
                good = digest_of(file) == digest
            except StorageError as error:
                if name not in remedies:  # of the others it was said already
                    yield Finding(directory.path, f"{name}: {error}", Remedy.IMPORT_AGAIN)
                continue
            if not good:
                sentence = f"{name} changed since the import: its digest is another"
                yield Finding(directory.path, sentence, remedies.get(name, Remedy.IMPORT_AGAIN))


def unexpected(directory: UploadDirectory, error: Exception) -> str:
    """What is said of any error; the traceback of one that nobody expects is logged."""
    if is_expected(error) and str(error):
        return str(error).rstrip(".")
    logger.error("%s: unexpected error", directory.path.name, exc_info=error)
    return f"unexpected error ({type(error).__name__}: {error})"


def _not_a_link(path: Path) -> Path:
    """Raises StorageError for a link: it may lead anywhere."""
    if path.is_symlink():
        raise StorageError(f"{path.name} is a link")
    return path


def _leaves(path: Path, upload: Path) -> bool:
    """Whether a link leads out of its upload, or nowhere at all but round and round."""
    try:
        return not path.resolve().is_relative_to(upload.resolve())
    except (OSError, RuntimeError):
        return True
