"""Values cached on the object that computed them."""

from __future__ import annotations

import threading
import time

import pytest

from pims.cache import SimpleDataCache, cached_property


class Counting(SimpleDataCache):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    @cached_property
    def slow(self) -> object:
        """Something slow."""
        self.calls.append("slow")
        time.sleep(0.02)
        return object()

    @cached_property
    def nothing(self) -> None:
        self.calls.append("nothing")

    @cached_property
    def nested(self) -> tuple[object, None]:
        return self.slow, self.nothing

    @cached_property
    def failing(self) -> int:
        self.calls.append("failing")
        raise ValueError("no")


def test_a_value_is_computed_once_also_when_it_is_none() -> None:
    counting = Counting()
    assert counting.slow is counting.slow
    for _ in range(2):
        _ = counting.nothing
    assert counting.calls == ["slow", "nothing"]
    assert counting.nested == (counting.slow, None)


def test_threads_that_ask_at_once_get_the_same() -> None:
    counting, found = Counting(), []
    threads = [threading.Thread(target=lambda: found.append(counting.nested)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(slow) for slow, _ in found}) == 1
    assert counting.calls == ["slow", "nothing"]


def test_an_error_is_not_kept() -> None:
    counting = Counting()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            _ = counting.failing
    assert counting.calls == ["failing", "failing"] and not counting.is_in_cache("failing")


def test_objects_do_not_share_and_forget_when_told() -> None:
    one, other = Counting(), Counting()
    assert one.slow is not other.slow
    assert one.is_in_cache("slow")
    one.clear_cache()
    assert not one.is_in_cache("slow") and other.is_in_cache("slow")
    assert one.get_cached("key", lambda: 3) == one.get_cached("key", lambda: 4) == 3


def test_on_the_class_it_is_the_property_with_its_words() -> None:
    assert isinstance(Counting.slow, cached_property)
    assert Counting.slow.__doc__ == "Something slow."
