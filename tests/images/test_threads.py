"""Work handed from event loops to threads: done, failed, left out, dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pims.errors import Overloaded
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


def test_work_beyond_the_budget_is_refused_until_there_is_room() -> None:
    threads = RenderThreads(1, budget=100)
    gate = threading.Event()

    async def main() -> None:
        alone = threads.submit(gate.wait, 30, cost=1000)  # more than there is, but nothing else needs any
        with pytest.raises(Overloaded):
            threads.submit(gate.wait, cost=1)
        free = threads.submit(divmod, 7, 2)
        gate.set()
        assert await alone and await free == (3, 1)
        again = threading.Event()
        both = [threads.submit(again.wait, 30, cost=50) for _ in range(2)]
        with pytest.raises(Overloaded):
            threads.submit(divmod, 7, 2, cost=1)
        both[1].cancel()
        again.set()
        await both[0]
        await threads.submit(divmod, 7, 2)
        assert await threads.submit(divmod, 7, 2, cost=100) == (3, 1)

    asyncio.run(main())
    threads.close()


def test_what_waited_too_long_is_given_up() -> None:
    threads = RenderThreads(1, patience=0.05)
    gate = threading.Event()

    async def main() -> None:
        running, waiting = threads.submit(gate.wait, 30), threads.submit(gate.wait)
        await asyncio.sleep(0.2)
        gate.set()
        assert await running
        with pytest.raises(Overloaded):
            await waiting

    asyncio.run(main())
    threads.close()


def test_stoppable_work_learns_that_nobody_waits(threads: RenderThreads) -> None:
    noticed = threading.Event()

    def work(*, stop: Callable[[], bool]) -> None:
        while not stop():
            time.sleep(0.005)
        noticed.set()

    async def main() -> None:
        submitted = threads.submit(work, stoppable=True)
        await asyncio.sleep(0.05)
        assert not noticed.is_set()
        submitted.cancel()

    asyncio.run(main())
    assert noticed.wait(10)


def test_what_goes_wrong_around_the_work_stops_no_thread(
    threads: RenderThreads, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the file can't be closed")

    def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        for _ in range(5):
            assert await threads.submit(divmod, 7, 2, after=fail) == (3, 1)
            with pytest.raises(RuntimeError, match="SystemExit"):
                await threads.submit(leave)
        assert threads.is_working

    asyncio.run(main())
    assert "what followed some work failed" in caplog.text


def test_a_thread_that_can_not_be_started_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = RenderThreads(2, budget=100)
    start = threading.Thread.start

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refused)
        with pytest.raises(Overloaded):
            threads.submit(divmod, 7, 2, cost=100)
        monkeypatch.setattr(threading.Thread, "start", start)
        assert await threads.submit(divmod, 7, 2, cost=100) == (3, 1)
        monkeypatch.setattr(threading.Thread, "start", refused)
        assert await threads.submit(divmod, 7, 2, cost=100) == (3, 1)  # by the one there is
        assert threads.is_working

    asyncio.run(main())
    threads.close()
