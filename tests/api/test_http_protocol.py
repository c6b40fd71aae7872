"""Answers written ahead of the application's task, over real sockets: the same as through it, in order."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pims.api import http_protocol
from pims.api.fastpath import FastPath
from pims.api.http_protocol import BoundedHttpProtocol
from pims.application import create_app
from pims.composition import Composition
from pims.images import render as rendering
from pims.settings import Settings
from pims.testing.slides import gradient, write_pyramid
from tests.imported import import_slide

CHANCE = re.compile(rb"\r\n(?:date|x-request-id): [^\r]*")
STORED = "normalized-tile/zoom/2/ti/{}.jpg"
REQUESTS = {
    "stored": ("GET", STORED.format(0), ""),
    "stored, at the edge": ("GET", STORED.format(5), ""),
    "processed": ("GET", "normalized-tile/zoom/2/ti/1.jpg?gammas=2", ""),
    "not in the cache": ("GET", "normalized-tile/zoom/1/ti/0.png?gammas=3", "Cache-Control: no-store\r\n"),
    "negotiated": ("GET", "normalized-tile/zoom/2/ti/1", "Accept: image/webp\r\n"),
    "known already": ("GET", STORED.format(1), "If-None-Match: *\r\n"),
    "out of range": ("GET", STORED.format(99), ""),
    "bad parameter": ("GET", "normalized-tile/zoom/2/ti/1.jpg?gammas=x", ""),
    "head": ("HEAD", STORED.format(0), ""),
    "no tile": ("GET", "info", ""),
}


@contextmanager
def serving(app: FastPath, protocol: type[HttpToolsProtocol]) -> Iterator[int]:
    """The port on which `app` answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=protocol, ws="none", proxy_headers=False, server_header=False, log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def slide(root: Path, tmp_path: Path) -> str:
    return import_slide(root, write_pyramid(tmp_path / "slide.tif", gradient(700, 500)))


@pytest.fixture
def app(root: Path) -> Iterator[FastPath]:
    with closing(Composition(Settings.load({}, root=root))) as composition:
        composition.pool._clock = lambda: 0.0  # what is open stays fresh
        yield create_app(composition)


@pytest.fixture
def through_application(app: FastPath, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that came to the application."""
    paths: list[str] = []
    call = FastPath.__call__

    async def counted(self: FastPath, scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope.get("path", ""))
        await call(self, scope, receive, send)

    monkeypatch.setattr(FastPath, "__call__", counted)
    return paths


def request(slide: str, name: str, version: str = "1.1", headers: str = "") -> bytes:
    method, path, own = REQUESTS[name]
    return f"{method} /image/{slide}/{path} HTTP/{version}\r\nHost: localhost\r\n{own}{headers}\r\n".encode()


def ask(port: int, data: bytes, *, slowly: bool = False) -> bytes:
    """Everything that is answered until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        if slowly:
            time.sleep(0.5)
        while chunk := connection.recv(65536):
            answer += chunk
        sender.join(30)
    return CHANCE.sub(b"", answer)


@pytest.fixture
def asked_both(app: FastPath, slide: str) -> Iterator[Callable[..., tuple[bytes, bytes]]]:
    """Asks the same through this protocol and through uvicorn's own."""
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(app, BoundedHttpProtocol))]
        # The second server must not end what both use.
        ports.append(stack.enter_context(serving(_without_lifespan(app), HttpToolsProtocol)))
        ask(ports[0], request(slide, "stored", headers="Connection: close\r\n"))  # opens the image

        def both(*data: bytes, slowly: bool = False) -> tuple[bytes, bytes]:
            ours, theirs = (ask(port, b"".join(data), slowly=slowly) for port in ports)
            return ours, theirs

        yield both


def _without_lifespan(app: FastPath) -> Any:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)

    return other


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(("version", "headers"), [("1.1", "Connection: close\r\n"), ("1.0", "")])
def test_an_answer_is_that_of_the_application(
    asked_both: Any, slide: str, name: str, version: str, headers: str
) -> None:
    ours, theirs = (set_aside(answer) for answer in asked_both(request(slide, name, version, headers)))
    assert ours == theirs
    assert b"connection: close" in ours.lower()


def set_aside(answer: bytes) -> bytes:
    """Without what differs between a first and a second answer."""
    return answer.replace(b"x-pims-cache: HIT", b"x-pims-cache: MISS")


def test_requests_in_a_row_are_answered_in_order(asked_both: Any, slide: str) -> None:
    names = list(REQUESTS) * 40 + ["stored"] * 2000
    last = request(slide, "stored", headers="Connection: close\r\n")
    ours, theirs = asked_both(*(request(slide, name) for name in names), last)
    assert ours.count(b"HTTP/1.1 ") == len(names) + 1
    assert set_aside(ours) == set_aside(theirs)


def test_a_client_that_reads_slowly_gets_everything(asked_both: Any, slide: str) -> None:
    data = [request(slide, "stored")] * 3000 + [request(slide, "processed", headers="Connection: close\r\n")]
    ours, theirs = asked_both(*data, slowly=True)
    assert len(ours) > 6 << 20  # more than the buffers of the sockets hold
    assert set_aside(ours) == set_aside(theirs)


def test_tiles_need_no_task(app: FastPath, slide: str, through_application: list[str]) -> None:
    with serving(app, BoundedHttpProtocol) as port:
        close = "Connection: close\r\n"
        for name, count in (("stored", 1), ("stored", 0), ("processed", 0), ("processed", 0)):
            through_application.clear()
            assert b" 200 OK" in ask(port, request(slide, name, headers=close))
            assert len(through_application) == count, name  # the first one opens the image
        through_application.clear()
        assert b" 400 " in ask(port, request(slide, "bad parameter", headers=close))
        assert len(through_application) == 1


def test_clients_that_go_away_leave_nothing_behind(app: FastPath, slide: str) -> None:
    with serving(app, BoundedHttpProtocol) as port:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request(slide, "not in the cache") * 3)
        answer = ask(port, request(slide, "stored", headers="Connection: close\r\n"))
        assert b" 200 OK" in answer
        deadline = time.monotonic() + 20
        pool = app._answerer.pool
        while any(entry.leases for entry in pool._entries.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(entry.leases for entry in pool._entries.values())


def test_headers_that_do_not_arrive_are_not_waited_for(
    app: FastPath, slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 0.5)
    whole = request(slide, "stored")
    with serving(app, BoundedHttpProtocol) as port:
        assert ask(port, b"") == b""
        for sent, answered in ((b"GET /ping HT", 0), (whole + b"GET /ping HT", 1), (whole[:-2], 0)):
            answer = ask(port, sent)
            assert answer.count(b" 200 OK") == answered
            assert b"408 Refused" in answer and b"did not arrive in time" in answer
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            for _ in range(4):  # each is in time, whatever they take together
                connection.sendall(whole[:20])
                time.sleep(0.3)
                connection.sendall(whole[20:])
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_bodies_that_do_not_arrive_are_not_waited_for(
    app: FastPath, slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 0.5)
    head = f"POST /image/{slide}/thumb HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(app, BoundedHttpProtocol) as port:
        assert b"408 Refused" in ask(port, f"{head}Content-Length: 100\r\n\r\n{{".encode())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: 4\r\nConnection: close\r\n\r\n".encode())
            for byte in (b"{", b" ", b" ", b"}"):  # slow, but it goes on
                time.sleep(0.3)
                connection.sendall(byte)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_request_is_not_given_up_while_one_before_it_is_answered(
    app: FastPath, slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 0.3)
    really = rendering.render

    def slowly(*given: Any, **more: Any) -> bytes:
        time.sleep(1)
        return really(*given, **more)

    monkeypatch.setattr("pims.api.answer.render", slowly)
    with serving(app, BoundedHttpProtocol) as port:
        answer = ask(port, request(slide, "not in the cache") * 2 + b"GET /ping HT")
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [200, 200, 408]


def test_who_does_not_read_is_dropped(app: FastPath, slide: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 0.5)
    close = "Connection: close\r\n"
    data = request(slide, "stored") * 3000 + request(slide, "stored", headers=close)
    with serving(app, BoundedHttpProtocol) as port:
        ask(port, request(slide, "stored", headers=close))  # opens the image
        received = {}
        for name, pauses in (("at once", []), ("with pauses", [0.2] * 8), ("too late", [3.0])):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                sender = threading.Thread(target=_send, args=(connection, data))
                sender.start()
                received[name] = b""
                with suppress(ConnectionResetError):
                    for pause in itertools.chain(pauses, itertools.repeat(0.0)):
                        time.sleep(pause)
                        if not (chunk := connection.recv(1 << 20)):
                            break
                        received[name] += chunk
                sender.join(30)
        assert b" 200 OK" in ask(port, request(slide, "stored", headers=close))
    assert len(received["at once"]) > 6 << 20  # more than sockets hold
    counts = {name: answers.count(b"HTTP/1.1 200 OK") for name, answers in received.items()}
    assert counts["at once"] == counts["with pauses"] == 3001
    assert counts["too late"] < 3001


def _send(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


def test_all_requests_of_a_client_that_left_are_told(
    app: FastPath, slide: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(app, BoundedHttpProtocol) as port:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request(slide, "not in the cache") * 2 + request(slide, "no tile"))
                time.sleep(0.01)
        assert b" 200 OK" in ask(port, request(slide, "stored", headers="Connection: close\r\n"))
    assert "Exception in ASGI application" not in caplog.text
