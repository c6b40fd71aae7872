"""A real server of several processes: what it counts and logs, and how it ends without losing answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pims.testing.slides import gradient, write_pyramid
from tests.imported import import_slide
from tests.test_serve import Server

Start = Callable[..., Server]
CLOSE = b"Host: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def run(workers: int = 1, **settings: str) -> Server:
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "tmp").mkdir()
        servers.append(Server(tmp_path / "root", workers, {"TMPDIR": str(tmp_path / "tmp"), **settings}))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGTERM)


def get(server: Server, path: str) -> str:
    return server.ask(f"GET {path} HTTP/1.1\r\n".encode() + CLOSE).decode()


def samples(server: Server) -> dict[str, float]:
    body = get(server, "/metrics").partition("\r\n\r\n")[2]
    lines = [line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_of(server: Server) -> list[int]:
    """The processes that answer, by their command."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_whichever_process_is_asked_it_tells_of_all_of_them(start: Start, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    slide = import_slide(tmp_path / "root", write_pyramid(tmp_path / "slide.tif", gradient(600, 500)))
    server = start(2)
    until(lambda: samples(server)["pims_processes"] == 2)
    tile = f"/image/{slide}/normalized-tile/zoom/2/ti/0.jpg"
    for _ in range(30):
        assert " 200 " in server.ask(f"GET {tile} HTTP/1.1\r\n".encode() + CLOSE)[:20].decode()
    until(lambda: samples(server)['pims_requests_total{kind="tile",status="2xx"}'] == 30)
    found = samples(server)
    made = found["pims_render_duration_seconds_count"]
    assert made == found["pims_response_cache_misses_total"] <= 2  # each process makes it once
    assert found["pims_response_cache_hits_total"] == 30 - made
    assert 1 <= found["pims_images_open"] <= 2
    refused = 'pims_requests_total{kind="other",status="4xx"}'
    for _ in range(40):
        assert " 404 " in get(server, "/nothing").partition("\r\n")[0]
    until(lambda: samples(server)[refused] == 40)  # counted after the answer was sent
    assert {samples(server)[refused] for _ in range(10)} == {40}
    os.kill(processes_of(server)[0], signal.SIGKILL)
    until(lambda: samples(server)["pims_process_starts_total"] == 3)
    until(lambda: samples(server)["pims_processes"] == 2)
    assert {samples(server)[refused] for _ in range(10)} == {40}
    server.end(signal.SIGTERM)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_ends_answers_what_it_has_and_takes_nothing_new(start: Start, workers: int) -> None:
    server = start(workers)
    body = b'{"region": {"left": 0, "top": 0, "width": 9, "height": 9}}'
    head = f"POST /image/x/window.png HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:10])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: _refuses(server))
        connection.sendall(body[10:])
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in answer
    server.process.wait(60)


def _refuses(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_every_process_logs_as_configured(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    configuration = {
        "version": 1,
        "formatters": {"json": {"()": "pims.log.JsonFormatter"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log), "formatter": "json"}},
        "loggers": {"pims.access": {"level": "INFO", "handlers": ["file"]}},
    }
    (tmp_path / "logging.json").write_text(json.dumps(configuration))
    server = start(2, LOG_CONFIG_FILE=str(tmp_path / "logging.json"))

    def ask(name: int) -> None:
        request = f"GET /nothing HTTP/1.1\r\nX-Request-ID: request-{name}\r\n".encode()
        assert f"x-request-id: request-{name}\r\n".encode() in server.ask(request + CLOSE)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(_lines(log, "/nothing")) == 20)
    assert {line["request_id"] for line in _lines(log, "/nothing")} == {f"request-{n}" for n in range(20)}


def _lines(log: Path, path: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["path"] == path]


def test_a_log_configuration_that_is_wrong_stops_the_start_with_one_line(tmp_path: Path) -> None:
    environ = {**os.environ, "ROOT": str(tmp_path / "root"), "LOG_CONFIG_FILE": str(tmp_path / "nothing")}
    command = [sys.executable, "-m", "pims.main"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"pims: LOG_CONFIG_FILE: there is no file {tmp_path / 'nothing'}\n"


def test_what_a_killed_server_counted_is_swept_away_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pims.api.processes import counting_directory

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / "pims-metrics-abandoned"
    abandoned.mkdir()
    (abandoned / "owner").touch()
    (abandoned / "0").touch()
    with counting_directory() as first, counting_directory() as second:
        assert first is not None and second is not None
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
        assert first.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
