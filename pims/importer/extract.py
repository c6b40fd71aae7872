"""Take the bytes in: a private copy of the user's file and its digest, in one pass."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pims.errors import StorageError

__all__ = ["copy_with_digest", "digest_of", "fsync_path", "regular_size"]

CHUNK = 8 << 20


@contextmanager
def _opened(source: Path) -> Iterator[int]:
    """A regular file opened for reading. O_NONBLOCK: a named pipe must not make us wait for a writer."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StorageError(f"{source.name} can't be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StorageError(f"{source.name} is not a regular file; only files can be imported.")
        yield fd
    finally:
        os.close(fd)


def regular_size(source: Path) -> int:
    """Bytes of a regular file that can be opened. Raises StorageError."""
    with _opened(source) as fd:
        return os.fstat(fd).st_size


def digest_of(source: Path) -> str:
    """sha256 of a file, hexadecimal. Raises StorageError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with _opened(source) as fd:
        try:
            while count := os.readv(fd, [buffer]):
                digest.update(buffer[:count])
        except OSError as error:
            raise StorageError(f"{source.name}: reading failed: {error.strerror}") from error
    return digest.hexdigest()


def copy_with_digest(source: Path, destination: Path, progress: Callable[[float], None]) -> tuple[int, str]:
    """Copy a regular file to a new one, flushed to the disk; the source is only read.

    The digest is of the bytes that were written, whatever happens to the source meanwhile. Where the
    filesystem can share blocks (copy_file_range), it does.

    Returns
    -------
    bytes copied, sha256 in hexadecimal

    Raises
    ------
    StorageError, also when the file got shorter or longer while it was copied
    """
    digest = hashlib.sha256()
    with _opened(source) as reading:
        size = os.fstat(reading).st_size
        writing = os.open(destination, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            done, shares = 0, hasattr(os, "copy_file_range")
            while done < size:
                length = min(CHUNK, size - done)
                copied = _share(reading, writing, length, done) if shares else 0
                shares = copied > 0
                data = os.pread(writing if shares else reading, copied or length, done)
                if not data:
                    raise StorageError(f"{source.name} got shorter while it was copied.")
                if not shares:
                    _write_all(writing, data, done)
                digest.update(data)
                done += len(data)
                progress(done / size)
            if os.fstat(reading).st_size != size:
                raise StorageError(f"{source.name} changed while it was copied; import it when it is whole.")
            os.fsync(writing)
        finally:
            os.close(writing)
    return size, digest.hexdigest()


def _share(reading: int, writing: int, length: int, offset: int) -> int:
    """Bytes the kernel copied by itself; 0 when it can't between these two (the caller then copies)."""
    try:
        return os.copy_file_range(reading, writing, length, offset, offset)
    except OSError:
        return 0


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def fsync_path(path: Path) -> None:
    """Flush a file or a directory to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
