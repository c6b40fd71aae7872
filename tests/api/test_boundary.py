"""The outermost layer: HEAD, and errors nobody expected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pims.api.boundary import Boundary


def answers(app: Any, method: str = "GET") -> list[dict[str, Any]]:
    """The messages that `app` within the boundary sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/x y", "headers": []}
    asyncio.run(Boundary(app)(scope, receive, send))
    return sent


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    assert scope["method"] == "GET"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await send({"type": "http.response.body", "body": b"cd"})


async def breaking(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("secret")


async def breaking_late(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("late")


def test_head_is_get_without_the_body() -> None:
    got, head = answers(streaming), answers(streaming, "HEAD")
    assert head[0] == got[0]
    assert b"".join(message["body"] for message in got[1:]) == b"abcd"
    assert b"".join(message["body"] for message in head[1:]) == b""
    assert [message.get("more_body") for message in head] == [message.get("more_body") for message in got]


def test_an_error_before_the_answer_is_a_500_that_tells_nothing() -> None:
    start, body = answers(breaking)
    assert start["status"] == 500
    assert b"secret" not in body["body"]
    assert b"/x%20y" in body["body"]


def test_an_error_within_the_answer_drops_the_connection() -> None:
    with pytest.raises(RuntimeError, match="late"):
        answers(breaking_late)


def test_other_protocols_pass() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Boundary(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
