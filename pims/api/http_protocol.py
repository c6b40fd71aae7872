"""How HTTP/1.1 is spoken: uvicorn's protocol, with a limit on what precedes the body of a request.

What the fast path can answer without waiting is written from here, before there is a task for it.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle, Transport
from functools import partial
from time import perf_counter
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pims.api.answer import Answer
from pims.api.errors import problem
from pims.api.fastpath import LOOKED, FastPath
from pims.api.request_log import CLIENT_CLOSED

__all__ = ["BoundedHttpProtocol"]

REASONS = {
    400: "This is no valid HTTP request.",
    408: "This request did not arrive in time.",
    431: "The headers of this request are larger than any request needs.",
}
PATIENCE_SECONDS = 20.0
"""From the connection, or the first byte of a later request, to the end of its headers; between two pieces of
a body; between two looks at how much of an answer a client has read."""
MIN_PROGRESS = 65_536
"""Bytes a client has to have read between two such looks."""
MAX_HEAD = 65_536
"""Bytes of a request line and its headers; browsers send less than a tenth."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    - The parser collects headers without end, and nobody tires of waiting for them, for bodies, for readers;
      here a request that does not come to its point is refused, and a client that does not read is dropped.
    - What can't be understood at all is answered as every other error is.
    - Tiles are looked for before there is a task, and written when they are there; the work for a client
      that went away is left out if it did not begin.
    """

    _head_bytes = 0
    _timer: TimerHandle | None = None
    _write_timer: TimerHandle | None = None
    _unsent = 0
    _running: RequestResponseCycle | None = None
    _begun = False
    _making: Future[Answer] | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_more()

    def data_received(self, data: bytes) -> None:
        self._begun = False
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self._head_bytes = 0  # the head is complete
            self._await_nothing()
            if cycle.more_body and not cycle.response_complete:
                self._await_more()
            return
        if self._timer is None:
            self._await_more()
        if self._begun:
            self._head_bytes = 0  # it came behind other requests
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse(431)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(PATIENCE_SECONDS, self._check_progress)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._await_nothing()
        if self._write_timer is not None:
            self._write_timer.cancel()
        if self._making is not None:
            self._making.cancel()  # nobody waits for it; what did not begin is left out
        # uvicorn tells the request that was read last; those before it are to know as well.
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called with a request whose turn it is.

        What is read behind the request is the next one's, so that only the last of several in a row is
        answered from here: the depth of calls does not grow with them.
        """
        self._running = cycle
        if cycle is not self.cycle or not isinstance(app, FastPath):
            super()._start_asgi_task(cycle, app)
            return
        began = perf_counter()
        found = app.look(cast("Scope", cycle.scope))
        if isinstance(found, Future):
            self._making = found
            found.add_done_callback(partial(self._finish, cycle, app, began))
        else:
            self._answer(cycle, app, began, found)

    def _finish(self, cycle: RequestResponseCycle, app: FastPath, began: float, made: Future[Answer]) -> None:
        answer = app.outcome(cast("Scope", cycle.scope), made)
        if self.transport.is_closing():
            app.answered(cast("Scope", cycle.scope), CLIENT_CLOSED, 0, began)
        else:
            self._answer(cycle, app, began, answer)

    def _answer(self, cycle: RequestResponseCycle, app: Any, began: float, answer: Answer | None) -> None:
        """Write the answer, or let the application give it when there is none or the client reads slowly."""
        if answer is None or self.flow.write_paused:
            cast("Scope", cycle.scope)[LOOKED] = answer
            super()._start_asgi_task(cycle, app)
            return
        status, headers, body = answer
        lines = [
            b"%b: %b\r\n" % header
            for header in (*self.server_state.default_headers, *headers, *app.protection)
        ]
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.writelines((STATUS_LINE[status], *lines, b"\r\n", body))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        app.answered(cycle.scope, status, len(body), began)
        cycle.on_response()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _await_more(self) -> None:
        """More of a request has to come soon."""
        self._timer = self.loop.call_later(PATIENCE_SECONDS, self._give_up)

    def _await_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        """Nothing, or not enough, came in time."""
        cycle: RequestResponseCycle | None = self.cycle
        whole = cycle is not None and cycle.scope is self.scope
        if self.scope is None:  # a browser that connected in case it should want something
            self.transport.close()
        elif self.flow.read_paused or (cycle is not None and not whole and not cycle.response_complete):
            self._await_more()  # we don't read, or earlier requests are not answered yet
        elif whole and cycle is not None and cycle.response_started:
            self.transport.close()
        else:
            self._refuse(408)

    def _check_progress(self) -> None:
        """Somebody who does not read keeps a whole answer in our memory."""
        unsent = self.transport.get_write_buffer_size()
        if unsent > self._unsent - MIN_PROGRESS:
            self.transport.abort()
            return
        self._unsent = unsent
        self._write_timer = self.loop.call_later(PATIENCE_SECONDS, self._check_progress)

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        _, headers, body = problem(HTTPException(status, REASONS[status]), "")
        lines = [b"HTTP/1.1 %d Refused" % status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()
