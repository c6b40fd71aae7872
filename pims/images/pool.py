"""Opened images kept for the next request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pims.errors import ImageNotFound, Overloaded
from pims.files.layout import UploadDirectory, split_path
from pims.images.image import OpenedImage
from pims.images.opener import Opener

__all__ = ["ImagePool", "Lease"]

FRESH_SECONDS = 1.0
"""How long an opened image is trusted before its manifest is looked at again."""
CHECK_SECONDS = 1.0
"""How long the one who looks may take before another does."""
OPENING_SECONDS = 10.0
"""How long an image may take to open for others to wait for it."""
ALIASES_PER_IMAGE = 4


@dataclass(slots=True)
class _Entry:
    """One opened image and who uses it. Touched only under the pool's lock."""

    name: str
    image: OpenedImage
    stamp: tuple[int, int, int]
    checked_at: float
    used_at: float
    leases: int = 0
    awaited_until: float = 0.0
    """Somebody is looking at the manifest; until then the others don't wait for it."""
    retired: bool = False


class Lease:
    """An image that stays open until `release`; `with` does that."""

    __slots__ = ("_entry", "_pool", "image")

    def __init__(self, pool: ImagePool, entry: _Entry) -> None:
        self._pool = pool
        self._entry = entry
        self.image = entry.image

    def release(self) -> None:
        """Once, when nothing uses the image any more."""
        self._pool.give_back(self._entry)

    def __enter__(self) -> OpenedImage:
        return self.image

    def __exit__(self, *exc: object) -> None:
        self.release()


class ImagePool:
    """The images used last stay open, up to a number of them.

    An image is leased while it is used; one that is evicted or replaced is closed when its last lease
    ends. A change of a manifest (by any process) is seen within a second.
    """

    def __init__(self, opener: Opener, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._opener = opener
        self._capacity = capacity
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._aliases: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[str, tuple[threading.Lock, float]] = {}

    def lease(self, filepath: str) -> Lease:
        """The image at a path, opened when it is not. Blocks on the disk: not for an event loop.

        Raises ImageNotFound, RepresentationNotFound, FileError, StorageError.
        """
        return self._lease_known(filepath) or Lease(self, self._acquire(filepath))

    def lease_open(self, filepath: str) -> Lease | None:
        """The image at a path if it is open; never touches the disk.

        When it was not checked for a second, one caller gets none: it calls `lease`, which looks at the
        manifest, and those who come meanwhile don't wait for it.
        """
        return self._lease_known(filepath, share=True)

    def _lease_known(self, filepath: str, *, share: bool = False) -> Lease | None:
        now = self._clock()
        with self._lock:
            entry = self._aliases.get(filepath)
            if entry is None or entry.retired:
                return None
            stale = now - entry.checked_at > FRESH_SECONDS
            if stale and not (share and now < entry.awaited_until):
                entry.awaited_until = now + CHECK_SECONDS
                return None
            entry.leases += 1
            entry.used_at = now
            return Lease(self, entry)

    def close(self) -> None:
        """Close all images; those that are leased close when their last lease ends."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
            self._aliases.clear()
        for entry in entries:
            self._retire(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def _acquire(self, filepath: str) -> _Entry:
        name, _ = split_path(filepath)
        with self._lock:
            gate, began = self._opening.setdefault(name, (threading.Lock(), time.monotonic()))
        # One thread opens an image; the others wait for it, but not for one that hangs.
        if not gate.acquire(timeout=max(0.0, began + OPENING_SECONDS - time.monotonic())):
            raise Overloaded("The image is being opened for others; ask again in a moment.")
        try:
            return self._acquire_alone(name, filepath)
        finally:
            gate.release()
            with self._lock:
                self._opening.pop(name, None)

    def _acquire_alone(self, name: str, filepath: str) -> _Entry:
        try:
            stamp = _stamp(UploadDirectory(self._opener.root / name), filepath)  # before the manifest is read
        except ImageNotFound:
            with self._lock:
                gone = self._entries.pop(name, None)
            if gone is not None:
                self._retire(gone)
            raise
        directory, manifest, _, _ = self._opener.resolve(filepath)
        now = self._clock()
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None and entry.stamp == stamp:
                entry.checked_at = entry.used_at = now
                return self._lend(filepath, entry)
        opened = _Entry(name, self._opener.open(directory, manifest), stamp, now, now)
        with self._lock:
            outdated = self._insert(name, opened)
            self._lend(filepath, opened)
        for entry in outdated:
            self._retire(entry)
        return opened

    def _lend(self, filepath: str, entry: _Entry) -> _Entry:
        entry.leases += 1
        self._aliases[filepath] = entry
        while len(self._aliases) > self._capacity * ALIASES_PER_IMAGE:
            self._aliases.popitem(last=False)
        return entry

    def _insert(self, name: str, entry: _Entry) -> list[_Entry]:
        """Put an entry in; returns what had to go: an older opening of the image, the least used images."""
        evicted = [replaced] if (replaced := self._entries.pop(name, None)) else []
        self._entries[name] = entry
        while len(self._entries) > self._capacity:
            oldest = min(self._entries.values(), key=lambda known: known.used_at)
            evicted.append(self._entries.pop(oldest.name))
        return evicted

    def _retire(self, entry: _Entry) -> None:
        with self._lock:
            entry.retired = True
            for alias in [alias for alias, known in self._aliases.items() if known is entry]:
                del self._aliases[alias]
            unused = entry.leases == 0
        if unused:
            entry.image.close()

    def give_back(self, entry: _Entry) -> None:
        """End a lease."""
        with self._lock:
            entry.leases -= 1
            unused = entry.retired and entry.leases == 0
        if unused:
            entry.image.close()


def _stamp(directory: UploadDirectory, filepath: str) -> tuple[int, int, int]:
    """Changes whenever the manifest is written again."""
    try:
        status = directory.manifest.stat()
    except OSError as error:
        raise ImageNotFound(filepath) from error
    return status.st_ino, status.st_mtime_ns, status.st_size
