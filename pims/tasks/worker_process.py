"""One import in a forked process, under limits."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pims.files.atomic import write_all
from pims.formats.registry import FormatRegistry
from pims.importer.events import EventState, ImportEvent
from pims.importer.flow import import_file
from pims.importer.known import KnownUploads
from pims.tasks.parent import die_with_parent
from pims.tasks.protocol import Job, ProcessLimits, Setup, event_line, result_line

__all__ = ["fork_worker"]

logger = logging.getLogger("pims.tasks")

PROGRESS_INTERVAL = 0.1
"""Seconds between two progress events of one import."""


def fork_worker(
    job: Job, setup: Setup, registry: FormatRegistry, known: KnownUploads, inherited: Iterable[int]
) -> tuple[int, int]:
    """Start one import. The caller must have no threads.

    Parameters
    ----------
    inherited : descriptors of the caller that the worker must not keep

    Returns
    -------
    process id, and the descriptor on which its JSON lines arrive until it ends

    Raises OSError when the machine has no process left.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stderr.flush()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid == 0:
        _in_the_worker(job, setup, registry, known, [*inherited, reading], writing, parent)
    os.close(writing)
    return pid, reading


def _in_the_worker(
    job: Job,
    setup: Setup,
    registry: FormatRegistry,
    known: KnownUploads,
    inherited: Iterable[int],
    pipe: int,
    parent: int,
) -> None:
    """Never returns: whatever happens, this copy of the server must not go on as a second server."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(parent)
        for fd in inherited:
            os.close(fd)
        _limit(setup.limits)
        options = replace(setup.options, name=job.name, directory=job.directory)
        result = import_file(Path(job.source), options, registry, _PipeListener(pipe, job.id), known)
        write_all(pipe, result_line(job.id, result))
        code = 0
    except BrokenPipeError:
        pass  # the server of imports has ended; so does this
    except Exception:
        logger.exception("the import of %s could not be run", job.source)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _limit(limits: ProcessLimits) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory = limits.memory_bytes if hard == resource.RLIM_INFINITY else min(limits.memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.nice(limits.niceness)


class _PipeListener:
    """Sends events as JSON lines; raises BrokenPipeError when nobody listens any more."""

    def __init__(self, pipe: int, job_id: int) -> None:
        self._pipe = pipe
        self._job_id = job_id
        self._last = 0.0

    def notify(self, event: ImportEvent) -> None:
        now = time.monotonic()
        if event.state is EventState.PROGRESS and now - self._last < PROGRESS_INTERVAL:
            return
        self._last = now
        write_all(self._pipe, event_line(self._job_id, event))
