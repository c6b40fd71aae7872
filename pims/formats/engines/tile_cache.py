"""Decoded tiles kept for the next request: one cache per process, handed to every opened format."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from pims.cache.lru import BytesBoundedLRU

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TileCache"]


class TileCache:
    """Decoded tiles, least recently used first out, bounded by bytes.

    What is kept is shared between threads: it is read-only.
    """

    def __init__(self, max_bytes: int = 128 << 20) -> None:
        self._tiles: BytesBoundedLRU[NDArray[np.generic]] = BytesBoundedLRU(max_bytes)
        self._asked: set[Hashable] = set()
        self._asked_bytes = 0
        self._asked_before: set[Hashable] = set()

    def get_or_decode(
        self, key: Hashable, decode: Callable[[], NDArray[Any]], *, shared: bool = True
    ) -> NDArray[Any]:
        """The tile under `key`, decoded when it is not there (by two threads at once, each may decode it).

        `shared` is whether other requests need the tile as well. One that is all of what was asked is kept
        when it is asked for the second time: who pulls every tile once gains nothing from keeping them,
        and memory used again and again is faster than the megabytes of a cache.
        """
        tile = self._tiles.get(key)
        if tile is None:
            tile = decode()
            if self.keeps(tile.nbytes) and (shared or self._was_asked(key, tile.nbytes)):
                tile.flags.writeable = False
                self._tiles.put(key, tile, tile.nbytes)
        return tile

    def _was_asked(self, key: Hashable, byte_size: int) -> bool:
        """Whether the key was asked since about as many bytes were as can be kept; from now on it was."""
        if key in self._asked or key in self._asked_before:
            return True
        if self._asked_bytes >= self._tiles.max_bytes:
            self._asked_before, self._asked = self._asked, set()
            self._asked_bytes = 0
        self._asked.add(key)
        self._asked_bytes += byte_size
        return False

    def keeps(self, byte_size: int) -> bool:
        """Whether a tile of that size would be kept at all."""
        return self._tiles.keeps(byte_size)

    @property
    def bytes_used(self) -> int:
        return self._tiles.bytes_used
