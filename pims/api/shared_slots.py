"""Numbers of one process that the other processes of the same server can read."""

from __future__ import annotations

import fcntl
import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["SharedSlots"]

MAX_PROCESSES = 4096
BYTES = 8
"""Of one number."""


class SharedSlots:
    """A row of numbers in a small file of the server's directory, written as memory.

    A process holds the lock of its file as long as it lives, and leaves the file behind: what it counted is
    not lost with it. A process that starts later takes such a file over and counts on, so that there are
    never more files than there were processes at one time.

    Without a directory, the numbers are those of this process alone.
    """

    def __init__(self, count: int, directory: Path | None = None) -> None:
        """Raises OSError when the directory can't be used."""
        self._size = count * BYTES
        self._directory = directory
        self._name = ""
        self._file = -1
        if directory is not None:
            self._name, self._file = _take_file(directory, self._size)
        self._memory = mmap.mmap(self._file, self._size)
        self.values = memoryview(self._memory).cast("d")
        """Read and written as a list of floats."""

    def everyone(self) -> Iterator[tuple[Sequence[float], bool]]:
        """The numbers of every process, this one first, and whether it still lives."""
        yield self.values.tolist(), True
        if self._directory is None:
            return
        for name in sorted(os.listdir(self._directory)):
            if name != self._name:
                values, lives = _look(self._directory / name)
                if len(values) * BYTES == self._size:  # or it is being made just now
                    yield values, lives

    def close(self) -> None:
        """Let go of the file; the values can't be used any more."""
        self.values.release()
        self._memory.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _take_file(directory: Path, size: int) -> tuple[str, int]:
    """The first file whose process has ended, or a new one: its name and descriptor."""
    for number in range(MAX_PROCESSES):
        file = os.open(directory / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(file, 0, size)  # so that a full disk is told here, not by a signal later
        except BlockingIOError:
            os.close(file)
        except OSError:
            os.close(file)
            raise
        else:
            return str(number), file
    raise OSError("too many processes")


def _look(path: Path) -> tuple[Sequence[float], bool]:
    with path.open("rb") as file:
        content = file.read()
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            lives = False
        except BlockingIOError:
            lives = True
    values = array("d")
    values.frombytes(content[: len(content) // BYTES * BYTES])
    return values, lives
