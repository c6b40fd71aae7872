"""Driving a server: one pass of requests, by load.c when there is a C compiler, else by load_client.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import HOST, Server

__all__ = ["CONNECTIONS", "LoadGenerator", "Pass"]

CONNECTIONS = 8
PASS_SECONDS = 120
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a list of URLs took."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the server for one request, in microseconds."""
    hits: float
    """Share of the answers that came from a response cache."""
    mean_bytes: float


class LoadGenerator:
    """Sends requests from a process of its own; compiled into `folder` on first use."""

    def __init__(self, folder: Path) -> None:
        """Raises CalledProcessError when load.c does not compile."""
        self._urls = folder / "urls.txt"
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        self.name = "load.c" if compiler else "load_client.py"
        self._command = [sys.executable, str(HERE / "load_client.py")]
        if compiler:
            source, binary = HERE / "load.c", folder / "load"
            if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
                subprocess.run([compiler, "-O2", "-pthread", source, "-o", binary], check=True)
            self._command = [str(binary)]

    def run(
        self,
        server: Server,
        urls: Sequence[str],
        *,
        requests: int = 0,
        connections: int = CONNECTIONS,
        headers: Sequence[str] = (),
    ) -> Pass:
        """Send `requests` requests, by default each URL once. RuntimeError when one was not answered 200."""
        self._urls.write_text("\n".join(urls))
        numbers = [str(self._urls), str(connections), str(requests)]
        before = server.cpu_seconds()
        done = subprocess.run(
            [*self._command, HOST, str(server.port), *numbers, *headers],
            stdout=subprocess.PIPE,
            timeout=PASS_SECONDS,
            check=False,
        )
        cpu = server.cpu_seconds() - before
        if not done.stdout:
            raise RuntimeError(f"{server.name}: the load generator ended with {done.returncode}")
        told = json.loads(done.stdout)
        if done.returncode:
            raise RuntimeError(f"{server.name}: {told['failed']} of {told['requests']} requests failed")
        sent = int(told["requests"])
        return Pass(
            requests=sent,
            per_second=sent / told["seconds"],
            p50_ms=told["p50_ms"],
            p99_ms=told["p99_ms"],
            cpu_us=cpu / sent * 1e6,
            hits=told["cached"] / sent,
            mean_bytes=told["body_bytes"] / sent,
        )
