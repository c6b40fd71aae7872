"""Files that are written while they are imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pims.formats.registry import discover_formats
from pims.importer.events import EventState, ImportEvent, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions, import_file
from tests.faults.conftest import Root, write_strips, write_tiles

Change = Callable[[Path], None]


class Changing:
    """Does something to the file as soon as a step has come so far."""

    def __init__(self, source: Path, step: ImportStep, state: EventState, change: Change) -> None:
        self._source, self._step, self._state, self._change = source, step, state, change
        self.done = False

    def notify(self, event: ImportEvent) -> None:
        if not self.done and (event.step, event.state) == (self._step, self._state):
            self.done = True
            self._change(self._source)


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100_000))


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"something else")


def replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"another file")


@pytest.mark.parametrize("change", [shrink, grow, overwrite])
def test_a_file_that_is_written_while_it_is_copied_is_refused(
    tmp_path: Path, root: Root, change: Change
) -> None:
    source = write_strips(tmp_path / "a.tif")
    listener = Changing(source, ImportStep.EXTRACTING_DATA, EventState.PROGRESS, change)
    options = ImportOptions(root.path, root.pending)
    result = import_file(source, options, discover_formats(), listener)
    assert listener.done
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert result.step is ImportStep.EXTRACTING_DATA
    assert str(result.error).startswith("a.tif changed while it was copied")
    root.assert_nothing_half_made()
    write_strips(source)
    again = import_file(source, options, discover_formats(), listener)
    assert again.status is ImportStatus.DEPLOYED


@pytest.mark.parametrize("step", [s for s in ImportStep if s is not ImportStep.EXTRACTING_DATA])
@pytest.mark.parametrize("change", [shrink, overwrite, replace, Path.unlink])
def test_what_happens_to_the_file_once_it_is_copied_does_not_matter(
    tmp_path: Path, root: Root, step: ImportStep, change: Change
) -> None:
    write = write_strips if step is ImportStep.CONVERTING else write_tiles
    source = write(tmp_path / "a.tif")
    listener = Changing(source, step, EventState.STARTED, change)
    result = import_file(source, ImportOptions(root.path, root.pending), discover_formats(), listener)
    assert listener.done
    assert result.status is ImportStatus.DEPLOYED
    root.assert_nothing_half_made()
