"""Who may ask."""

from __future__ import annotations

from typing import Any

import pytest

from pims.api.authorize import LoopbackAuthorizer, NetworkAuthorizer
from pims.api.errors import Unauthenticated, UntrustedHost
from pims.errors import AccessDenied


def scope(
    client: str | None = "127.0.0.1", host: str | None = None, authorization: str | None = None
) -> dict[str, Any]:
    headers = []
    if host is not None:
        headers.append((b"host", host.encode("latin-1")))
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    return {"type": "http", "client": None if client is None else (client, 1234), "headers": headers}


@pytest.mark.parametrize(
    "host",
    [
        None,
        "localhost",
        "LOCALHOST:5000",
        "pims.localhost:80",
        "127.0.0.1",
        "127.0.0.1:5000",
        "127.9.9.9",
        "[::1]",
        "[::1]:5000",
        "images.example:8080",
    ],
)
def test_with_auth_off_this_machine_is_answered(host: str | None) -> None:
    LoopbackAuthorizer(["Images.Example"]).authorize(scope(host=host), None)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:5000",
        "10.0.0.1",
        "[2001:db8::1]",
        "0.0.0.0",
        "notlocalhost",
        "localhost@evil.example",
        "[::1",
        "\xff\xfe",
        "x" * 100_000,
    ],
)
def test_with_auth_off_a_rebound_name_is_refused(host: str) -> None:
    authorizer = LoopbackAuthorizer()
    if host == "[::1":
        authorizer.authorize(scope(host=host), None)  # sloppy, but it names this machine
        return
    with pytest.raises(UntrustedHost):
        authorizer.authorize(scope(host=host), None)


def test_two_hosts_are_one_too_many() -> None:
    asked = scope(host="localhost")
    asked["headers"].append((b"host", b"evil.example"))
    with pytest.raises(UntrustedHost):
        LoopbackAuthorizer().authorize(asked, None)


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5", "192.168.1.1"])
def test_the_networks_are_answered(client: str) -> None:
    NetworkAuthorizer(["10.0.0.0/8", "2001:db8::/32", "192.168.1.1"]).authorize(scope(client), "a/b")


@pytest.mark.parametrize(
    "client", ["11.1.2.3", "::ffff:11.1.2.3", "2001:db9::5", None, "testclient", "", "::1"]
)
def test_other_networks_are_refused(client: str | None) -> None:
    authorizer = NetworkAuthorizer(["10.0.0.0/8", "2001:db8::/32"])
    with pytest.raises(AccessDenied) as refusal:
        authorizer.authorize(scope(client, host="localhost"), "a/b")
    assert not isinstance(refusal.value, Unauthenticated)


@pytest.mark.parametrize("authorization", ["Bearer swordfish", "bearer   swordfish "])
def test_the_secret_is_answered_from_anywhere(authorization: str) -> None:
    NetworkAuthorizer([], "swordfish").authorize(scope("8.8.8.8", authorization=authorization), None)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "swordfish", "Basic swordfish", "Bearer", "Bearer ", "Bearer swordfis", "Bearer swordfish1"],
)
def test_without_the_secret_a_challenge_comes_back(authorization: str | None) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        NetworkAuthorizer(["10.0.0.0/8"], "swordfish").authorize(
            scope("8.8.8.8", authorization=authorization), None
        )
    assert refusal.value.challenge.startswith("Bearer")


def test_an_empty_secret_lets_nobody_in() -> None:
    with pytest.raises(AccessDenied):
        NetworkAuthorizer([], "").authorize(scope("8.8.8.8", authorization="Bearer "), None)


ROUTES = [
    "/",
    "/info",
    "/formats",
    "/docs",
    "/openapi.json",
    "/image/upload-x/y/info",
    "/file/upload-x/y/info",
]


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/static-offline-docs/favicon.png"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_path_is_behind_the_gate(make_shared_client: Any, path: str, method: str) -> None:
    client = make_shared_client(
        ("8.8.8.8", 1), auth="network", auth_networks="10.0.0.0/8", auth_secret="swordfish"
    )
    answer = client.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ROUTES)
def test_the_secret_opens_the_gate(make_shared_client: Any, path: str) -> None:
    client = make_shared_client(("8.8.8.8", 1), auth="network", auth_secret="swordfish")
    answer = client.get(path, headers={"authorization": "Bearer swordfish"})
    assert answer.status_code in (200, 404)


def test_networks_without_a_secret_forbid(make_shared_client: Any) -> None:
    client = make_shared_client(("8.8.8.8", 1), auth="network", auth_networks="10.0.0.0/8")
    assert client.get("/info").status_code == 403
    inside = make_shared_client(("10.0.0.9", 1), auth="network", auth_networks="10.0.0.0/8")
    assert inside.get("/info", headers={"host": "images.example"}).status_code == 200


def test_liveness_is_open_to_everyone(make_shared_client: Any) -> None:
    client = make_shared_client(("8.8.8.8", 1), auth="network", auth_secret="swordfish", api_base_path="/ims")
    assert client.get("/ims/ping", headers={"host": "10.0.0.7"}).json() == {"ping": "pong"}
    assert client.get("/ping").status_code == 401


def test_a_rebound_host_gets_421(shared_client: Any) -> None:
    answer = shared_client.get("/info", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert "AUTH=network" in answer.json()["detail"]
    assert shared_client.get("/ping", headers={"host": "evil.example"}).status_code == 200


def test_named_hosts_are_answered(make_shared_client: Any) -> None:
    client = make_shared_client(allowed_hosts=("images.example",))
    assert client.get("/info", headers={"host": "images.example:8443"}).status_code == 200
