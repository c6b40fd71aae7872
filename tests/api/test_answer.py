"""Who makes an image, how often, and what happens when there is too much to do or nobody waits any more."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pims.application import create_app
from pims.composition import Composition
from pims.images import render as rendering
from pims.images.render import RenderRequest
from pims.settings import Settings
from pims.testing.slides import gradient, write_pyramid
from tests.imported import import_slide

TILE = "normalized-tile/zoom/2/tx/1/ty/1.jpg?gammas={}"
LARGE = {"region": {"left": 0, "top": 0, "width": 700, "height": 500}, "length": 4000}


class Making:
    """Every image that is made: what was asked, and a gate that holds the making up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[RenderRequest] = []
        self.abandoned = 0
        self.gate = threading.Event()
        self.gate.set()
        really = rendering.render

        def render(image: Any, request: RenderRequest, *, stop: Callable[[], bool]) -> bytes:
            self.asked.append(request)
            while not self.gate.wait(0.01):
                if stop():
                    self.abandoned += 1
                    break
            return really(image, request, stop=stop)

        monkeypatch.setattr("pims.api.answer.render", render)


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Making:
    return Making(monkeypatch)


@pytest.fixture
def slide(root: Path, tmp_path: Path) -> str:
    return import_slide(root, write_pyramid(tmp_path / "slide.tif", gradient(700, 500)))


@pytest.fixture
def make_app(root: Path) -> Iterator[Callable[..., Any]]:
    opened: list[Composition] = []

    def make(**settings: Any) -> Any:
        opened.append(Composition(Settings.load({}, root=root, render_threads=2, **settings)))
        opened[-1].pool._clock = lambda: 0.0  # what is open stays fresh
        return create_app(opened[-1])

    yield make
    for composition in opened:
        entries = list(composition.pool._entries.values())
        composition.close()
        assert not any(entry.leases for entry in entries)


def client_of(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:5000", timeout=30)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_the_same_image_asked_at_once_is_made_once(make_app: Any, making: Making, slide: str) -> None:
    async def main() -> None:
        async with client_of(make_app()) as client:
            url = f"/image/{slide}/{TILE.format(2)}"
            assert (await client.get(url)).status_code == 200  # opens the image
            making.asked.clear()
            making.gate.clear()
            url = f"/image/{slide}/{TILE.format(3)}"
            asking = [asyncio.create_task(client.get(url)) for _ in range(6)]
            other = asyncio.create_task(client.get(url, headers={"accept": "image/png"}))
            fresh = asyncio.create_task(client.get(url, headers={"cache-control": "no-store"}))
            await until(lambda: len(making.asked) == 2)
            await asyncio.sleep(0.05)
            making.gate.set()
            answers = await asyncio.gather(*asking, other, fresh)
            assert {answer.status_code for answer in answers} == {200}
            assert len({answer.content for answer in answers}) == 1
            assert len(making.asked) == 2  # who wants it fresh gets it made for itself

    asyncio.run(main())


def test_who_waits_with_somebody_that_leaves_still_gets_it(make_app: Any, making: Making, slide: str) -> None:
    async def main() -> None:
        app = make_app()
        answerer = app._answerer
        async with client_of(app) as client:
            url = f"/image/{slide}/{TILE.format(2)}"
            assert (await client.get(url)).status_code == 200
        making.asked.clear()
        making.gate.clear()
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/image/{slide}/{TILE.partition('?')[0]}",
            "query_string": b"gammas=5",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 40000),
        }
        first, second = app.look(scope), app.look(scope)
        assert first is not second
        await until(lambda: len(making.asked) == 1)
        first.cancel()
        await until(lambda: making.abandoned == 1)
        making.gate.set()
        answer = await second
        assert answer.status == 200
        assert len(making.asked) == 2
        assert not answerer._making

    asyncio.run(main())


def test_large_images_wait_for_memory_and_not_before_tiles(make_app: Any, making: Making, slide: str) -> None:
    async def main() -> None:
        async with client_of(make_app(render_memory=1 << 20)) as client:
            window = f"/image/{slide}/window.jpg"
            making.gate.clear()
            first = asyncio.create_task(client.post(window, json=LARGE))
            await until(lambda: len(making.asked) == 1)
            refused = await client.post(window, json={**LARGE, "length": 4001})
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["title"] == "The server is busy"
            assert "other large images" in refused.json()["detail"]
            small = asyncio.create_task(client.get(f"/image/{slide}/{TILE.format(4)}"))
            await until(lambda: len(making.asked) == 2)  # it did not wait
            making.gate.set()
            assert (await first).status_code == (await small).status_code == 200
            assert (await client.post(window, json={**LARGE, "length": 4001})).status_code == 200

    asyncio.run(main())


def test_what_waited_too_long_is_refused(make_app: Any, making: Making, slide: str) -> None:
    async def main() -> None:
        async with client_of(make_app(render_patience=0.2)) as client:
            assert (await client.get(f"/image/{slide}/{TILE.format(2)}")).status_code == 200
            making.gate.clear()
            asking = [
                asyncio.create_task(client.get(f"/image/{slide}/{TILE.format(3 + i)}")) for i in range(4)
            ]
            await asyncio.sleep(0.5)
            making.gate.set()
            statuses = sorted([(await answer).status_code for answer in asking])
            assert statuses == [200, 200, 503, 503]

    asyncio.run(main())


def test_work_for_a_client_that_left_stops(make_app: Any, making: Making, slide: str) -> None:
    body = json.dumps(LARGE).encode()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": f"/image/{slide}/window.jpg",
        "raw_path": f"/image/{slide}/window.jpg".encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 5000),
    }

    async def main() -> None:
        app, leave = make_app(), asyncio.Event()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        making.gate.clear()
        asking = asyncio.create_task(app(scope, receive, send))
        await until(lambda: len(making.asked) == 1)
        leave.set()
        await until(lambda: making.abandoned == 1)
        making.gate.set()
        await asking

    asyncio.run(main())
