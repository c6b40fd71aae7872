"""Take the bytes in: a private copy of the user's file and its digest, in one pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pims.errors import StorageError
from pims.files.atomic import write_all
from pims.files.source import LocalSource

__all__ = ["copy_with_digest", "digest_of", "regular_size"]

CHUNK = 8 << 20


def regular_size(source: Path) -> int:
    """Bytes of a regular file that can be opened. Raises StorageError."""
    with LocalSource(source) as file:
        return file.size


def digest_of(source: Path) -> str:
    """sha256 of a file, hexadecimal. Raises StorageError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with LocalSource(source) as file, _told(f"{source.name}: reading failed"):
        while count := os.readv(file.fileno(), [buffer]):
            digest.update(buffer[:count])
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
    StorageError : the disk refuses, `destination` exists, or the file was written meanwhile
    """
    digest = hashlib.sha256()
    with LocalSource(source) as file, _new_file(destination) as writing:
        before = os.fstat(file.fileno())
        done, shares = 0, hasattr(os, "copy_file_range")
        size = before.st_size
        while done < size:
            length = min(CHUNK, size - done)
            copied = _share(file.fileno(), writing, length, done) if shares else 0
            shares = copied > 0
            with _told(f"{source.name}: reading failed"):
                data = os.pread(writing if shares else file.fileno(), copied or length, done)
            if not data:
                raise StorageError(f"{source.name} got shorter while it was copied.")
            if not shares:
                _write_at(destination, writing, data, done)
            digest.update(data)
            done += len(data)
            progress(done / size)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise StorageError(f"{source.name} changed while it was copied; import it when it is whole.")
        return size, digest.hexdigest()


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Descriptor of a file that did not exist, flushed to the disk at the end."""
    with _told(f"{path.name} can't be made"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        yield fd
        with _told(f"{path.name} can't be written"):
            os.fsync(fd)
    finally:
        os.close(fd)


def _share(reading: int, writing: int, length: int, offset: int) -> int:
    """Bytes the kernel copied by itself; 0 when it can't between these two (the caller then copies)."""
    try:
        return os.copy_file_range(reading, writing, length, offset, offset)
    except OSError:
        return 0


def _write_at(path: Path, fd: int, data: bytes, offset: int) -> None:
    with _told(f"{path.name} can't be written"):
        os.lseek(fd, offset, os.SEEK_SET)
        write_all(fd, data)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The disk's refusal as ours."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}") from error
