"""Threads for pixel work, which event loops hand it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["RenderThreads"]

T = TypeVar("T")


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class _Job(Generic[T]):
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    work: Callable[..., T]
    arguments: tuple[Any, ...]
    after: Callable[[], object]

    def run(self) -> None:
        """Work unless nobody waits for it any more, and tell the loop."""
        result: Any = None
        error: Exception | None = None
        try:
            if not self.future.cancelled():
                result = self.work(*self.arguments)
        except Exception as raised:  # noqa: BLE001 - it is raised again where the result is awaited
            error = raised
        finally:
            self.after()
        self._tell(_settle, self.future, result, error)

    def drop(self) -> None:
        self.after()
        self._tell(self.future.cancel)

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits
            self.loop.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class RenderThreads:
    """A fixed number of threads that work on what was submitted first.

    Used from event loops, closed by who made it: until then the process does not end. A thread pool of the
    standard library does the same at three times the price, which is a tenth of a tile.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(
        self, work: Callable[..., T], *arguments: Any, after: Callable[[], object] = _nothing
    ) -> asyncio.Future[T]:
        """The result of `work(*arguments)` to come. From a running event loop; RuntimeError when closed.

        Work that did not begin when its future is cancelled is left out. `after` is called when the work
        ended or was left out, in any thread; it must not raise.
        """
        loop = asyncio.get_running_loop()
        job = _Job(loop, loop.create_future(), work, arguments, after)
        with self._lock:
            if self._closed:
                raise RuntimeError("no work is taken any more")
            if len(self._threads) < self._count:
                self._threads.append(threading.Thread(target=self._work, name=f"render-{len(self._threads)}"))
                self._threads[-1].start()
            self._queue.put(job)
        return job.future

    def close(self, *, wait: bool = True) -> None:
        """Drop what did not begin, and end the threads after what they are at; with `wait`, not before."""
        with self._lock:
            self._closed = True
        with suppress(Empty):
            while job := self._queue.get_nowait():
                job.drop()
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            del job  # nothing is held while waiting
