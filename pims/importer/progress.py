"""One line on a terminal that says how far the running imports are, how fast, and how long they will take."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pims.importer.events import EventState, ImportEvent, ImportStep, printable

__all__ = ["ProgressLine"]

CLEAR = "\r\x1b[K"
DRAW_INTERVAL = 0.1
"""Seconds between two changes of the line."""
LONG_SECONDS = 2.0
"""A step that takes less has no rate and no estimate: they would only flicker."""


@dataclass(slots=True)
class _Running:
    """One import and the step it is in."""

    name: str
    megabytes: float
    """Size of the file, to which rates refer; 0 when it is not known."""
    step: ImportStep
    started: float
    fraction: float = 0.0

    def text(self, now: float) -> str:
        text = f"{self.name}: {self.step.words}"
        if not self.fraction:
            return text
        text += f" {self.fraction:.0%}".replace("%", " %")
        elapsed = now - self.started
        if elapsed < LONG_SECONDS:
            return text
        if self.megabytes:
            text += f", {self.megabytes * self.fraction / elapsed:.3g} MB/s"
        return f"{text}, {_duration(elapsed * (1 - self.fraction) / self.fraction)} left"


class ProgressLine:
    """Draws the line over itself. A listener of imports; any thread may clear the line.

    Parameters
    ----------
    stream : a terminal
    clock : seconds
    columns : width of the terminal
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._columns = columns
        self._running: dict[str, _Running] = {}
        self._drawn = 0.0
        self._lock = threading.Lock()

    def notify(self, event: ImportEvent) -> None:
        now = self._clock()
        with self._lock:
            self._note(event, now)
            if event.state is EventState.STARTED or now - self._drawn >= DRAW_INTERVAL:
                self._draw(now)

    def clear(self) -> None:
        """Make room for a line of somebody else; the next event draws again."""
        with self._lock:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._drawn = 0.0

    def ended(self, source: str) -> None:
        """That import has its result; not every one has an event that says so."""
        with self._lock:
            self._running.pop(source, None)

    def _note(self, event: ImportEvent, now: float) -> None:
        if event.state is EventState.STARTED:
            path = Path(event.source)
            known = self._running.get(event.source)
            size = known.megabytes if known else _megabytes(path)
            self._running[event.source] = _Running(printable(path.name), size, event.step, now)
        elif event.state is EventState.PROGRESS and event.source in self._running:
            self._running[event.source].fraction = event.fraction or 0.0
        elif event.state is EventState.FAILED or event.step is ImportStep.DEPLOYING:
            self._running.pop(event.source, None)

    def _draw(self, now: float) -> None:
        line = " | ".join(running.text(now) for running in self._running.values())
        room = max(self._columns() - 1, 10)
        self._stream.write(CLEAR + (line if len(line) <= room else f"{line[: room - 3]}..."))
        self._stream.flush()
        self._drawn = now


def _megabytes(path: Path) -> float:
    try:
        return path.stat().st_size / 1e6
    except OSError:
        return 0.0


def _duration(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
