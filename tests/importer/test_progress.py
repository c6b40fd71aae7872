"""The line of progress on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pims.importer.events import EventState, ImportEvent, ImportStep
from pims.importer.progress import CLEAR, ProgressLine


class Terminal:
    """A line of progress with a clock that is set by hand."""

    def __init__(self, columns: int = 80) -> None:
        self.stream = io.StringIO()
        self.now = 100.0
        self.line = ProgressLine(self.stream, lambda: self.now, lambda: columns)

    def tell(self, source: Path, step: ImportStep, state: EventState, fraction: float | None = None) -> None:
        self.line.notify(ImportEvent(str(source), step, state, fraction))

    @property
    def shown(self) -> str:
        return self.stream.getvalue().rpartition(CLEAR)[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.tif"
    path.write_bytes(b"")
    os.truncate(path, 500_000_000)
    return path


def test_a_long_step_has_a_rate_and_an_estimate(source: Path) -> None:
    terminal = Terminal()
    terminal.tell(source, ImportStep.CONVERTING, EventState.STARTED)
    assert terminal.shown == "a.tif: converting"
    terminal.now += 1
    terminal.tell(source, ImportStep.CONVERTING, EventState.PROGRESS, 0.05)
    assert terminal.shown == "a.tif: converting 5 %"
    terminal.now += 9
    terminal.tell(source, ImportStep.CONVERTING, EventState.PROGRESS, 0.1)
    assert terminal.shown == "a.tif: converting 10 %, 5 MB/s, 1:30 left"
    terminal.now += 30
    terminal.tell(source, ImportStep.CONVERTING, EventState.PROGRESS, 0.2)
    assert terminal.shown == "a.tif: converting 20 %, 2.5 MB/s, 2:40 left"
    assert "\n" not in terminal.stream.getvalue()


def test_all_running_imports_share_the_line_and_it_is_never_wider_than_the_terminal(
    source: Path, tmp_path: Path
) -> None:
    terminal = Terminal(columns=40)
    terminal.tell(source, ImportStep.CONVERTING, EventState.STARTED)
    terminal.tell(tmp_path / "missing.tif", ImportStep.EXTRACTING_DATA, EventState.STARTED)
    assert terminal.shown == "a.tif: converting | missing.tif: ext..."
    terminal.tell(source, ImportStep.CONVERTING, EventState.FAILED)
    terminal.now += 3
    terminal.tell(tmp_path / "missing.tif", ImportStep.EXTRACTING_DATA, EventState.PROGRESS, 0.75)
    assert terminal.shown == "missing.tif: extracting data 75 %, 0..."


def test_it_is_drawn_ten_times_a_second_at_most_and_cleared_for_other_lines(source: Path) -> None:
    terminal = Terminal()
    terminal.tell(source, ImportStep.CONVERTING, EventState.STARTED)
    for number in range(100):
        terminal.now += 0.01
        terminal.tell(source, ImportStep.CONVERTING, EventState.PROGRESS, number / 100)
    assert terminal.stream.getvalue().count(CLEAR) <= 11
    terminal.line.clear()
    assert terminal.shown == ""


@pytest.mark.parametrize("last", [EventState.STARTED, EventState.PROGRESS, EventState.DONE])
def test_an_import_that_ended_without_saying_so_leaves_the_line(
    source: Path, tmp_path: Path, last: EventState
) -> None:
    terminal = Terminal()
    terminal.tell(source, ImportStep.EXTRACTING_DATA, EventState.STARTED)
    terminal.tell(source, ImportStep.EXTRACTING_DATA, last)
    terminal.line.ended(str(source))
    terminal.line.ended("of which nothing was heard")
    terminal.tell(tmp_path / "b.tif", ImportStep.CONVERTING, EventState.STARTED)
    assert terminal.shown == "b.tif: converting"


def test_a_name_does_not_move_the_cursor(tmp_path: Path) -> None:
    terminal = Terminal()
    terminal.tell(tmp_path / "a\x1b[2J.tif", ImportStep.CONVERTING, EventState.STARTED)
    assert terminal.shown == "a\\x1b[2J.tif: converting"


def on_a_terminal(toys: Any, root: Path, *paths: Path) -> tuple[int, str]:
    """Exit code of `pims import`, and all that it wrote."""
    ours, theirs = pty.openpty()
    repository = Path(__file__).parents[2]
    modules = os.pathsep.join([str(repository), str(Path(toys.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": modules, "ROOT": str(root), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pims.cli", "import", *map(str, paths)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 4096):
                said += data
        except OSError:  # how a terminal says that nobody is at the other end
            pass
        os.close(ours)
    return process.returncode, said.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_command_draws_one_line_and_prints_results(tmp_path: Path, toys: Any) -> None:
    for name in ("a.toy", "b.toy"):
        (tmp_path / name).write_bytes(toys.Toy().as_bytes())
    code, said = on_a_terminal(toys, tmp_path / "root", tmp_path / "a.toy", tmp_path / "b.toy")
    assert code == 0
    lines = said.splitlines()
    assert len([line for line in lines if "imported as TOY" in line]) == 2
    assert lines[-1].endswith("2 imported, 0 skipped, 0 failed")
    assert "computing histogram" in said
    assert sum("\n" in part for part in said.split(CLEAR)) == 2


def test_what_was_skipped_and_what_was_killed_is_shown_no_longer(tmp_path: Path, toys: Any) -> None:
    known, killed, slow = (tmp_path / name for name in ("known.toy", "killed.toy", "slow.toy"))
    known.write_bytes(toys.Toy().as_bytes())
    killed.write_bytes(toys.Toy(behaviour="segfault").as_bytes())
    slow.write_bytes(toys.Toy(width=600, behaviour="slow").as_bytes())
    assert on_a_terminal(toys, tmp_path / "root", known)[0] == 0
    code, said = on_a_terminal(toys, tmp_path / "root", known, killed, slow)
    assert code == 1
    parts = said.split(CLEAR)
    for path, result in ((known, "was imported already"), (killed, "decoder stopped")):
        (told,) = (number for number, part in enumerate(parts) if result in part)
        drawn = [part for part in parts[told + 1 :] if part and "\n" not in part]
        assert drawn
        assert not any(path.name in part for part in drawn)
