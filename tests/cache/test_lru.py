"""The bounded cache, against a list that forgets."""

from __future__ import annotations

import threading
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from pims.cache.lru import BytesBoundedLRU

BOUND = 100
Step: TypeAlias = tuple[str, int, int]
steps = st.lists(st.tuples(st.sampled_from(["get", "put", "clear"]), st.integers(0, 8), st.integers(0, 40)))


class Model:
    """(key, value, weight), the one used last at the end."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, int]] = []

    def get(self, key: int) -> int | None:
        for entry in self.entries:
            if entry[0] == key:
                self.entries.remove(entry)
                self.entries.append(entry)
                return entry[1]
        return None

    def put(self, key: int, value: int, weight: int) -> None:
        if weight > BOUND / 4:
            return
        self.entries = [entry for entry in self.entries if entry[0] != key]
        self.entries.append((key, value, weight))
        while sum(entry[2] for entry in self.entries) > BOUND:
            del self.entries[0]


@given(steps)
def test_it_behaves_as_the_obvious_one(asked: list[Step]) -> None:
    cache: BytesBoundedLRU[int] = BytesBoundedLRU(BOUND)
    model = Model()
    for number, (what, key, weight) in enumerate(asked):
        if what == "get":
            assert cache.get(key) == model.get(key)
        elif what == "put":
            cache.put(key, number, weight)
            model.put(key, number, weight)
        elif weight == 0:
            cache.clear()
            model.entries.clear()
        assert len(cache) == len(model.entries)
        assert cache.bytes_used == sum(entry[2] for entry in model.entries) <= BOUND


def test_threads_do_not_break_the_account() -> None:
    cache: BytesBoundedLRU[int] = BytesBoundedLRU(BOUND)

    def work(seed: int) -> None:
        for number in range(3000):
            key = (number * seed) % 17
            cache.put(key, number, number % 26)
            cache.get((key + 1) % 17)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weights = [weight for _, weight in cache._entries.values()]
    assert cache.bytes_used == sum(weights) <= BOUND
    cache.clear()
    assert cache.bytes_used == len(cache) == 0
