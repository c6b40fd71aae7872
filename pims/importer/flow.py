"""One import: the steps in order, an event after each, one clean-up path.

All work happens in a private directory; `_publish` is one rename, and only then there is an image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pims.errors import CorruptFile, NoMatchingFormat
from pims.files.atomic import fsync_path
from pims.files.claim import Claim, make_parent
from pims.files.layout import UploadDirectory, sanitized_name
from pims.files.manifest import Manifest, Origin
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractConvertor, AbstractFormat, ReadContext
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry
from pims.importer.events import (
    EventState,
    ImportEvent,
    ImportListener,
    ImportResult,
    ImportStatus,
    ImportStep,
)
from pims.importer.extract import copy_with_digest, digest_of, regular_size
from pims.importer.failure import explain, is_expected
from pims.importer.histogram import import_histogram
from pims.importer.integrity import check_integrity
from pims.importer.known import KnownUpload, KnownUploads
from pims.model.limits import Limits

__all__ = ["ImportOptions", "import_file"]

logger = logging.getLogger("pims.importer")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Where and how files are imported."""

    root: Path
    pending: Path
    """Parent of the private directories; on the filesystem of root, and no link."""
    limits: Limits = field(default_factory=Limits)
    lossless_codec: str = "zstd"
    jpeg_quality: int = 90
    threads: int | None = None
    """That encode a conversion; none: one per core."""
    histogram_length: int = 1024
    """Pixels a side of what the histogram of a large image is computed from."""
    histogram_pixels: int = 1 << 20
    """Pixels up to which an image is counted whole."""
    name: str | None = None
    """The file's name as its user knows it; none: the name of the source."""
    directory: str | None = None
    """upload-<uuid>, chosen by who watches over the import and cleans up if it is killed; none: a new one."""


def import_file(
    source: Path,
    options: ImportOptions,
    registry: FormatRegistry,
    listener: ImportListener,
    known: KnownUploads | None = None,
) -> ImportResult:
    """Import one file; it is only read. Never raises but for what ends the process (KeyboardInterrupt).

    Parameters
    ----------
    known : what was imported already, refreshed by the caller; none: looked up
    """
    return _Import(source, options, registry, listener, known).run()


class _Import:
    """The state of one import."""

    def __init__(
        self,
        source: Path,
        options: ImportOptions,
        registry: FormatRegistry,
        listener: ImportListener,
        known: KnownUploads | None,
    ) -> None:
        self.source = source
        self.options = options
        self.registry = registry
        self.listener = listener
        self.known = known
        # A name that is no text on this machine still has to be stored as text.
        self.name = (options.name or source.name).encode("utf-8", "replace").decode()
        self.file_name = sanitized_name(self.name)
        self.step = ImportStep.EXTRACTING_DATA
        self.format: type[AbstractFormat] | None = None
        self.warnings: tuple[str, ...] = ()
        directory = options.directory
        self.private = (
            UploadDirectory(options.pending / directory)
            if directory
            else UploadDirectory.new(options.pending)
        )
        self.claim: Claim | None = None

    def run(self) -> ImportResult:
        try:
            return self._steps()
        except Exception as error:
            if not is_expected(error):
                logger.exception("import of %s: unexpected error", self.name)
            status, sentence = explain(error, self.step)
            return self._result(status, error=sentence)
        finally:
            if self.claim is not None:
                self.claim.remove()

    def _steps(self) -> ImportResult:
        """The table of contents."""
        with self._during(ImportStep.EXTRACTING_DATA) as progress:
            imported = self._already_imported()
            if imported is not None:
                return self._result(ImportStatus.SKIPPED, imported.path, format_id=imported.format)
            origin = self._extract(progress)
        upload = self.private.path / self.file_name
        with LocalSource(upload) as source:
            with self._during(ImportStep.DETECTING_FORMAT):
                self.format = self._detect(source)
            with self._open(self.format, source) as image:
                with self._during(ImportStep.CHECKING_INTEGRITY) as progress:
                    check_integrity(image, progress)
                self.warnings = image.full_imd.warnings
                manifest = self._manifest(image, origin)
                if image.need_conversion:
                    with self._during(ImportStep.CONVERTING) as progress:
                        manifest = self._convert(image, manifest, progress)
        with self._open_spatial(manifest) as spatial:
            manifest = self._write_overviews(spatial, manifest)
            with self._during(ImportStep.COMPUTING_HISTOGRAM) as progress:
                import_histogram(
                    spatial,
                    self.private.histogram,
                    self.options.histogram_length,
                    progress,
                    max_pixels=self.options.histogram_pixels,
                )
        with self._during(ImportStep.DEPLOYING):
            self._publish(manifest)
        return self._result(ImportStatus.DEPLOYED, f"{self.private.path.name}/{self.file_name}")

    def _already_imported(self) -> KnownUpload | None:
        """The same file under the same name. It is digested only when a name and a size agree."""
        size = regular_size(self.source)
        known = self.known
        if known is None:
            known = KnownUploads(self.options.root)
            known.refresh()
        candidates = known.candidates(self.name, size)
        if not candidates:
            return None
        digest = digest_of(self.source)
        return next((candidate for candidate in candidates if candidate.digest == digest), None)

    def _extract(self, progress: Callable[[float], None]) -> Origin:
        make_parent(self.options.pending)
        self.options.root.mkdir(parents=True, exist_ok=True)
        self.claim = Claim(self.private.path)
        self.private.processed.mkdir()
        size, digest = copy_with_digest(self.source, self.private.path / self.file_name, progress)
        return Origin(self.name, size, digest)

    def _detect(self, source: LocalSource) -> type[AbstractFormat]:
        """By the content alone. Raises NoMatchingFormat, or why a file of a known family is unreadable."""
        return self.registry.identify(Probe(source, self.options.limits))

    def _open(self, fmt: type[AbstractFormat], source: LocalSource) -> AbstractFormat:
        return fmt(source, context=ReadContext(limits=self.options.limits))

    def _manifest(self, image: AbstractFormat, origin: Origin) -> Manifest:
        """What the upload is when it needs no conversion."""
        return Manifest(
            uuid=self.private.uuid,
            file_name=self.file_name,
            origin=origin,
            original_format=image.get_identifier(),
            spatial_format=image.get_identifier(),
            metadata=image.full_imd.as_dict(),
            series=image.series,
            format_revision=image.revision,
            imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            warnings=self.warnings,
        )

    def _convert(
        self, image: AbstractFormat, manifest: Manifest, progress: Callable[[float], None]
    ) -> Manifest:
        """Write the SPATIAL representation, then check it as if it came from outside."""
        convertor = image.convertor or AbstractConvertor(image)
        spatial_format = convertor.conversion_format()
        destination = self.private.spatial(spatial_format)
        conversion: dict[str, Any] = {"convertor": type(convertor).__name__}
        if not convertor.convert(destination):
            from pims.importer.convert import convert_to_pyramid

            conversion = convert_to_pyramid(
                image,
                destination,
                lossless_codec=self.options.lossless_codec,
                jpeg_quality=self.options.jpeg_quality,
                threads=self.options.threads,
                progress=progress,
            )
        self._check_conversion(image, destination, spatial_format)
        fsync_path(destination)
        digests = {self.private.inside(destination): digest_of(destination)}
        return replace(manifest, spatial_format=spatial_format, conversion=conversion, digests=digests)

    def _check_conversion(self, image: AbstractFormat, destination: Path, expected: str) -> None:
        with LocalSource(destination) as source:
            try:
                fmt = self._detect(source)
            except NoMatchingFormat as error:
                raise CorruptFile(f"The converted file is not recognised: {error}") from error
            if fmt.get_identifier() != expected:
                raise CorruptFile(f"The converted file is of format {fmt.get_identifier()}, not {expected}.")
            with self._open(fmt, source) as converted:
                check_integrity(converted, lambda fraction: None)
                before, after = image.main_imd, converted.main_imd
                for name in ("width", "height", "pixel_type", "depth", "duration", "n_channels"):
                    if getattr(before, name) != getattr(after, name):
                        raise CorruptFile(
                            f"The conversion changed {name} from {getattr(before, name)} "
                            f"to {getattr(after, name)}."
                        )

    @contextmanager
    def _open_spatial(self, manifest: Manifest) -> Iterator[AbstractFormat]:
        """What will be displayed, opened anew: nothing that the checks decoded is kept in memory."""
        converted = self.private.spatial(manifest.spatial_format)
        path = converted if manifest.conversion else self.private.path / self.file_name
        fmt = self.registry.get(manifest.spatial_format)
        with LocalSource(path) as source, self._open(fmt, source) as image:
            yield image

    def _write_overviews(self, image: AbstractFormat, manifest: Manifest) -> Manifest:
        """The tiers that are missing above the coarsest one, if any."""
        from pims.importer.overviews import overviews_spec, write_overviews

        spec = overviews_spec(image, self.options.lossless_codec)
        if spec is None:
            return manifest
        path = self.private.overviews
        with self._during(ImportStep.WRITING_OVERVIEWS) as progress:
            write_overviews(image, path, spec, threads=self.options.threads, progress=progress)
        return replace(manifest, digests={**manifest.digests, self.private.inside(path): digest_of(path)})

    def _link(self, manifest: Manifest) -> None:
        """Relative links: ROOT can be moved. ORIGINAL points at the upload, SPATIAL at what is displayed."""
        original = self.private.original(manifest.original_format)
        original.symlink_to(Path("..") / self.file_name)
        if manifest.conversion is None:
            self.private.spatial(manifest.spatial_format).symlink_to(original.name)

    def _publish(self, manifest: Manifest) -> None:
        """Everything on the disk, then one rename."""
        self._link(manifest)
        digests = {
            **manifest.digests,
            self.private.inside(self.private.histogram): digest_of(self.private.histogram),
        }
        replace(manifest, digests=digests).write(self.private.manifest)
        fsync_path(self.private.processed)
        fsync_path(self.private.path)
        assert self.claim is not None
        self.claim.publish(self.options.root / self.private.path.name)
        self.claim = None
        try:
            fsync_path(self.options.root)
        except OSError as error:
            # The image is there and whole; only its name might be lost if the machine stops now.
            logger.warning("ROOT can't be flushed to the disk: %s", error.strerror)

    def _result(
        self,
        status: ImportStatus,
        path: str | None = None,
        *,
        format_id: str | None = None,
        error: str | None = None,
    ) -> ImportResult:
        detected = self.format.get_identifier() if self.format else None
        return ImportResult(
            str(self.source), path, format_id or detected, status, self.step, error, self.warnings
        )

    @contextmanager
    def _during(self, step: ImportStep) -> Iterator[Callable[[float], None]]:
        """Events around a step; gives what is called with the fraction done."""
        self.step = step
        shown = 0.0

        def progress(fraction: float) -> None:
            nonlocal shown
            if fraction - shown >= 0.01:
                shown = fraction
                self._tell(EventState.PROGRESS, fraction=fraction)

        self._tell(EventState.STARTED)
        try:
            yield progress
        except Exception as error:
            self._tell(EventState.FAILED, message=explain(error, step)[1])
            raise
        detected = self.format.get_identifier() if self.format else None
        self._tell(EventState.DONE, message=detected)

    def _tell(self, state: EventState, fraction: float | None = None, message: str | None = None) -> None:
        self.listener.notify(ImportEvent(str(self.source), self.step, state, fraction, message))
