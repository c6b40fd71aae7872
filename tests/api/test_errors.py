"""Problems: the table is total, the bodies are RFC 9457, nothing leaks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

import pims.errors
from pims.api.errors import KINDS, NotAcceptable, Unauthenticated, UntrustedHost, problem
from pims.errors import (
    AccessDenied,
    ConfigurationError,
    CorruptFile,
    FormatNotFound,
    ImageNotFound,
    InvalidParameter,
    LimitExceeded,
    NoMatchingFormat,
    OutputTooLarge,
    PimsError,
    RepresentationNotFound,
    StorageError,
    UnsupportedFeature,
    UnsupportedParameter,
)

MEMBERS = {"type", "title", "status", "detail", "details", "instance", "errors"}


def body_of(cause: Exception | int, instance: str = "/x") -> dict[str, Any]:
    status, headers, body = problem(cause, instance)
    told = dict(headers)
    assert told[b"content-type"] == b"application/problem+json"
    assert told[b"cache-control"] == b"no-store"
    assert told[b"content-length"] == str(len(body)).encode()
    values: dict[str, Any] = json.loads(body, parse_constant=pytest.fail)
    assert values["status"] == status
    assert set(values) >= MEMBERS
    assert values["details"] == values["detail"]
    return values


def tree(base: type[PimsError]) -> Iterator[type[PimsError]]:
    for child in base.__subclasses__():
        yield child
        yield from tree(child)


def test_every_error_of_pims_has_a_status_of_its_own_branch() -> None:
    for error in tree(PimsError):
        branch = [ancestor for ancestor in error.__mro__ if ancestor in KINDS and ancestor is not PimsError]
        assert branch, f"{error.__name__} would be a 500"


def test_every_error_that_pims_errors_exports_is_covered() -> None:
    for name in pims.errors.__all__:
        assert any(ancestor in KINDS for ancestor in getattr(pims.errors, name).__mro__)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (InvalidParameter("zoom", "is too large"), 400, "Bad Request"),
        (UnsupportedParameter("filters", "OTSU"), 422, "Not supported by this version"),
        (OutputTooLarge(20000, 5, 10000), 400, "Too large image output dimensions."),
        (NotAcceptable("text/plain", ["image/png"]), 406, "No acceptable response mime type"),
        (ImageNotFound("upload-x/y"), 404, "Filepath not found"),
        (RepresentationNotFound("SPECTRAL"), 404, "No appropriate representation found"),
        (FormatNotFound("SVS"), 404, "Format not found"),
        (AccessDenied("no"), 403, "Forbidden"),
        (Unauthenticated("no", "Bearer"), 401, "Unauthorized"),
        (UntrustedHost("no"), 421, "Misdirected Request"),
        (NoMatchingFormat("no"), 409, "The stored image can't be read"),
        (UnsupportedFeature("no"), 409, "The stored image can't be read"),
        (CorruptFile("ends too early"), 409, "The stored image can't be read"),
        (LimitExceeded("too much"), 400, "More than the limits allow"),
        (StorageError("disk full"), 503, "Storage unavailable"),
        (ConfigurationError("ROOT: no"), 500, "Internal Server Error"),
        (PimsError("no"), 500, "Internal Server Error"),
        (KeyError("secret"), 500, "Internal Server Error"),
    ],
)
def test_an_error_becomes_its_status_and_title(error: Exception, status: int, title: str) -> None:
    values = body_of(error)
    assert (values["status"], values["title"]) == (status, title)


def test_a_wrong_parameter_is_named_with_its_reason_and_value() -> None:
    values = body_of(InvalidParameter("zoom", "must be at most 3", 12, "path"))
    assert values["detail"] == "zoom: must be at most 3"
    assert values["errors"] == [{"in": "path", "name": "zoom", "reason": "must be at most 3", "value": 12}]


def test_an_output_that_is_too_large_tells_the_sizes() -> None:
    values = body_of(OutputTooLarge(20000, 5, 10000))
    assert (values["request_width"], values["request_height"], values["max_size"]) == (20000, 5, 10000)


def test_406_tells_what_was_accepted_and_what_can_be_given() -> None:
    values = body_of(NotAcceptable("text/plain", ("image/png", "image/webp")))
    assert values["accept_header"] == "text/plain"
    assert values["supported_mimetypes"] == ["image/png", "image/webp"]
    assert dict(problem(NotAcceptable("x", ()), "/")[1])[b"vary"] == b"Accept"


def test_a_missing_representation_is_named() -> None:
    assert body_of(RepresentationNotFound("SPECTRAL"))["representation"] == "SPECTRAL"


def test_401_challenges_and_503_says_when_to_come_back() -> None:
    assert dict(problem(Unauthenticated("no", 'Bearer realm="PIMS"'), "/")[1])[b"www-authenticate"] == (
        b'Bearer realm="PIMS"'
    )
    assert int(dict(problem(StorageError("x"), "/")[1])[b"retry-after"]) > 0


def test_what_went_wrong_inside_stays_inside() -> None:
    for error in (
        KeyError("secret"),
        ConfigurationError("secret"),
        StorageError("secret"),
        PimsError("secret"),
    ):
        assert "secret" not in json.dumps(body_of(error))


def test_a_status_alone_is_a_problem_too() -> None:
    assert body_of(404)["title"] == "Not Found"
    assert body_of(599)["status"] == 599


def test_405_lists_head_beside_get() -> None:
    headers = dict(problem(HTTPException(405, headers={"Allow": "POST, GET"}), "/")[1])
    assert headers[b"allow"] == b"GET, HEAD, POST"


@given(
    name=st.text(max_size=3000),
    value=st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=3000)
    | st.binary()
    | st.lists(st.text()),
    instance=st.text(max_size=3000),
)
def test_whatever_a_client_sends_comes_back_short_and_as_json(
    name: str, value: object, instance: str
) -> None:
    _, _, body = problem(InvalidParameter(name, "is wrong", value), instance)
    json.loads(body, parse_constant=pytest.fail)
    assert len(body) < 40_000


def test_a_number_with_a_million_digits_comes_back_short() -> None:
    assert body_of(InvalidParameter("x", "is wrong", 1 << 4_000_000))["errors"][0]["value"] == (
        "a very large number"
    )


def test_an_unexpected_error_is_logged_and_hidden(caplog: pytest.LogCaptureFixture, client: Any) -> None:
    app: FastAPI = client.app.app

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the password is swordfish")

    with caplog.at_level(logging.ERROR, "pims.api"):
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "swordfish" not in answer.text
    assert "swordfish" in caplog.text
    assert "/broken" in caplog.text


def test_an_unexpected_error_has_no_body_for_head(client: Any) -> None:
    def broken() -> None:
        raise RuntimeError

    client.app.app.add_api_route("/broken", broken)
    got, head = client.get("/broken"), client.head("/broken")
    assert (head.status_code, head.content) == (500, b"")
    assert head.headers == got.headers
