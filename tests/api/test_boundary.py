"""What the outermost layer promises."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from pims.api.boundary import MAX_BODY
from tests.api.conftest import Client


def test_a_body_that_says_how_large_it_is_is_read_up_to_the_limit(shared_client: Client) -> None:
    answer = shared_client.request("POST", "/image/upload-x/a.tif/window", content=b" " * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert "larger than any request needs" in answer.json()["detail"]


def test_a_body_without_length_is_read_up_to_the_limit(shared_client: Client) -> None:
    async def send() -> httpx.Response:
        sent = 0

        async def endless() -> Any:
            nonlocal sent
            while sent < 4 * MAX_BODY:
                sent += 1 << 20
                yield b" " * (1 << 20)

        transport = httpx.ASGITransport(shared_client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/image/upload-x/a.tif/window", content=endless())

    assert asyncio.run(send()).status_code == 413


def test_a_body_that_nests_without_end_is_refused(shared_client: Client) -> None:
    for content in (b"[" * 1_000_000, b'{"region":' * 100_000):
        answer = shared_client.request(
            "POST",
            "/image/upload-x/a.tif/window",
            content=content,
            headers={"content-type": "application/json"},
        )
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/problem+json"


def test_pages_load_nothing_from_elsewhere(shared_client: Client) -> None:
    for page in ("/", "/docs", "/swagger"):
        policy = shared_client.get(page).headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert "default-src" in policy[0]
        assert "http" not in policy[0]
