"""A real server, spoken to over sockets: what reaches it before any application, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pims.testing.slides import gradient, write_pyramid
from tests.imported import import_slide

Start = Callable[..., "Server"]


class Server:
    """A server process on a port of its own."""

    def __init__(self, root: Path, workers: int, settings: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environ = {
            **os.environ,
            **settings,
            "ROOT": str(root),
            "PORT": str(self.port),
            "WORKERS": str(workers),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pims.main"],
            env=environ,
            cwd=root.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if b"200 OK" in self.ask(
                    b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                ):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, request: bytes) -> bytes:
        """Send bytes, and read until the server closes."""
        with self.connect() as connection:
            answer = b""
            with suppress(OSError):  # it may close before everything was sent
                connection.sendall(request)
            with suppress(OSError):
                while chunk := connection.recv(65536):
                    answer += chunk
            return answer

    def end(self, number: int) -> float:
        """Seconds from the signal to the end."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def run(workers: int = 1, **settings: str) -> Server:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        servers.append(Server(root, workers, settings))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def problem_of(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), answer[:300]
    return int(head.split()[1]), json.loads(body)


def test_what_is_no_request_is_refused_as_every_other_error(start: Start) -> None:
    server = start()
    for request in (
        "GET /image/upload-é/x HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ):
        status, body = problem_of(server.ask(request))
        assert (status, body["status"]) == (400, 400)
        assert body["detail"] == "This is no valid HTTP request."
    for request in (
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * (8 << 20),
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 200_000,
    ):
        answer = server.ask(request)
        if answer:  # a client that is still sending may miss it
            assert problem_of(answer)[0] == 431
    assert b"200 OK" in server.ask(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")


def test_a_header_can_not_say_where_a_request_comes_from(start: Start) -> None:
    server = start(AUTH="network", AUTH_NETWORKS="10.0.0.0/8", AUTH_SECRET="a-long-secret")
    request = "GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n"
    for forged in ("X-Forwarded-For: 10.1.2.3", "Forwarded: for=10.1.2.3", "X-Real-IP: 10.1.2.3"):
        assert server.ask(request.format(forged).encode()).startswith(b"HTTP/1.1 401")
    assert server.ask(request.format("Authorization: Bearer a-long-secret").encode()).startswith(
        b"HTTP/1.1 200"
    )


@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_a_busy_server_ends_soon(start: Start, tmp_path: Path, workers: int, number: int) -> None:
    slide = write_pyramid(tmp_path / "slide.tif", gradient(600, 500))
    (tmp_path / "root").mkdir()
    path = import_slide(tmp_path / "root", slide)
    server = start(workers)
    body = json.dumps({"region": {"left": 0, "top": 0, "width": 600, "height": 500}, "length": 9000}).encode()
    head = f"POST /image/{path}/window.png HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    unfinished = b"POST /image/x/window.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    connections = [server.connect() for _ in range(7)]
    for connection in connections[1:]:
        connection.sendall(head.encode() + body)
    connections[0].sendall(unfinished)
    time.sleep(0.5)
    assert server.end(number) < 15
    for connection in connections:
        connection.close()
