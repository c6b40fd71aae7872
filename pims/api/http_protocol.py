"""How HTTP/1.1 is spoken: uvicorn's protocol, with a limit on what precedes the body of a request.

What the fast path can answer without waiting is written from here, before there is a task for it.
"""

from __future__ import annotations

from asyncio import Future
from functools import partial
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
    431: "The headers of this request are larger than any request needs.",
}
MAX_HEAD = 65_536
"""Bytes of a request line and its headers; browsers send less than a tenth."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    - The parser collects headers without end; here a request that does not come to its point is refused.
    - What can't be understood at all is answered as every other error is.
    - Tiles are looked for before there is a task, and written when they are there; the work for a client
      that went away is left out if it did not begin.
    """

    _head_bytes = 0
    _begun = False
    _making: Future[Answer] | None = None

    def data_received(self, data: bytes) -> None:
        self._begun = False
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if self._begun or (cycle is not None and cycle.scope is self.scope):
            self._head_bytes = 0  # the head is complete, or came behind other requests
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
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
        found = app.look(cast("Scope", cycle.scope))
        if isinstance(found, Future):
            self._making = found
            found.add_done_callback(partial(self._finish, cycle, app))
        else:
            self._answer(cycle, app, found)

    def _finish(self, cycle: RequestResponseCycle, app: FastPath, made: Future[Answer]) -> None:
        """Whatever went wrong, the documented route finds it again and says so."""
        if self.transport.is_closing():
            return
        failed = made.cancelled() or made.exception() is not None
        self._answer(cycle, app, None if failed else made.result())

    def _answer(self, cycle: RequestResponseCycle, app: Any, answer: Answer | None) -> None:
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
        cycle.on_response()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _refuse(self, status: int) -> None:
        _, headers, body = problem(HTTPException(status, REASONS[status]), "")
        lines = [b"HTTP/1.1 %d Refused" % status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()
