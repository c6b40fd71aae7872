"""What people and programs are told of an import."""

from __future__ import annotations

import io

from pims.importer.events import EventState, ImportEvent, ImportStatus, ImportStep, StdoutListener, printable


def test_a_line_tells_of_every_step_and_every_tenth_of_it() -> None:
    stream = io.StringIO()
    listener = StdoutListener(stream)
    step = ImportStep.CONVERTING
    listener.notify(ImportEvent("a.tif", step, EventState.STARTED))
    for hundredth in range(100):
        listener.notify(ImportEvent("a.tif", step, EventState.PROGRESS, hundredth / 100))
    listener.notify(ImportEvent("a.tif", step, EventState.DONE))
    listener.notify(ImportEvent("a.tif", ImportStep.DEPLOYING, EventState.FAILED, message="no"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "a.tif: converting"
    assert lines[1:10] == [f"a.tif: converting: {tenth}0 %" for tenth in range(1, 10)]
    assert lines[10:] == ["a.tif: deploying failed"]


def test_a_name_can_t_move_the_cursor_of_a_terminal() -> None:
    assert printable("a\x1b[2Jb\n\udcff é 名") == "a\\x1b[2Jb\\n\\udcff é 名"


def test_imported_and_skipped_are_good() -> None:
    good = [status for status in ImportStatus if status.is_good]
    assert good == [ImportStatus.DEPLOYED, ImportStatus.SKIPPED]
