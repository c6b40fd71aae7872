"""What the server counts, cheaply enough for every tile: one row of numbers for each process.

The rows of all processes are added up when somebody asks; exposition.py writes them as text.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from pims.api.metric_layout import (
    BOUNDS,
    BUCKETS,
    COUNT,
    COUNTERS,
    DURATION,
    DURATIONS,
    GAUGES,
    RENDERS,
    SENT,
    STATUS_CLASSES,
    Counter,
    Gauge,
    RequestKind,
)
from pims.api.shared_slots import SharedSlots

__all__ = ["METRICS_DIRECTORY", "Metrics", "Totals", "kind_of"]

METRICS_DIRECTORY = "PIMS_METRICS_DIRECTORY"
"""Variable of the environment: the directory in which the processes of one server count together."""
KINDS = {
    "tile": RequestKind.TILE,
    "normalized-tile": RequestKind.TILE,
    "thumb": RequestKind.THUMB,
    "resized": RequestKind.RESIZED,
    "window": RequestKind.WINDOW,
    "associated": RequestKind.ASSOCIATED,
}
UNAVAILABLE = int(HTTPStatus.SERVICE_UNAVAILABLE)
STORED_TILES = COUNTERS + int(Counter.STORED_TILES)
"""Known beforehand: it is the one counter that most tiles change."""
LONGEST_TAIL = 200
"""Characters at the end of a path that say what is asked for."""


class Totals(NamedTuple):
    """The rows of all processes put together."""

    values: list[float]
    """Counts of the processes that live and of those that ended; gauges of those that live."""
    processes: int
    """How many live."""


class Metrics:
    """The row of this process.

    `count` is for the thread of the event loop, so that it needs no lock; all else is for any thread.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """With a directory, the processes that use it are one server. Raises OSError."""
        self._slots = SharedSlots(COUNT, directory)
        self._values = self._slots.values
        self._lock = threading.Lock()
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        for gauge in Gauge:
            self._values[GAUGES + gauge] = 0.0  # they were those of a process that ended
        self._values[GAUGES + Gauge.START_TIME] = time.time()
        self._add(Counter.PROCESS_STARTS)
        self._running = 0
        self.watch(Gauge.MEMORY, _resident_bytes)
        self.watch(Gauge.RENDERS_RUNNING, lambda: self._running)

    def count(self, kind: int, status: int, size: int, seconds: float) -> None:
        """A request was answered.

        Parameters
        ----------
        kind : a RequestKind, or its number
        status : of HTTP, 100 to 599
        size : bytes of the body that were sent
        seconds : from the request to the last byte of its answer
        """
        values = self._values
        values[kind * STATUS_CLASSES + status // 100 - 1] += 1.0
        values[SENT + kind] += size
        durations = DURATIONS + kind * DURATION
        values[durations + bisect_left(BOUNDS, seconds)] += 1.0
        values[durations + BUCKETS] += seconds
        if status == UNAVAILABLE and kind != RequestKind.OTHER:
            self._add(Counter.REFUSALS)

    def stored_tile(self) -> None:
        """A tile was sent as it is stored."""
        with self._lock:
            self._values[STORED_TILES] += 1.0

    def cache_hit(self) -> None:
        """An answer was found in the cache of answers."""
        self._add(Counter.CACHE_HITS)

    def cache_miss(self) -> None:
        """An answer was looked for in the cache of answers, and was not there."""
        self._add(Counter.CACHE_MISSES)

    @contextmanager
    def rendering(self) -> Iterator[None]:
        """While the block runs, pixels are read, processed and encoded; how long it took is counted."""
        with self._lock:
            self._running += 1
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                self._running -= 1
                self._values[RENDERS + bisect_left(BOUNDS, seconds)] += 1.0
                self._values[RENDERS + BUCKETS] += seconds

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Have `read` called, from any thread, whenever the gauge is looked at."""
        self._watched.append((gauge, read))

    def sample(self) -> None:
        """Look at all gauges; the other processes see what was found last."""
        for gauge, read in self._watched:
            self._values[GAUGES + gauge] = read()

    def totals(self) -> Totals:
        """Everything counted by the processes of this server. Reads files. Raises OSError."""
        self.sample()
        totals = [0.0] * COUNT
        processes = 0
        started = []
        for values, lives in self._slots.everyone():
            for index in range(COUNT if lives else GAUGES):
                totals[index] += values[index]
            if lives:
                processes += 1
                started.append(values[GAUGES + Gauge.START_TIME])
        totals[GAUGES + Gauge.START_TIME] = min(started)
        return Totals(totals, processes)

    def close(self) -> None:
        """Nothing is counted after this. A server never closes: it counts until its process ends."""
        self._slots.close()

    def _add(self, counter: Counter) -> None:
        with self._lock:
            self._values[COUNTERS + counter] += 1.0


def kind_of(path: str) -> RequestKind:
    """What a path asks for, by the last of its words that says so."""
    if "/image/" not in path:
        return RequestKind.OTHER
    words = path[-LONGEST_TAIL:].split("/")
    if words[-2:-1] == ["associated"]:
        return RequestKind.ASSOCIATED
    for word in reversed(words):
        kind = KINDS.get(word.partition(".")[0])
        if kind is not None:
            return kind
    return RequestKind.OTHER


def _resident_bytes() -> float:
    """Memory of this process that is in use; 0 where the system does not tell it this way."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return 0.0
    return float(int(pages) * os.sysconf("SC_PAGE_SIZE"))
