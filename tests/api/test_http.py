"""The rules of HTTP that hold on every path."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def client(shared_client: Any) -> Any:
    """One application for all of this module: these tests change nothing."""
    return shared_client


@pytest.fixture
def slide(shared_slide: str) -> str:
    return shared_slide


@pytest.fixture
def root(shared_root: Any) -> Any:
    return shared_root


PATHS = [
    "/",
    "/ping",
    "/info",
    "/formats",
    "/formats/pyrtiff",
    "/docs",
    "/swagger",
    "/openapi.json",
    "/static-offline-docs/favicon.png",
    "/file/{slide}/info",
    "/image/{slide}/info",
    "/image/{slide}/info/image",
    "/image/{slide}/info/channels",
    "/image/{slide}/info/normalized-pyramid",
    "/image/{slide}/info/instrument",
    "/image/{slide}/info/associated",
    "/image/{slide}/info/representations",
    "/image/{slide}/info/representations/SPATIAL",
]
FAILURES = [
    ("/nothing", 404),
    ("/image", 404),
    ("/image/", 404),
    ("/image/a/b/nothing", 404),
    ("/image/upload-x/y/info", 404),
    ("/formats/nothing", 404),
    ("/formats/", 404),
    ("/?page=x", 422),
    ("/?page=0", 422),
    ("/image/{slide}/info/representations/nothing", 422),
    ("/image/{slide}/info/representations/SPECTRAL", 404),
    ("/static-offline-docs/nothing", 404),
    ("/static-offline-docs/../core.py", 404),
]


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_status_and_headers_of_get(client: Any, slide: str, path: str) -> None:
    path = path.format(slide=slide)
    got, head = client.get(path), client.head(path)
    assert got.status_code == head.status_code == 200
    assert head.content == b""
    assert head.headers == got.headers
    assert int(head.headers["content-length"]) == len(got.content) > 0
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "status"), FAILURES)
def test_every_failure_is_a_problem(client: Any, slide: str, path: str, status: int) -> None:
    path = path.format(slide=slide)
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("/")
    assert (len(body["errors"]) > 0) is (status == 422)


@pytest.mark.parametrize(("path", "status"), FAILURES)
def test_a_failure_has_no_body_for_head(client: Any, slide: str, path: str, status: int) -> None:
    path = path.format(slide=slide)
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers == got.headers


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("/static")])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_told_what_they_may_do(client: Any, slide: str, path: str, method: str) -> None:
    answer = client.request(method, path.format(slide=slide))
    assert answer.status_code == 405
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
    assert answer.json()["title"] == "Method Not Allowed"


def test_a_wrong_value_is_told_with_its_place(client: Any) -> None:
    [error] = client.get("/?page=x").json()["errors"]
    assert (error["in"], error["name"], error["value"]) == ("query", "page", "x")


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/image/")])
def test_what_a_client_has_is_not_sent_again(client: Any, slide: str, path: str) -> None:
    path = path.format(slide=slide)
    got = client.get(path)
    assert got.headers["cache-control"] == "private, must-revalidate, max-age=86400"
    tag = got.headers["etag"]
    for sent in (tag, f'"x", {tag}', "*", tag.replace('"', "")):
        again = client.get(path, headers={"if-none-match": sent})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == got.headers["cache-control"]
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


HOSTILE = [
    "upload-x/../../etc/passwd",
    "upload-x/%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "%252e%252e/passwd",
    "upload-x%5c..%5cpasswd",
    "upload-x/%00",
    "upload-x/a%00.tif",
    "upload-x/%c0%ae%c0%ae/x",
    "upload-x/%ff%fe",
    "upload-x/" + "a" * 5000,
    "upload-x/%EF%BC%8E%EF%BC%8E/x",
    "upload-%0d%0aSet-Cookie:x/y",
    "upload-{uuid}/../upload-{uuid}/slide.tif",
    "upload-{uuid}/./slide.tif",
    "upload-{uuid}//slide.tif",
    "upload-{uuid}/processed/manifest.json",
    "upload-{uuid}/processed",
    "upload-{uuid}",
    "upload-{uuid}/",
    "../secret.txt",
    "secret.txt",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("route", ["/image/{}/info", "/file/{}/info", "/image/{}/info/image"])
def test_a_path_out_of_the_uploads_is_a_path_to_nothing(
    client: Any, slide: str, root: Any, path: str, route: str
) -> None:
    (root / "secret.txt").write_text("secret")
    uuid = slide.partition("/")[0].removeprefix("upload-")
    answer = client.get_raw(route.format(path.replace("{uuid}", uuid)))
    reference = client.get(route.format("upload-nothing/nothing.tif")).json()
    assert answer.status_code == 404
    body = answer.json()
    if "%0a" not in path:  # no route at all takes a line break
        assert {**body, "instance": ""} == {**reference, "instance": ""}
    assert "set-cookie" not in answer.headers


def test_nothing_is_told_across_origins_unless_configured(client: Any, make_client: Any) -> None:
    origin = {"origin": "https://viewer.example"}
    assert "access-control-allow-origin" not in client.get("/info", headers=origin).headers
    open_client = make_client(cors_origins="https://viewer.example")
    answer = open_client.get("/info", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert "ETag" in answer.headers["access-control-expose-headers"]
    other = open_client.get("/info", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_preflight_needs_no_credential(make_client: Any) -> None:
    client = make_client(
        ("8.8.8.8", 1), auth="network", auth_secret="swordfish", cors_origins="https://viewer.example"
    )
    answer = client.request(
        "OPTIONS",
        "/info",
        headers={
            "origin": "https://viewer.example",
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        },
    )
    assert answer.status_code == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_below_the_base_path(make_shared_client: Any, slide: str, path: str) -> None:
    client = make_shared_client(api_base_path="/ims")
    path = path.format(slide=slide)
    assert client.get(f"/ims{path}").status_code == 200
    assert client.get(path).status_code == (200 if path == "/openapi.json" else 404)
