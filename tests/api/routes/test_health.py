"""Health, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_server_in_order_says_so_to_everyone(make_client: Any, path: str) -> None:
    client = make_client(
        client=("203.0.113.9", 4000),
        auth="network",
        auth_secret="swordfish",
        host="0.0.0.0",
        api_base_path="/ims",
    )
    answer = client.get(f"/ims{path}")
    assert (answer.status_code, answer.json()) == (200, {"status": path.rpartition("/")[2]})
    assert client.head(f"/ims{path}").status_code == 200
    assert client.get("/ims/info").status_code == 401
    assert client.get(path).status_code == 401


def test_what_is_wrong_is_said_without_paths(make_client: Any, root: Path) -> None:
    client = make_client()
    root.rename(root.with_name("elsewhere"))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" in answer.headers
    assert answer.json()["detail"] == "ROOT is not there."
    assert answer.json()["type"] == "urn:pims:problem:not-ready"
    assert str(root) not in answer.text
    assert client.get("/health/live").status_code == 200


def test_a_server_that_ends_is_not_ready_and_lives(make_client: Any) -> None:
    client = make_client()
    client.app.app.state.readiness.drain()
    assert client.get("/health/ready").json()["detail"] == "This server is ending."
    assert client.get("/health/live").status_code == 200
