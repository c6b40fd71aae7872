"""Files that are whole or not there: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["fsync_path", "write_all", "write_beside"]


@contextmanager
def write_beside(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends, and that is removed when it fails.

    Afterwards the content and the name are on the disk. Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def fsync_path(path: Path) -> None:
    """Flush a file or a directory to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write at the descriptor's position, in as many steps as the kernel wants. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
