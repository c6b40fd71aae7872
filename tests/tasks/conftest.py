"""Toy images, and imports of them in real processes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pims.importer.flow import ImportOptions

PLUGIN = Path(__file__).parents[1] / "toy_plugin"


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plug-in package `pims_plugin_format_toy`, also for the processes that are started."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    paths = [str(PLUGIN), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return importlib.import_module("pims_plugin_format_toy")


@pytest.fixture
def write_toy(toys: Any, tmp_path: Path) -> Callable[..., Path]:
    """Writes tmp_path/in/<name>, with the fields of Toy."""

    def write(name: str, **fields: Any) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(toys.Toy(**fields).as_bytes())
        return path

    return write


@pytest.fixture
def options(tmp_path: Path) -> ImportOptions:
    return ImportOptions(tmp_path / "root", tmp_path / "root" / ".pending")


@pytest.fixture
def assert_nothing_half_made(options: ImportOptions) -> Callable[[], None]:
    """Private directories are gone, and every upload has all of its files."""

    def check() -> None:
        assert not options.pending.exists() or list(options.pending.iterdir()) == []
        for upload in options.root.glob("upload-*"):
            names = {path.name for path in (upload / "processed").iterdir()}
            assert {"manifest.json", "histogram"} <= names
            assert len(names) == 4

    return check
