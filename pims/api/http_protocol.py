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

__all__ = ["BoundedHttpProtocol"]

REASONS = {
    400: "This is no valid HTTP request.",
    408: "The headers of this request did not arrive in time.",
    431: "The headers of this request are larger than any request needs.",
}
HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a later request, to the end of its headers."""
MAX_HEAD = 65_536
"""Bytes of a request line and its headers; browsers send less than a tenth."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    - The parser collects headers without end, and nobody tires of waiting for them; here a request that does
      not come to its point is refused.
    - What can't be understood at all is answered as every other error is.
    - Tiles are looked for before there is a task, and written when they are there; the work for a client
      that went away is left out if it did not begin.
    """

    _head_bytes = 0
    _head_timer: TimerHandle | None = None
    _begun = False
    _making: Future[Answer] | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        self._begun = False
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self._head_bytes = 0  # the head is complete
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            return
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)
        if self._begun:
            self._head_bytes = 0  # it came behind other requests
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse(431)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._making is not None:
            self._making.cancel()  # nobody waits for it; what did not begin is left out

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called with a request whose turn it is.

        What is read behind the request is the next one's, so that only the last of several in a row is
        answered from here: the depth of calls does not grow with them.
        """
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
        if not self.transport.is_closing():
            self._answer(cycle, app, began, app.outcome(cast("Scope", cycle.scope), made))

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

    def _give_up(self) -> None:
        if self.scope is None:  # a browser that connected in case it should want something
            self.transport.close()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        if self.transport.is_closing():
            return
        _, headers, body = problem(HTTPException(status, REASONS[status]), "")
        lines = [b"HTTP/1.1 %d Refused" % status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()
