"""Values cached on the object that computed them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["SimpleDataCache", "cached_property"]

T = TypeVar("T")


class SimpleDataCache:
    """Gives an object a cache of its own, safe to use from several threads."""

    def __init__(self) -> None:
        self._cache: dict[str, Any] = {}
        self._cache_lock = threading.RLock()

    def get_cached(self, key: str, compute: Callable[[], T]) -> T:
        """The value under `key`, computed once on first use."""
        try:
            value: T = self._cache[key]
        except KeyError:
            with self._cache_lock:
                if key in self._cache:
                    value = self._cache[key]
                else:
                    value = self._cache[key] = compute()
        return value

    def is_in_cache(self, key: str) -> bool:
        return key in self._cache

    def clear_cache(self) -> None:
        with self._cache_lock:
            self._cache.clear()


class cached_property(Generic[T]):  # noqa: N801 - named as functools' own, which it replaces
    """A property of a SimpleDataCache that is computed on first access, once, whatever the threads."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: SimpleDataCache, owner: type) -> T: ...
    def __get__(self, instance: SimpleDataCache | None, owner: type) -> cached_property[T] | T:
        if instance is None:
            return self
        return instance.get_cached(self._name, lambda: self._compute(instance))
