"""Threads for pixel work, which event loops hand it to."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from pims.errors import Overloaded

__all__ = ["RenderThreads"]

logger = logging.getLogger("pims.images")

ADVICE = "Ask again in a moment, or for a smaller part."

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
    stoppable: bool
    not_after: float
    context: Context
    """Of the request: what the work logs has its id."""

    def run(self) -> None:
        """Work unless nobody waits for it any more, and tell the loop, whatever happens."""
        result: Any = None
        error: Exception | None = None
        try:
            if not self.future.cancelled():
                if time.monotonic() > self.not_after:
                    raise Overloaded(f"The server is busy: this waited for its turn too long. {ADVICE}")
                more = {"stop": self.future.cancelled} if self.stoppable else {}
                result = self.context.run(self.work, *self.arguments, **more)
        except Exception as raised:  # noqa: BLE001 - it is raised again where the result is awaited
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the thread has other work to do
            error = RuntimeError(f"the work ended with {type(raised).__name__}")
        self._end()
        self._tell(_settle, self.future, result, error)

    def drop(self) -> None:
        self._end()
        self._tell(self.future.cancel)

    def _end(self) -> None:
        try:
            self.after()
        except Exception:
            logger.exception("what followed some work failed")

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

    Parameters
    ----------
    count : of the threads
    patience : seconds after which what did not begin is given up
    budget : bytes that all work submitted may need together; work that needs more is taken alone

    Used from event loops, closed by who made it: until then the process does not end. A thread pool of the
    standard library does the same at three times the price, which is a tenth of a tile.
    """

    def __init__(self, count: int, *, patience: float = 30.0, budget: int | None = None) -> None:
        self._count = count
        self._patience = patience
        self._budget = budget
        self._needed = 0
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(
        self,
        work: Callable[..., T],
        *arguments: Any,
        after: Callable[[], object] = _nothing,
        stoppable: bool = False,
        cost: int = 0,
    ) -> asyncio.Future[T]:
        """The result of `work(*arguments)` to come. From a running event loop; RuntimeError when closed.

        Work that did not begin when its future is cancelled is left out. `after` is called when the work
        ended or was left out, in any thread; it must not raise. Work that is `stoppable` is given a function
        `stop` that says whether anybody still waits. `cost` is in bytes: Overloaded is raised when the budget
        has no room for it.
        """
        loop = asyncio.get_running_loop()
        not_after = time.monotonic() + self._patience
        if cost:
            after = partial(self._give_back, cost, after)
        job = _Job(loop, loop.create_future(), work, arguments, after, stoppable, not_after, copy_context())
        with self._lock:
            if self._closed:
                raise RuntimeError("no work is taken any more")
            if cost and self._needed and self._budget is not None and self._needed + cost > self._budget:
                raise Overloaded(f"The server is busy with other large images. {ADVICE}")
            if len(self._threads) < self._count:
                self._start_one()
            self._needed += cost
            self._queue.put(job)
        return job.future

    @property
    def waiting(self) -> int:
        """How much work did not begin yet."""
        return self._queue.qsize()

    @property
    def is_working(self) -> bool:
        """Whether every thread that was started still runs."""
        return all(thread.is_alive() for thread in self._threads)

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

    def _start_one(self) -> None:
        """Raises Overloaded when there is no thread and none can be started."""
        thread = threading.Thread(target=self._work, name=f"render-{len(self._threads)}")
        try:
            thread.start()
        except RuntimeError as error:  # more threads than the system allows; those there are do the work
            if not self._threads:
                raise Overloaded(f"The server can't start a thread. {ADVICE}") from error
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            del job  # nothing is held while waiting

    def _give_back(self, cost: int, after: Callable[[], object]) -> None:
        with self._lock:
            self._needed -= cost
        after()
