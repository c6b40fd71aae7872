"""A local file read at absolute positions."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pims.errors import CorruptFile, StorageError

__all__ = ["LocalSource"]

RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Fail rather than wait for the disk; Linux only."""


class LocalSource:
    """A file on this machine, read with pread: no shared position, no lock, any thread.

    It stays the file that was opened, even when another takes its name.
    """

    def __init__(self, path: Path) -> None:
        """Raises StorageError when the file can't be opened or is no regular file."""
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{path.name}: can't be opened: {error.strerror}") from error
        except ValueError as error:  # a null character, or a lone surrogate
            raise StorageError(f"{path.name!r}: can't be opened: this can't be a file's name") from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise StorageError(f"{path.name}: is not a regular file")
        self.size = status.st_size
        self.revision = f"{status.st_dev:x}-{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"

    @property
    def path(self) -> Path | None:
        return self._path

    def fileno(self) -> int:
        """Its descriptor, which stays the source's; -1 when closed."""
        return self._fd

    def pread(self, offset: int, length: int, *, may_block: bool = True) -> bytes:
        """See ByteSource.pread."""
        if not may_block:
            return self.pread_behind(b"", offset, length)
        self._require_inside(offset, length)
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length:
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    raise CorruptFile("The file was cut while it was read.")
                data += more
        except OSError as error:
            raise StorageError(f"{self._path.name}: reading failed: {error.strerror}") from error
        return data

    def pread_behind(self, prefix: bytes, offset: int, length: int) -> bytes:
        """See ByteSource.pread_behind."""
        self._require_inside(offset, length)
        if not RWF_NOWAIT:
            raise BlockingIOError
        start = len(prefix)
        buffer = bytearray(start + length)
        buffer[:start] = prefix
        try:
            if os.preadv(self._fd, (memoryview(buffer)[start:],), offset, RWF_NOWAIT) < length:
                raise BlockingIOError
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a filesystem that can't tell
                raise BlockingIOError from error
            raise StorageError(f"{self._path.name}: reading failed: {error.strerror}") from error
        return bytes(buffer)

    def _require_inside(self, offset: int, length: int) -> None:
        if length < 0 or offset < 0 or offset + length > self.size:
            raise CorruptFile(
                f"The file ends too early: it has {self.size} bytes and refers to bytes {offset} "
                f"to {offset + length}."
            )

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
