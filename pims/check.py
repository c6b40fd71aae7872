"""Whether settings, directories and libraries are in order, before somebody needs them."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pims.formats.registry import FormatRegistry, discover_formats
from pims.settings import Settings, without_effect

__all__ = ["check_installation"]

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
