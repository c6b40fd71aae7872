"""The cache of decoded tiles."""

from __future__ import annotations

import numpy as np

from pims.formats.engines.tile_cache import TileCache


def test_a_tile_is_decoded_once_and_shared_read_only() -> None:
    cache, calls = TileCache(1000), []

    def decode() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        calls.append(1)
        return np.zeros(100, np.uint8)

    first = cache.get_or_decode("key", decode)
    assert cache.get_or_decode("key", decode) is first
    assert len(calls) == 1 and cache.bytes_used == 100
    assert not first.flags.writeable


def test_what_is_too_heavy_is_given_and_not_kept() -> None:
    cache = TileCache(1000)
    assert cache.keeps(250) and not cache.keeps(251)
    heavy = cache.get_or_decode("key", lambda: np.zeros(251, np.uint8))
    assert heavy.nbytes == 251 and heavy.flags.writeable and cache.bytes_used == 0


def test_the_tiles_used_least_recently_go_first() -> None:
    cache = TileCache(1000)
    tiles = {key: cache.get_or_decode(key, lambda: np.zeros(250, np.uint8)) for key in "abcd"}
    cache.get_or_decode("a", lambda: np.ones(250, np.uint8))
    cache.get_or_decode("e", lambda: np.ones(250, np.uint8))
    assert cache.get_or_decode("a", lambda: np.ones(250, np.uint8)) is tiles["a"]
    assert cache.get_or_decode("b", lambda: np.ones(250, np.uint8)) is not tiles["b"]
    assert cache.bytes_used == 1000


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = TileCache(0)
    cache.get_or_decode("key", lambda: np.zeros(1, np.uint8))
    assert cache.bytes_used == 0


def test_a_tile_nobody_shares_is_kept_when_it_is_asked_again() -> None:
    cache, decode = TileCache(1000), lambda: np.zeros(100, np.uint8)
    first = cache.get_or_decode("key", decode, shared=False)
    assert cache.bytes_used == 0 and first.flags.writeable
    second = cache.get_or_decode("key", decode, shared=False)
    assert second is not first and cache.bytes_used == 100 and not second.flags.writeable
    assert cache.get_or_decode("key", decode, shared=False) is second


def test_what_was_asked_is_forgotten_when_the_cache_would_have_lost_it() -> None:
    cache, decode = TileCache(1000), lambda: np.zeros(100, np.uint8)
    for key in range(25):
        cache.get_or_decode(key, decode, shared=False)
    cache.get_or_decode(0, decode, shared=False)
    assert cache.bytes_used == 0
    cache.get_or_decode(20, decode, shared=False)
    assert cache.bytes_used == 100
