"""A directory that a process works in, and what is left of it when that process is killed.

The sign is a lock on a file in the directory: the kernel takes it back when the process ends, however it
ends. The file appears locked already, so that nobody sees a claimed directory without its lock. Nothing
but directories with such a file is ever removed, whatever else the same folder holds.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from pathlib import Path

__all__ = ["Claim", "remove_abandoned"]

logger = logging.getLogger("pims.files")

SIGN = ".claim"


class Claim:
    """A new directory that belongs to this process. Close it, or remove it."""

    def __init__(self, path: Path) -> None:
        """Make the directory, whose parent exists. Raises FileExistsError and other OSErrors."""
        path.mkdir()
        self.path = path
        self._fd = -1
        try:
            unseen = path / f"{SIGN}.new"
            self._fd = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unseen.rename(path / SIGN)
            except OSError:  # a filesystem without locks: nobody may take the directory for abandoned
                unseen.unlink()
        except BaseException:
            self.remove()
            raise

    def hide(self) -> None:
        """Take the sign away, as the last thing before the directory is published. Raises OSError."""
        (self.path / SIGN).unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the directory to whoever finds it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Remove the directory with all there is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()


def remove_abandoned(parent: Path) -> None:
    """Remove the claimed directories in `parent` whose process has ended."""
    try:
        signs = list(parent.glob(f"*/{SIGN}"))
    except OSError:
        return  # what needs the folder will say why
    for sign in signs:
        if _is_abandoned(sign):
            logger.warning("%s was left by an import that was killed; removed", sign.parent.name)
            shutil.rmtree(sign.parent, ignore_errors=True)


def _is_abandoned(sign: Path) -> bool:
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
