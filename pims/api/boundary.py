"""The outermost layer of the application: HEAD, bodies too large, errors nobody expected."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pims.api.errors import instance_of, log_failure, problem

__all__ = ["Boundary"]

MAX_BODY = 16 << 20
"""Bytes of a request's body. Annotations may be long; nothing here takes files."""
NO_SNIFFING = (b"x-content-type-options", b"nosniff")


OWN_THINGS_ONLY = (
    b"content-security-policy",
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'self'",
)
"""For pages without a policy of their own: those of the API's documentation, whose scripts are foreign."""


class Boundary:
    """ASGI middleware around everything else.

    - HEAD is answered as GET without the body: the same status and headers by construction, on every path.
    - What no handler expected becomes a 500 that tells nothing, and an entry in the log. Once the answer
      has begun it is too late for that: the exception goes on and the server drops the connection.
    - A body is read up to a limit, whatever length it claims.
    - No answer may be taken by a browser for another type than it says, no page loads what is elsewhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        started = False
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                raise HTTPException(413)
            return message

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], *_protection(message["headers"])]}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app({**scope, "method": "GET"} if head else scope, receive_some, send_on)
        except Exception as error:  # the process boundary: a bug must not take the connection down
            if started:
                raise
            instance = instance_of(scope)
            log_failure(error, instance)
            status, headers, body = problem(error, instance)
            await send_on({"type": "http.response.start", "status": status, "headers": headers})
            await send_on({"type": "http.response.body", "body": body})


def _protection(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that keep browsers from doing more with an answer than showing it."""
    known = dict(headers)
    is_page = known.get(b"content-type", b"").startswith(b"text/html")
    return [NO_SNIFFING, OWN_THINGS_ONLY] if is_page and OWN_THINGS_ONLY[0] not in known else [NO_SNIFFING]
