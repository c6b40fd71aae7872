"""Whether settings, directories and libraries are in order, before somebody needs them."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pims.composition import import_options
from pims.files.layout import upload_names
from pims.formats.abstract import ReadContext
from pims.formats.registry import FormatRegistry, discover_formats
from pims.importer.inspection import Finding, Inspector
from pims.importer.repair import Repairer
from pims.settings import Settings, without_effect

__all__ = ["UploadsCheck", "check_installation", "check_uploads"]

ENGINES = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "simplejpeg": "simplejpeg",
    "imagecodecs": "imagecodecs",
}
"""Distribution and module of what decodes and computes."""


def check_installation(settings: Settings, tell: Callable[[str], None]) -> list[str]:
    """Look at everything, telling what is found a line at a time; returns a sentence for each thing wrong.

    Secrets are not told.
    """
    for name, value in settings.redacted().items():
        tell(f"{name} = {value}")
    for sentence in without_effect():
        tell(sentence)
    return [
        *_check_directories(settings, tell),
        *_check_engines(tell),
        *_check_formats(discover_formats(), tell),
    ]


@dataclass(frozen=True, slots=True)
class UploadsCheck:
    """What is done with the uploads of a ROOT."""

    digests: bool = False
    """Read every file from one end to the other."""
    repair: bool = False


def check_uploads(
    root: Path, settings: Settings, how: UploadsCheck, tell: Callable[[str], None]
) -> list[str]:
    """Look at every upload of a ROOT, and repair what is wrong if that is asked.

    Returns a sentence for each thing that is wrong (still). Raises StorageError when ROOT can't be listed.
    """
    pending = settings.pending_path if root.resolve() == settings.root.resolve() else root / ".pending"
    context = ReadContext(limits=settings.limits)
    inspector = Inspector(
        discover_formats(),
        context,
        digests=how.digests,
        complete=how.repair,
        helper_memory=settings.helper_memory,
    )
    findings: dict[Path, list[Finding]] = {}
    for finding in inspector.root(root, pending):
        findings.setdefault(finding.directory, []).append(finding)
    tell(f"{root}: {len(upload_names(root))} uploads")
    if not how.repair:
        return [str(finding) for found in findings.values() for finding in found]
    repairer = Repairer(inspector, import_options(settings))
    wrong = []
    for path, found in findings.items():
        left = repairer.repair(path, found)
        for finding in found:
            if finding not in left:
                tell(f"repaired: {finding.directory.name}: {finding.sentence}")
        wrong += [str(finding) for finding in left]
    return wrong


def _check_directories(settings: Settings, tell: Callable[[str], None]) -> Iterator[str]:
    devices = set()
    for name, path in (("ROOT", settings.root), ("WRITING_PATH", settings.pending_path)):
        existing = next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))
        if not existing.is_dir():
            yield f"{name}: {existing} is not a directory"
            continue
        if not os.access(existing, os.W_OK | os.X_OK):
            yield f"{name}: {existing} can't be written by this user"
        devices.add(existing.stat().st_dev)
        state = "exists" if existing == path else f"will be made in {existing}"
        tell(f"{name}: {path} {state}, {shutil.disk_usage(existing).free / 1e9:.1f} GB free")
    if len(devices) > 1:
        yield "WRITING_PATH: must be on the same filesystem as ROOT"


def _check_engines(tell: Callable[[str], None]) -> Iterator[str]:
    for distribution, module in ENGINES.items():
        try:
            importlib.import_module(module)
            tell(f"{distribution} {version(distribution)}")
        except (ImportError, PackageNotFoundError) as error:
            yield f"{distribution}: can't be loaded: {error}"


def _check_formats(registry: FormatRegistry, tell: Callable[[str], None]) -> Iterator[str]:
    tell(f"formats: {', '.join(fmt.get_identifier() for fmt in registry)}")
    for failure in registry.failures:
        yield f"plug-in {failure.package}: {failure.reason}"
