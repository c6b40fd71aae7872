"""Work handed from event loops to threads: done, failed, left out, dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from pims.images.threads import RenderThreads


@pytest.fixture
def threads() -> Iterator[RenderThreads]:
    threads = RenderThreads(2)
    yield threads
    threads.close()


def test_results_and_errors_come_back(threads: RenderThreads) -> None:
    done: list[str] = []

    async def main() -> None:
        assert await threads.submit(divmod, 7, 2, after=lambda: done.append("result")) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.submit(divmod, 7, 0, after=lambda: done.append("error"))
        names = await asyncio.gather(
            *(threads.submit(lambda: threading.current_thread().name) for _ in range(50))
        )
        assert set(names) <= {"render-0", "render-1"}

    asyncio.run(main())
    assert done == ["result", "error"]


def test_no_more_runs_at_once_than_there_are_threads(threads: RenderThreads) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def main() -> None:
        await asyncio.gather(*(threads.submit(work) for _ in range(12)))

    asyncio.run(main())
    assert most == 2


def test_what_is_cancelled_before_it_began_is_left_out(threads: RenderThreads) -> None:
    gate, ended = threading.Event(), threading.Semaphore(0)
    began: list[int] = []

    async def main() -> None:
        blocking = [threads.submit(gate.wait, after=ended.release) for _ in range(2)]
        waiting = [threads.submit(began.append, number, after=ended.release) for number in range(3)]
        waiting[1].cancel()
        blocking[0].cancel()  # too late for the work, its result is thrown away
        gate.set()
        await asyncio.gather(waiting[0], waiting[2], blocking[1])
        assert waiting[1].cancelled() and blocking[0].cancelled()

    asyncio.run(main())
    assert sorted(began) == [0, 2]
    assert all(ended.acquire(timeout=10) for _ in range(5))


def test_closing_drops_what_waits_and_ends_the_threads() -> None:
    threads = RenderThreads(1)
    gate, ended = threading.Event(), threading.Semaphore(0)

    async def main() -> None:
        running = threads.submit(gate.wait, 30, after=ended.release)
        waiting = threads.submit(gate.wait, after=ended.release)
        await asyncio.sleep(0.05)
        threads.close(wait=False)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError):
            threads.submit(gate.wait)
        gate.set()
        assert await running

    asyncio.run(main())
    threads.close()
    assert not any(thread.is_alive() for thread in threads._threads)
    assert all(ended.acquire(timeout=10) for _ in range(2))


def test_a_loop_that_is_gone_stops_no_thread(threads: RenderThreads) -> None:
    gate = threading.Event()

    async def leave() -> None:
        threads.submit(gate.wait, 30)

    asyncio.run(leave())
    gate.set()

    async def main() -> tuple[int, int]:
        return await threads.submit(divmod, 5, 5)

    assert asyncio.run(main()) == (1, 0)
