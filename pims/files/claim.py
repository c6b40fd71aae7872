"""A directory that a process works in, and what is left of it when that process is killed.

The sign is a lock on a file in the directory: the kernel takes it back when the process ends, however it
ends. The file appears locked already, so that nobody sees a claimed directory without its lock. Nothing
but directories with a name and a sign that are made here is ever removed, whatever else the same folder
holds, and nothing is done in a folder that a link leads to.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import time
from pathlib import Path

from pims.errors import StorageError
from pims.files.atomic import write_all

__all__ = ["Claim", "abandoned", "make_parent", "remove_abandoned", "wait_released"]

logger = logging.getLogger("pims.files")

SIGN = ".claim"
UNSEEN = ".claim.new"
"""The sign, until it is locked."""
MAGIC = b"PIMS works in this directory while this file is locked, and removes it afterwards.\n"
"""What a sign says: a file that somebody else called so says something else."""
CLAIMED = re.compile(r"(?:upload|demo)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names of directories that are claimed here."""
BEGUN_SECONDS = 60.0
"""A process that made a directory and did not sign it after this time has ended."""


class Claim:
    """A new directory that belongs to this process. Close it, or remove it."""

    def __init__(self, path: Path) -> None:
        """Make the directory, whose parent exists.

        Raises FileExistsError and other OSErrors, StorageError when the parent is a link.
        """
        _refuse_link(path.parent)
        path.mkdir()
        self.path = path
        self._fd = -1
        try:
            unseen = path / UNSEEN
            self._fd = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            write_all(self._fd, MAGIC)
            os.fsync(self._fd)  # a sign that says nothing after a power failure would be nobody's
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unseen.rename(path / SIGN)
            except OSError:  # a filesystem without locks: nobody may take the directory for abandoned
                unseen.unlink()
        except BaseException:
            self.remove()
            raise

    def publish(self, path: Path) -> None:
        """Give the directory its final name, where it is nobody's any more.

        The sign is there until it has that name: whoever is killed in between leaves either a claimed
        directory or a published one. Raises OSError, when nothing happened.
        """
        self.path.rename(path)
        with contextlib.suppress(OSError):
            (path / SIGN).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the directory to whoever finds it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the directory with all there is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()


def make_parent(parent: Path) -> None:
    """The folder that claimed directories are made in, made if it is missing.

    Raises StorageError when it is a link, before anything is made; OSError.
    """
    _refuse_link(parent)
    parent.mkdir(parents=True, exist_ok=True)


def abandoned(parent: Path) -> list[Path]:
    """The directories in `parent` that were claimed by a process that has ended.

    One that was killed before it could put its sign there left it empty, or with a sign nobody saw yet.
    Raises StorageError when `parent` is a link.
    """
    _refuse_link(parent)
    try:
        return sorted(path for path in parent.iterdir() if _is_abandoned(path))
    except OSError:
        return []  # what needs the folder will say why


def remove_abandoned(parent: Path) -> None:
    """Remove the claimed directories in `parent` whose process has ended.

    Raises StorageError when `parent` is a link.
    """
    for path in abandoned(parent):
        logger.warning("%s was left by an import that was killed; removed", path.name)
        shutil.rmtree(path, ignore_errors=True)  # never through a link, not even if it became one


def wait_released(path: Path, seconds: float) -> None:
    """Wait until whoever claimed a directory has ended, published it or removed it; not longer than that."""
    deadline = time.monotonic() + seconds
    while (path / SIGN).exists() and not _is_released(path / SIGN) and time.monotonic() < deadline:
        time.sleep(0.01)


def _refuse_link(parent: Path) -> None:
    """Raises StorageError for a link: who made it decides what imports write to and remove from."""
    if os.path.islink(parent):  # noqa: PTH114 - raises nothing: what needs the folder will say why
        raise StorageError(
            f"{parent} is a symbolic link, and imports are made and removed there; put a directory in its "
            "place, or set WRITING_PATH to the directory that is meant."
        )


def _is_abandoned(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False  # gone meanwhile
    if not stat.S_ISDIR(status.st_mode) or not CLAIMED.fullmatch(path.name):
        return False
    if os.path.lexists(path / SIGN):
        return _is_released(path / SIGN)
    if time.time() - status.st_mtime < BEGUN_SECONDS:
        return False
    try:
        names = set(os.listdir(path))
    except OSError:
        return False  # another's
    return not names or (names == {UNSEEN} and _is_begun(path / UNSEEN))


def _is_begun(unseen: Path) -> bool:
    """Whether a file is as much of a sign as was written."""
    try:
        fd = os.open(unseen, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return MAGIC.startswith(_content(fd))
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_released(sign: Path) -> bool:
    """Whether a file is a sign of ours that nobody holds."""
    try:
        fd = os.open(sign, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # gone meanwhile, or another's
    try:
        if _content(fd) != MAGIC:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def _content(fd: int) -> bytes:
    """What a file begins with, a byte more than a sign has. Raises OSError, also for what is no file."""
    return os.pread(fd, len(MAGIC) + 1, 0)
