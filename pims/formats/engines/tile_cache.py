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

    What it returns is shared between threads: every array in it is read-only.
    """

    def __init__(self, max_bytes: int = 128 << 20) -> None:
        self._tiles: BytesBoundedLRU[NDArray[np.generic]] = BytesBoundedLRU(max_bytes)

    def get_or_decode(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The tile under `key`, decoded when it is not there (by two threads at once, each may decode it)."""
        tile = self._tiles.get(key)
        if tile is None:
            tile = decode()
            tile.flags.writeable = False
            self._tiles.put(key, tile, tile.nbytes)
        return tile

    def keeps(self, byte_size: int) -> bool:
        """Whether a tile of that size would be kept at all."""
        return self._tiles.keeps(byte_size)

    @property
    def bytes_used(self) -> int:
        return self._tiles.bytes_used
