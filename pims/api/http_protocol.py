"""How HTTP/1.1 is spoken: uvicorn's protocol, with a limit on what precedes the body of a request."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pims.api.errors import problem

__all__ = ["BoundedHttpProtocol"]

REASONS = {
    400: "This is no valid HTTP request.",
    431: "The headers of this request are larger than any request needs.",
}
MAX_HEAD = 65_536
"""Bytes of a request line and its headers; browsers send less than a tenth."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """The parser collects headers without end; here a request that does not come to its point is refused.

    What can't be understood at all is answered as every other error is.
    """

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self._head_bytes = 0  # the head of the last request is complete
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _refuse(self, status: int) -> None:
        _, headers, body = problem(HTTPException(status, REASONS[status]), "")
        lines = [b"HTTP/1.1 %d Refused" % status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()
