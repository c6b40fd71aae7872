"""Where the bytes of a file come from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["ByteSource"]


class ByteSource(Protocol):
    """A file that is read at absolute positions: no shared position, no lock, any thread.

    The opener makes it and closes it; formats and readers only read it.
    """

    @property
    def size(self) -> int:
        """Bytes in the file."""

    @property
    def revision(self) -> str:
        """Changes when the content does; the same in every process."""

    @property
    def path(self) -> Path | None:
        """The file on this machine, when there is one."""

    def pread(self, offset: int, length: int, *, may_block: bool = True) -> bytes:
        """Read exactly `length` bytes at `offset`.

        Raises CorruptFile when the file ends before, StorageError when the disk fails, and
        BlockingIOError when `may_block` is false and the bytes are not in memory.
        """

    def pread_behind(self, prefix: bytes, offset: int, length: int) -> bytes:
        """`prefix` followed by `length` bytes at `offset`, which have to be in memory; with one copy less.

        Raises as `pread` with `may_block` false.
        """

    def close(self) -> None:
        """Give the file back. Reading afterwards raises StorageError."""
