"""Requests are counted, have ids (fast tiles the client's only), and leave a line in the log when wanted."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pims.api.errors import instance_of
from pims.api.metrics import Metrics, kind_of
from pims.log import REQUEST_ID

__all__ = ["CLIENT_CLOSED", "REQUEST_ID_HEADER", "RequestLog", "access", "log_access", "request_id_of"]

access = logging.getLogger("pims.access")

REQUEST_ID_HEADER = b"x-request-id"
VALID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
CLIENT_CLOSED = 499
"""Status in counts and logs of a request that nobody waited for until it was answered."""
MAX_PATH = 500


class RequestLog:
    """ASGI middleware around everything else of the documented application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"]) or _new_id()
        status, size = CLIENT_CLOSED, 0

        async def send_on(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (REQUEST_ID_HEADER, request_id)]
                message = {**message, "headers": headers}
            else:
                size += len(message.get("body", b""))
            await send(message)

        token = REQUEST_ID.set(request_id.decode("ascii"))
        began = perf_counter()
        try:
            await self.app(scope, receive, send_on)
        finally:
            seconds = perf_counter() - began
            self.metrics.count(kind_of(scope["path"]), status, size, seconds)
            log_access(scope, status, size, seconds)
            REQUEST_ID.reset(token)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """What X-Request-ID is answered with: what the client sent, or a new one when that is not fit for it.

    None when the client sent none.
    """
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            return value if VALID(value) else _new_id()
    return None


def log_access(scope: Scope, status: int, size: int, seconds: float, request_id: bytes | None = None) -> None:
    """Leave a line about an answered request, if the logger `pims.access` wants it.

    `request_id` is for those who call this outside the middleware. The query is left out: it may hold what
    only the client should know.
    """
    if not access.isEnabledFor(logging.INFO):
        return
    token = REQUEST_ID.set(request_id.decode("ascii") if request_id else REQUEST_ID.get())
    told = {
        "method": scope["method"],
        "path": instance_of(scope)[:MAX_PATH],
        "status": status,
        "bytes": size,
        "milliseconds": round(seconds * 1000, 3),
    }
    access.info("%s %s %d %d bytes %.3f ms", *told.values(), extra=told)
    REQUEST_ID.reset(token)


def _new_id() -> bytes:
    return secrets.token_hex(8).encode("ascii")
