"""A format of raw pixels, a registry that has it, and a listener that keeps what it hears."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from pims.formats.common import FORMATS
from pims.formats.registry import FormatRegistry
from pims.importer.events import ImportEvent
from pims.importer.flow import ImportOptions


class Recorder:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[ImportEvent] = []

    def notify(self, event: ImportEvent) -> None:
        self.events.append(event)

    def steps(self) -> list[str]:
        return [f"{event.step.words} {event.state}" for event in self.events if event.state != "progress"]


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plug-in package `pims_plugin_format_toy`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "toy_plugin"))
    return importlib.import_module("pims_plugin_format_toy")


@pytest.fixture
def registry(toys: Any) -> FormatRegistry:
    return FormatRegistry([*toys.FORMATS, *FORMATS])


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def options(tmp_path: Path) -> ImportOptions:
    return ImportOptions(tmp_path / "root", tmp_path / "root" / ".pending")
