"""Requests one at a time, answered or not, and how long it took: for what is not a race."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Any

from benchmarks.servers import HOST

__all__ = ["Answer", "Asker", "Witness", "percentile"]

HANG_SECONDS = 10.0
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    """0 when nothing did."""
    ms: float
    body: bytes = b""
    retry_after: str | None = None


class Asker:
    """One connection to a server, made again when it ends. A context manager, for one thread."""

    def __init__(self, port: int, timeout: float = HANG_SECONDS) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=timeout)

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, url: str, body: dict[str, Any] | None = None) -> Answer:
        """GET, or POST of a body as JSON."""
        start = time.perf_counter()
        try:
            if body is None:
                self._connection.request("GET", url)
            else:
                headers = {"Content-Type": "application/json"}
                self._connection.request("POST", url, json.dumps(body), headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Answer(NO_ANSWER, (time.perf_counter() - start) * 1e3)
        taken = (time.perf_counter() - start) * 1e3
        return Answer(response.status, taken, data, response.headers.get("Retry-After"))


class Witness:
    """Asks for the same URLs over and over while something else happens. A context manager."""

    def __init__(self, port: int, urls: list[str], pause: float = 0.005, timeout: float = 60.0) -> None:
        self.answers: list[Answer] = []
        self._urls, self._pause = urls, pause
        self._asker = Asker(port, timeout)
        self._ended = Event()
        self._thread = Thread(target=self._ask, name="witness")

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def p99_ms(self) -> float:
        return percentile([answer.ms for answer in self.answers], 0.99)

    def failed(self) -> int:
        return sum(answer.status != 200 for answer in self.answers)

    def _ask(self) -> None:
        with self._asker:
            while not self._ended.wait(self._pause):
                answer = self._asker.ask(self._urls[len(self.answers) % len(self._urls)])
                self.answers.append(Answer(answer.status, answer.ms))


def percentile(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed; 0 of none."""
    return sorted(values)[int((len(values) - 1) * part)] if values else 0.0
