"""The server of imports: python -m pims.tasks.child.

It loads numpy and every format once, then forks a worker for every job that arrives on its standard input
(see protocol). It has no threads, so that a fork is safe. It watches its workers: one that a signal ends, or
that takes too long, becomes a result like any other, and what it left on the disk is removed. When its
standard input ends, so do its workers.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import pkgutil
import selectors
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pims.errors import CorruptFile, StorageError
from pims.files.atomic import write_all
from pims.files.claim import wait_released
from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest
from pims.formats.registry import FormatRegistry, discover_formats
from pims.importer.events import EventState, ImportResult, ImportStatus, ImportStep
from pims.importer.failure import signal_sentence, status_of_step, time_sentence
from pims.importer.known import KnownUploads
from pims.tasks.protocol import (
    Job,
    Setup,
    event_from,
    job_from,
    ready_line,
    result_from,
    result_line,
    setup_from,
)
from pims.tasks.worker_process import fork_worker

__all__ = ["ImportServer", "left_behind", "main"]

logger = logging.getLogger("pims.tasks")

PRELOADED = ("numpy", "cv2", "pims.importer.convert", "pims.importer.histogram", "pims.importer.overviews")
LOG_LINE = "%(levelname)s %(name)s: %(message)s"
KILL_SECONDS = 5.0
"""How long a process that was killed may take to end what the kernel does for it."""
MAX_LINE = 1 << 20
"""Bytes of one message; a worker that sends more has lost its mind."""


@dataclass(slots=True)
class _Worker:
    """A running import, as the server sees it."""

    job: Job
    pid: int
    pipe: int
    deadline: float
    step: ImportStep = ImportStep.EXTRACTING_DATA
    format: str | None = None
    buffer: bytes = b""
    has_result: bool = False
    timed_out: bool = False

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class ImportServer:
    """Reads jobs, forks workers, writes what they say.

    Parameters
    ----------
    registry : the formats
    requests, answers : descriptors of the protocol
    """

    def __init__(self, registry: FormatRegistry, requests: int, answers: int) -> None:
        self._registry = registry
        self._requests = requests
        self._answers = answers
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, _Worker] = {}
        self._buffer = b""
        self._setup: Setup | None = None
        self._known: KnownUploads | None = None
        self._stopping = False
        self._wake_reading, self._wake_writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self) -> None:
        """Until the requests end or SIGTERM arrives."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: who started this decides
        signal.set_wakeup_fd(self._wake_writing)
        self._selector.register(self._requests, selectors.EVENT_READ)
        self._selector.register(self._wake_reading, selectors.EVENT_READ)
        try:
            self._write(ready_line())
            while not self._stopping:
                for key, _ in self._selector.select(self._patience()):
                    self._on_readable(key.fd)
                self._enforce_deadlines()
        except BrokenPipeError:
            pass  # nobody listens any more
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _patience(self) -> float | None:
        """Seconds until the next deadline."""
        running = [worker.deadline for worker in self._workers.values() if not worker.timed_out]
        return max(0.0, min(running) - time.monotonic()) if running else None

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            if now >= worker.deadline and not worker.timed_out:
                worker.timed_out = True
                worker.kill()

    def _on_readable(self, fd: int) -> None:
        if fd == self._requests:
            self._on_requests()
        elif fd in self._workers:
            self._on_worker(self._workers[fd])

    def _on_requests(self) -> None:
        data = os.read(self._requests, 65536)
        if not data:
            self._stopping = True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "setup" in message:
                self._setup = setup_from(message["setup"])
                self._known = KnownUploads(self._setup.options.root)
            else:
                self._start(job_from(message["job"]))

    def _start(self, job: Job) -> None:
        if self._setup is None or self._known is None:
            raise ValueError("a job before the setup")
        try:
            _assert_single_threaded()
            self._known.refresh()
            inherited = {self._answers, self._requests, self._wake_reading, self._wake_writing}
            inherited |= {self._selector.fileno(), *self._workers}
            pid, pipe = fork_worker(job, self._setup, self._registry, self._known, inherited)
        except (OSError, StorageError, RuntimeError) as error:
            sentence = f"The import can't be started: {error}"
            self._answer(job, ImportStep.EXTRACTING_DATA, sentence)
            return
        deadline = time.monotonic() + self._setup.limits.seconds
        self._workers[pipe] = _Worker(job, pid, pipe, deadline)
        self._selector.register(pipe, selectors.EVENT_READ)

    def _on_worker(self, worker: _Worker) -> None:
        data = os.read(worker.pipe, 65536)
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        for line in lines:
            self._forward(worker, line)
        if len(worker.buffer) > MAX_LINE:
            worker.kill()
        if not data:
            self._on_end(worker)

    def _forward(self, worker: _Worker, line: bytes) -> None:
        """Pass a worker's message on, when it is one: its memory may have been overwritten."""
        try:
            message = json.loads(line)
            if message["id"] != worker.job.id or worker.has_result:
                return
            if "event" in message:
                event = event_from(message["event"])
                worker.step = event.step
                worker.format = event.message if event.state is EventState.DONE else worker.format
            else:
                result_from(message["result"])
                worker.has_result = True
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        self._write(line + b"\n")

    def _on_end(self, worker: _Worker) -> None:
        status = self._forget(worker)
        if worker.has_result:
            return
        if worker.timed_out and self._setup is not None:
            sentence = time_sentence(self._setup.limits.seconds, worker.step)
        elif os.WIFSIGNALED(status):
            sentence = signal_sentence(os.WTERMSIG(status), worker.step)
        else:
            sentence = f"decoder ended the process (exit code {os.waitstatus_to_exitcode(status)}) during "
            sentence += worker.step.words
        self._answer(worker.job, worker.step, sentence, worker.format)

    def _forget(self, worker: _Worker) -> int:
        """Reap the process; returns its wait status."""
        self._selector.unregister(worker.pipe)
        del self._workers[worker.pipe]
        os.close(worker.pipe)
        _, status = os.waitpid(worker.pid, 0)
        return status

    def _answer(self, job: Job, step: ImportStep, sentence: str, detected: str | None = None) -> None:
        """The result of a worker that can't give it."""
        result = ImportResult(job.source, None, detected, status_of_step(step), step, sentence)
        if self._setup is not None:
            options = self._setup.options
            result = left_behind(options.root, options.pending, job, result)
        self._write(result_line(job.id, result))

    def _write(self, data: bytes) -> None:
        write_all(self._answers, data)

    def _stop(self) -> None:
        for worker in list(self._workers.values()):
            worker.kill()
            self._forget(worker)
            if self._setup is not None:
                shutil.rmtree(self._setup.options.pending / worker.job.directory, ignore_errors=True)
        signal.set_wakeup_fd(-1)
        self._selector.close()


def left_behind(root: Path, pending: Path, job: Job, failure: ImportResult) -> ImportResult:
    """Clean up after a process that was ended; its image may have been published just before."""
    wait_released(pending / job.directory, KILL_SECONDS)
    shutil.rmtree(pending / job.directory, ignore_errors=True)
    try:
        manifest = Manifest.read(UploadDirectory(root / job.directory).manifest)
    except (FileNotFoundError, CorruptFile, StorageError):
        return failure
    return ImportResult(
        job.source,
        f"{job.directory}/{manifest.file_name}",
        manifest.original_format,
        ImportStatus.DEPLOYED,
        ImportStep.DEPLOYING,
        warnings=manifest.warnings,
    )


def _assert_single_threaded() -> None:
    tasks = Path("/proc/self/task")
    count = len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()
    if count > 1:
        raise RuntimeError(
            f"the process has {count} threads after loading the formats, where a fork is not safe; "
            "a format plug-in must not start threads when it is imported"
        )


def _preload() -> None:
    """Load what every import needs, once; a worker then starts in milliseconds."""
    engines = importlib.import_module("pims.formats.engines")
    walked = [module.name for module in pkgutil.walk_packages(engines.__path__, "pims.formats.engines.")]
    for name in (*PRELOADED, *walked):
        try:
            importlib.import_module(name)
        except ImportError as error:
            logger.warning("%s can't be loaded: %s", name, error)


def main() -> int:
    """Serve imports on standard input and output until the input ends."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=LOG_LINE)
    # The check decides what is wrong with a file, not the warnings of a codec.
    logging.getLogger("imagecodecs").setLevel(logging.ERROR)
    # The protocol gets a descriptor of its own: what a codec prints goes to standard error.
    answers = os.dup(1)
    os.dup2(2, 1)
    requests = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    registry = discover_formats()
    _preload()
    gc.collect()
    gc.freeze()
    ImportServer(registry, requests, answers).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
