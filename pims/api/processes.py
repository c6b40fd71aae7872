"""The processes of one server: those that answer, and the one that starts them and ends them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import uvicorn
from uvicorn.supervisors import Multiprocess

__all__ = ["counting_directory", "run_processes"]

PREFIX = "pims-metrics-"
OWNER = "owner"
"""File in a counting directory, locked by the process that made it."""
ATTEMPTS = 10
"""To make one that no server that starts at the same time removes."""


class _Supervisor(Multiprocess):
    """As uvicorn's, but nobody can connect any more once the server is ending.

    The processes that answer close the socket they listen on and answer what they have. As long as this one
    kept it open, new connections would wait for an answer that nobody gives.
    """

    def terminate_all(self) -> None:
        super().terminate_all()
        for listening in self.sockets:
            listening.close()


def run_processes(app: str, *, workers: int, **options: Any) -> None:
    """Serve what the function of this name makes until a signal ends it; the options are those of uvicorn."""
    if workers == 1:
        uvicorn.run(app, factory=True, workers=1, **options)
    else:
        config = uvicorn.Config(app, factory=True, workers=workers, **options)
        _Supervisor(config, [config.bind_socket()]).run()


@contextmanager
def counting_directory() -> Iterator[Path | None]:
    """A private directory for what the processes count together; None where there is no room for one.

    Those of servers that were killed are removed.
    """
    try:
        directory, owner = _locked_directory()
    except OSError:
        yield None
        return
    try:
        with owner:
            for other in directory.parent.glob(f"{PREFIX}*"):
                with suppress(OSError):  # it belongs to somebody else, or was removed meanwhile
                    _remove_abandoned(other)
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _locked_directory() -> tuple[Path, BinaryIO]:
    """A new directory and its locked file. Raises OSError.

    Until the file is locked, another server that starts may take the directory for abandoned.
    """
    for _ in range(ATTEMPTS):
        with ExitStack() as undo:
            directory = Path(tempfile.mkdtemp(prefix=PREFIX))
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            owner = undo.enter_context((directory / OWNER).open("wb"))
            fcntl.flock(owner, fcntl.LOCK_EX)
            if os.fstat(owner.fileno()).st_nlink:  # nobody removed it meanwhile, and now nobody will
                undo.pop_all()
                return directory, owner
    raise FileNotFoundError(f"other servers removed {directory}")


def _remove_abandoned(directory: Path) -> None:
    """Unless the process that made it lives. Raises OSError."""
    if directory.lstat().st_uid != os.geteuid():
        return
    with (directory / OWNER).open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
