"""Repairs of damaged uploads. The file that the user gave is never changed, moved or removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pims.errors import CorruptFile, FileError, StorageError
from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest, Origin
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat
from pims.formats.probe import Probe
from pims.importer.extract import digest_of
from pims.importer.flow import ImportOptions
from pims.importer.histogram import import_histogram
from pims.importer.inspection import REPAIRS, Finding, Inspector, Remedy, unexpected
from pims.importer.integrity import check_integrity
from pims.importer.overviews import overviews_spec, write_overviews

__all__ = ["Repairer"]

OLDER = ".older"
"""Appended to the name of what is put aside: what older servers wrote, and what is damaged."""


class Repairer:
    """Does what a remedy says.

    Parameters
    ----------
    inspector : looks at the upload again afterwards
    options : of imports; how histograms and overviews are made
    """

    def __init__(self, inspector: Inspector, options: ImportOptions) -> None:
        self._inspector = inspector
        self._options = options

    def repair(self, path: Path, findings: list[Finding]) -> list[Finding]:
        """Do what can be done about the findings of one directory; returns what is wrong afterwards.

        A repair may show what was hidden, so there are several rounds. Nothing is raised.
        """
        directory = UploadDirectory(path)
        for _ in REPAIRS:
            remedies = {finding.remedy for finding in findings}
            wanted = [remedy for remedy in REPAIRS if remedy in remedies]
            if not wanted:
                return findings
            try:
                for remedy in wanted:
                    self._apply(directory, remedy)
            except Exception as error:  # noqa: BLE001 - whatever one upload does, the others are repaired
                sentence = f"can't be repaired: {unexpected(directory, error)}"
                return [*findings, Finding(path, sentence, Remedy.LOOK)]
            findings = list(self._inspector.upload(directory)) if os.path.lexists(path) else []
        return findings

    def _apply(self, directory: UploadDirectory, remedy: Remedy) -> None:
        if directory.path.is_symlink() or directory.processed.is_symlink():
            raise StorageError("a link leads to another place, where nothing is changed")
        if remedy is Remedy.PENDING:
            shutil.rmtree(directory.path)
            return
        if remedy is Remedy.MANIFEST:
            self._make_manifest(directory)
            return
        manifest = Manifest.read(directory.manifest)
        if remedy is Remedy.LINKS:
            _make_links(directory, manifest)
            return
        with self._open(directory.spatial(manifest.spatial_format), manifest.series) as (_, image):
            if remedy is Remedy.HISTOGRAM:
                digests = self._make_histogram(directory, image)
            else:
                digests = self._make_overviews(directory, image)
        kept = {name: digest for name, digest in manifest.digests.items() if digests.get(name) != ""}
        kept |= {name: digest for name, digest in digests.items() if digest}
        replace(manifest, digests=kept, revision=manifest.revision + 1).write(directory.manifest)

    def _make_histogram(self, directory: UploadDirectory, image: AbstractFormat) -> dict[str, str]:
        if directory.histogram.is_dir():
            _put_aside(directory.histogram)
        import_histogram(
            image,
            directory.histogram,
            self._options.histogram_length,
            lambda fraction: None,
            max_pixels=self._options.histogram_pixels,
        )
        return {directory.inside(directory.histogram): digest_of(directory.histogram)}

    def _make_overviews(self, directory: UploadDirectory, image: AbstractFormat) -> dict[str, str]:
        """By their name, the digest; an empty one of an image that needs none."""
        spec = overviews_spec(image, self._options.lossless_codec)
        name = directory.inside(directory.overviews)
        if spec is None:
            return {name: ""}
        written = directory.processed / "overviews.new"
        written.unlink(missing_ok=True)
        write_overviews(image, written, spec)
        if directory.overviews.is_dir() and not directory.overviews.is_symlink():
            _put_aside(directory.overviews)
        written.replace(directory.overviews)
        return {name: digest_of(directory.overviews)}

    def _make_manifest(self, directory: UploadDirectory) -> None:
        """From the file alone: what it is, checked as an import does, its histogram and overviews."""
        original = _only_file(directory)
        spatial, conversion = original, None
        directory.processed.mkdir(exist_ok=True)
        with self._open(original) as (fmt, image):
            check_integrity(image, lambda fraction: None)
            if image.need_conversion:
                spatial, conversion = self._older_conversion(directory, image), {"convertor": "older server"}
            with self._open(spatial) as (spatial_class, shown):
                digests = self._make_histogram(directory, shown)
                digests |= self._make_overviews(directory, shown)
                if conversion is not None:
                    digests[directory.inside(spatial)] = digest_of(spatial)
                spatial_format = spatial_class.get_identifier()
            name, status = original.name, original.stat()
            imported = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            manifest = Manifest(
                uuid=directory.uuid,
                file_name=name,
                origin=Origin(name, status.st_size, digest_of(original)),
                original_format=fmt.get_identifier(),
                spatial_format=spatial_format,
                metadata=image.full_imd.as_dict(),
                revision=int(datetime.now(UTC).timestamp()),  # above all that clients may remember
                format_revision=fmt.revision,
                imported_at=imported,
                conversion=conversion,
                digests={key: digest for key, digest in digests.items() if digest},
                warnings=(*image.full_imd.warnings, "The manifest was made by a repair."),
            )
        _make_links(directory, manifest)
        if conversion is not None and spatial != directory.spatial(spatial_format):
            _link(directory.spatial(spatial_format), spatial.name)
        if os.path.lexists(directory.manifest):
            _put_aside(directory.manifest)
        manifest.write(directory.manifest)

    def _older_conversion(self, directory: UploadDirectory, image: AbstractFormat) -> Path:
        """The conversion that another server wrote. Raises CorruptFile when there is none of this image."""
        for path in sorted(directory.processed.glob("visualisation.*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                with self._open(path) as (_, converted):
                    check_integrity(converted, lambda fraction: None)
                    main, other = converted.main_imd, image.main_imd
                    if not converted.need_conversion and (main.width, main.height) == (
                        other.width,
                        other.height,
                    ):
                        return path
            except FileError:
                continue
        raise CorruptFile("The image has to be converted and there is no conversion; import it again.")

    @contextmanager
    def _open(self, path: Path, series: int = 0) -> Iterator[tuple[type[AbstractFormat], AbstractFormat]]:
        """What the file is, and its image. Raises FileError, StorageError."""
        with LocalSource(path) as source:
            fmt = self._inspector.registry.identify(Probe(source, self._inspector.context.limits))
            with self._inspector.open(fmt, source, series) as image:
                yield fmt, image


def _only_file(directory: UploadDirectory) -> Path:
    """The original of an upload whose manifest is lost."""
    found = [
        path
        for path in directory.path.iterdir()
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    ]
    if len(found) != 1:
        raise StorageError(f"there are {len(found)} files of which one should be the original")
    return found[0]


def _make_links(directory: UploadDirectory, manifest: Manifest) -> None:
    original = directory.original(manifest.original_format)
    _link(original, os.path.join("..", manifest.file_name))  # noqa: PTH118 - a link's text
    if manifest.conversion is None:
        _link(directory.spatial(manifest.spatial_format), original.name)


def _link(link: Path, target: str) -> None:
    """Make or change a link; a file that has its place is put aside."""
    if os.path.lexists(link) and not link.is_symlink():
        _put_aside(link)
    beside = link.with_name(f"{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


def _put_aside(path: Path) -> None:
    """Nothing is lost: it keeps its place under another name."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}{OLDER}{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            return
    raise StorageError(f"{path.name} can't be put aside")
