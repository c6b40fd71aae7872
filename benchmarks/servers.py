"""The servers that are compared: started with the same settings, ended by their process ids."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pims.settings import Settings
from pims.tasks.parent import die_with_parent

__all__ = [
    "HOST",
    "WORKERS",
    "Server",
    "descriptors",
    "free_port",
    "pims_command",
    "pims_environment",
    "resident_mb",
    "running",
    "uvicorn_command",
]

HOST = "127.0.0.1"
WORKERS = 2
START_SECONDS = 60.0
STOP_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    """Of the supervisor; the processes that answer are its children."""

    def processes(self) -> list[int]:
        """The supervisor and all its descendants."""
        return [self.pid, *_descendants(self.pid)]

    def cpu_seconds(self) -> float:
        """Processor time used so far by all processes (user and system), in ticks of 10 ms."""
        return sum(_cpu_seconds(pid) for pid in self.processes())

    def memory_mb(self) -> float:
        """Resident memory of the largest process, in MB."""
        return max(_resident_bytes(pid) for pid in self.processes()) / 1e6


def resident_mb(pids: Iterable[int]) -> dict[int, float]:
    """Resident memory in MB, by process."""
    return {pid: _resident_bytes(pid) / 1e6 for pid in pids}


def descriptors(pids: Iterable[int]) -> dict[int, int]:
    """How many files and sockets are open, by process."""
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in pids}


def pims_command(*arguments: str) -> list[str]:
    """A command of the interpreter that runs this."""
    return [sys.executable, "-m", "pims.cli", *arguments]


def pims_environment(root: Path) -> dict[str, str]:
    """The environment without any setting of the caller but ROOT."""
    settings = {name.upper() for name in Settings.model_fields} | {"CONFIG_FILE"}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    return {**kept, "ROOT": str(root)}


def uvicorn_command(application: str, port: int, workers: int = WORKERS) -> list[str]:
    """A bare ASGI application under the settings of `pims serve`; `application` is module:factory."""
    options = ["--factory", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    speed = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"]
    silence = ["--no-proxy-headers", "--no-server-header", "--log-level", "warning"]
    place = ["--app-dir", str(REPOSITORY)]
    return [sys.executable, "-m", "uvicorn", application, *options, *speed, *silence, *place]


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    port: int,
    *,
    probe: str,
    folder: Path,
    environment: Mapping[str, str],
) -> Iterator[Server]:
    """A server that answers `probe` with 200, until the block ends, however it does.

    Its output goes to a log in `folder`, its working directory. RuntimeError when it does not start.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        # No thread runs yet, so that preexec_fn is safe.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - see above
        )
    server = Server(name, port, process.pid)
    try:
        _wait_for(server, process, probe, log)
        yield server
    finally:
        _stop(server, process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Server, process: subprocess.Popen[bytes], probe: str, log: Path) -> None:
    """Until every process answers: it has to be asked a few times, for who answers is chance."""
    deadline = time.monotonic() + START_SECONDS
    good = 0
    while good < 8 * WORKERS:
        if process.poll() is not None or time.monotonic() > deadline:
            text = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"the server {server.name} did not start:\n{text}")
        status = _status(server.port, probe)
        if status not in (0, 200):
            raise RuntimeError(f"the server {server.name} answers {status} to {probe}")
        good += status == 200
        if not status:
            time.sleep(0.05)


def _status(port: int, path: str) -> int:
    """Of one request on a connection of its own; 0 when nobody listens."""
    try:
        with socket.create_connection((HOST, port), timeout=10) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            head = connection.recv(64)
            while connection.recv(1 << 16):
                pass
    except OSError:
        return 0
    return int(head[9:12]) if len(head) >= 12 else 0


def _stop(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Ask the supervisor to end; what is left of it after that is killed, each by its own id."""
    known = _descendants(server.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        for pid in known:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
