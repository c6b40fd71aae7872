"""Imports on this machine: a server of imports in a process of its own, supervised."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from pims.files.claim import remove_abandoned
from pims.files.layout import UploadDirectory
from pims.importer.events import ImportEvent, ImportListener, ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions
from pims.tasks.child import left_behind
from pims.tasks.protocol import Job, ProcessLimits, Setup, event_from, job_line, result_from, setup_line

__all__ = ["ImportProcesses"]

logger = logging.getLogger("pims.tasks")

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""The server of imports forks: no library may start threads in it."""
KEPT = re.compile(
    "HOME|LANG|LANGUAGE|LC_.*|LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_.*|PATH|PYTHON.*|TMPDIR|TZ|VIRTUAL_ENV"
)
"""Of the environment, what Python and libraries need. What decodes hostile files shall know no secret."""
STOP_SECONDS = 10.0
"""How long it may take to end its workers."""


class ImportProcesses:
    """Imports files in other processes, some at a time. A context manager; any thread may submit.

    Starts by removing what imports left whose processes were all killed.

    Parameters
    ----------
    options : where and how
    limits : of one import
    parallel : imports at a time; one per core by default
    listener : told of every event, from one thread
    """

    def __init__(
        self,
        options: ImportOptions,
        limits: ProcessLimits | None = None,
        *,
        parallel: int | None = None,
        listener: ImportListener | None = None,
    ) -> None:
        cores = os.cpu_count() or 1
        self._parallel = parallel or cores
        self._options = options
        if options.threads is None:
            options = replace(options, threads=max(1, cores // self._parallel))
        self._setup = Setup(options, limits or ProcessLimits())
        self._listener = listener
        self._lock = threading.RLock()
        self._waiting: deque[_Import] = deque()
        self._running: dict[int, _Import] = {}
        self._next_id = 1
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        remove_abandoned(options.pending)

    def submit(self, source: Path, name: str | None = None) -> Future[ImportResult]:
        """Import one file, as soon as there is room. Its future never fails; `close` cancels what waits.

        Parameters
        ----------
        name : the file's name as its user knows it, when the source has another
        """
        future: Future[ImportResult] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("submit after close")
            directory = UploadDirectory.new(self._options.pending).path.name
            job = Job(self._next_id, str(source), directory, name)
            self._waiting.append(_Import(job, future, _identity(source, name)))
            self._next_id += 1
            self._dispatch()
        return future

    def run(self, sources: Iterable[Path]) -> Iterator[ImportResult]:
        """Import these files; gives the results in order of completion."""
        futures = [self.submit(source) for source in sources]
        for future in as_completed(futures):
            yield future.result()

    def close(self) -> None:
        """End what runs, drop what waits; nothing half-made stays."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting:
                waiting.future.cancel()
            self._waiting.clear()
            process, reader = self._process, self._reader
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if reader is not None:
            reader.join()

    def __enter__(self) -> ImportProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _dispatch(self) -> None:
        """Start what may start. The lock is held."""
        while not self._closed and len(self._running) < self._parallel:
            entry = self._next_startable()
            if entry is None:
                return
            if not entry.future.set_running_or_notify_cancel():
                continue
            self._running[entry.job.id] = entry
            try:
                entry.process = self._process or self._start_process()
                assert entry.process.stdin is not None
                entry.process.stdin.write(job_line(entry.job))
                entry.process.stdin.flush()
            except OSError as error:
                self._process = None  # the next one gets a new process
                self._give_up(entry, f": {error.strerror}")

    def _next_startable(self) -> _Import | None:
        """The first that waits; but two files that may be the same are imported one after the other.

        Otherwise neither would be recognised as imported already.
        """
        busy = {entry.identity for entry in self._running.values()}
        for index, entry in enumerate(self._waiting):
            if entry.identity not in busy:
                del self._waiting[index]
                return entry
        return None

    def _start_process(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pims.tasks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C reaches only us; we end the others in order
        )
        assert process.stdin is not None
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), name="imports", daemon=True)
        self._reader.start()
        process.stdin.write(setup_line(self._setup))
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """The thread that hears one server of imports until it ends."""
        assert process.stdout is not None and process.stdin is not None
        ready = False
        try:
            with process.stdout:
                for line in process.stdout:
                    self._on_line(line)
                    ready = True
        except Exception:  # whatever it said: who waits for a result has to get one
            logger.exception("the server of imports said what nobody understands; it is ended")
            process.kill()
        code = process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()
        with self._lock:
            if self._process is process:
                self._process = None
            lost = [entry for entry in self._running.values() if entry.process is process]
            if lost and not self._closed:
                logger.error("the server of imports ended with code %d", code)
            if not ready:  # it can't start: the next one would not either
                lost += self._take_waiting()
            for entry in lost:
                self._give_up(entry, f" (code {code})")
            self._dispatch()

    def _take_waiting(self) -> list[_Import]:
        """Those that wait, as if they had been started. The lock is held."""
        taken = [entry for entry in self._waiting if entry.future.set_running_or_notify_cancel()]
        self._waiting.clear()
        self._running |= {entry.job.id: entry for entry in taken}
        return taken

    def _on_line(self, line: bytes) -> None:
        message = json.loads(line)
        if "ready" in message:
            return
        entry = self._running[message["id"]]
        if "event" in message:
            event = event_from(message["event"])
            entry.step = event.step
            self._tell(event)
            return
        with self._lock:
            self._finish(entry, result_from(message["result"]))
            self._dispatch()

    def _tell(self, event: ImportEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener.notify(event)
        except Exception:
            logger.exception("a listener failed; the imports go on")

    def _give_up(self, entry: _Import, detail: str) -> None:
        """Report an import whose server ended. The lock is held."""
        sentence = (
            f"The process of the imports ended{detail} during {entry.step.words}; import the file again."
        )
        status = ImportStatus.ERROR_DEPLOYMENT
        failure = ImportResult(entry.job.source, None, None, status, entry.step, sentence)
        self._finish(entry, left_behind(self._options.root, self._options.pending, entry.job, failure))

    def _finish(self, entry: _Import, result: ImportResult) -> None:
        """Give the result to who waits. The lock is held."""
        del self._running[entry.job.id]
        entry.future.set_result(result)


@dataclass(slots=True, eq=False)
class _Import:
    """One import, from its submission to its result."""

    job: Job
    future: Future[ImportResult]
    identity: tuple[str, int]
    process: subprocess.Popen[bytes] | None = None
    step: ImportStep = ImportStep.EXTRACTING_DATA


def _environment() -> dict[str, str]:
    """Of the server of imports, which gets its options on its standard input."""
    return {**{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}, **ONE_THREAD}


def _identity(source: Path, name: str | None) -> tuple[str, int]:
    """What two files have in common that may be the same."""
    try:
        size = source.stat().st_size
    except OSError:
        size = -1
    return name or source.name, size
