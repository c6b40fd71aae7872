"""A directory that a process works in, and what is left of it when that process is killed.

The sign is a lock on a file in the directory: the kernel takes it back when the process ends, however it
ends. The file appears locked already, so that nobody sees a claimed directory without its lock. Nothing
but directories with such a file is ever removed, whatever else the same folder holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from pathlib import Path

__all__ = ["Claim", "abandoned", "remove_abandoned", "wait_released"]

logger = logging.getLogger("pims.files")

SIGN = ".claim"
UNSEEN = ".claim.new"
"""The sign, until it is locked."""
CLAIMED = ("upload-", "demo-")
"""How names of directories begin that are claimed here."""
BEGUN_SECONDS = 60.0
"""A process that made a directory and did not sign it after this time has ended."""


class Claim:
    """A new directory that belongs to this process. Close it, or remove it."""

    def __init__(self, path: Path) -> None:
        """Make the directory, whose parent exists. Raises FileExistsError and other OSErrors."""
        path.mkdir()
        self.path = path
        self._fd = -1
        try:
            unseen = path / UNSEEN
            self._fd = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
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


def abandoned(parent: Path) -> list[Path]:
    """The directories in `parent` that were claimed by a process that has ended.

    One that was killed before it could put its sign there left it empty, or with a sign nobody saw yet.
    """
    try:
        return sorted(path for path in parent.iterdir() if not path.is_symlink() and _is_abandoned(path))
    except OSError:
        return []  # what needs the folder will say why


def remove_abandoned(parent: Path) -> None:
    """Remove the claimed directories in `parent` whose process has ended."""
    for path in abandoned(parent):
        logger.warning("%s was left by an import that was killed; removed", path.name)
        shutil.rmtree(path, ignore_errors=True)


def wait_released(path: Path, seconds: float) -> None:
    """Wait until whoever claimed a directory has ended, published it or removed it; not longer than that."""
    deadline = time.monotonic() + seconds
    while (path / SIGN).exists() and not _is_unlocked(path / SIGN) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_abandoned(path: Path) -> bool:
    if os.path.lexists(path / SIGN):
        return _is_unlocked(path / SIGN)
    if not path.name.startswith(CLAIMED) or time.time() - path.stat().st_mtime < BEGUN_SECONDS:
        return False
    try:
        return set(os.listdir(path)) <= {UNSEEN}
    except OSError:
        return False  # a file, or another's


def _is_unlocked(sign: Path) -> bool:
    try:
        fd = os.open(sign, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # gone meanwhile, or another's
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)
