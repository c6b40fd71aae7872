"""What is put around a composition: what is watched of it while it works."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pims.application import documented_app
from pims.composition import Composition
from pims.settings import Settings


@pytest.fixture
def composition(tmp_path: Path) -> Iterator[Composition]:
    with closing(Composition(Settings.load({}, root=tmp_path, render_threads=1))) as made:
        yield made


def gauges(app: Any) -> dict[str, float]:
    from pims.api.exposition import exposition

    lines = [line.rsplit(" ", 1) for line in exposition(app.state.metrics.totals()).splitlines()]
    return {name: float(value) for name, value in lines if not name.startswith("#")}


def test_what_waits_for_a_render_thread_is_seen(composition: Composition) -> None:
    app: Any = documented_app(composition)
    end = threading.Event()

    async def submit() -> None:
        assert await app.state.readiness.wrong() is None  # no thread was needed yet
        futures = [composition.render_threads.submit(end.wait, 30) for _ in range(3)]
        futures += [composition.large_render_threads.submit(end.wait, 30) for _ in range(2)]
        while gauges(app)["pims_renders_waiting"] != 3:
            await asyncio.sleep(0.01)
        assert await app.state.readiness.wrong() is None
        end.set()
        await asyncio.gather(*futures)
        assert gauges(app)["pims_renders_waiting"] == 0

    try:
        asyncio.run(submit())
    finally:
        end.set()


def test_a_process_without_its_render_threads_is_not_ready(composition: Composition) -> None:
    app: Any = documented_app(composition)

    async def ask() -> str | None:
        await composition.render_threads.submit(int)
        composition.render_threads.close()
        wrong: str | None = await app.state.readiness.wrong()
        return wrong

    assert str(asyncio.run(ask())).startswith("The threads that render images have ended")


def test_a_process_asked_to_end_is_not_ready_and_does_what_it_did_before(composition: Composition) -> None:
    app: Any = documented_app(composition, owns_process=False)
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        from pims.application import _drain_on_sigterm

        _drain_on_sigterm(app.state.readiness)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert asyncio.run(app.state.readiness.wrong()) == "This server is ending."


def test_the_gauges_of_a_process_are_kept_up_to_date_for_the_others(
    composition: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pims.application.SAMPLE_SECONDS", 0.01)
    app: Any = documented_app(composition)
    sampled = threading.Event()
    monkeypatch.setattr(app.state.metrics, "sample", sampled.set)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            sampled.clear()
            while not sampled.is_set():
                await asyncio.sleep(0.01)

    asyncio.run(run())
