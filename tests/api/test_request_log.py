"""Request ids, and the lines that requests leave in the log."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from pims.api.request_log import log_access, request_id_of
from pims.log import RequestRecord

MADE = re.compile(r"[0-9a-f]{16}")


@pytest.fixture
def caplog_with_ids(caplog: pytest.LogCaptureFixture) -> Any:
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(RequestRecord)
    caplog.set_level(logging.INFO, "pims.access")
    yield caplog
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"a", True),
        (b"Az09-_.", True),
        (b"x" * 64, True),
        (b"x" * 65, False),
        (b"", False),
        (b"a b", False),
        (b"a\n", False),
        ("é".encode(), False),
        (b'<script>"', False),
    ],
)
def test_an_id_is_repeated_when_it_is_harmless(sent: bytes, kept: bool) -> None:
    answered = request_id_of([(b"host", b"x"), (b"x-request-id", sent)])
    assert answered is not None
    assert (answered == sent) is kept
    assert kept or MADE.fullmatch(answered.decode())


def test_no_id_is_no_id() -> None:
    assert request_id_of([(b"host", b"x")]) is None


@pytest.mark.parametrize("path", ["/ping", "/formats", "/nothing", "/image/upload-x/y/info", "/info?page=x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_every_answer_repeats_the_id_of_its_request(shared_client: Any, path: str, method: str) -> None:
    answer = shared_client.request(method, path, headers={"X-Request-ID": "my-id.1"})
    assert answer.headers.get_list("x-request-id") == ["my-id.1"]


def test_an_error_nobody_expected_has_an_id_too(make_client: Any, caplog_with_ids: Any) -> None:
    client = make_client()

    async def fail() -> None:
        raise RuntimeError("a bug")

    client.app.app.add_api_route("/fail", fail)
    answer = client.get("/fail", headers={"X-Request-ID": "the-bug"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "the-bug")
    lines = {record.name: record.request_id for record in caplog_with_ids.records}
    assert lines == {"pims.api": "the-bug", "pims.access": "the-bug"}


def test_refusals_have_ids(make_client: Any) -> None:
    client = make_client(auth="network", auth_secret="swordfish", host="0.0.0.0")
    answer = client.get("/info", headers={"X-Request-ID": "x"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "x")


def test_a_request_leaves_a_line_without_its_query(
    shared_client: Any, shared_slide: str, caplog_with_ids: Any
) -> None:
    url = f"/image/{shared_slide}/thumb.png?token=swordfish"
    answer = shared_client.get(url, headers={"X-Request-ID": "abc", "cookie": "swordfish"})
    [line] = [record for record in caplog_with_ids.records if record.name == "pims.access"]
    assert "swordfish" not in str(line.__dict__)
    assert (line.method, line.path) == ("GET", f"/image/{shared_slide}/thumb.png")
    assert (line.status, line.bytes) == (answer.status_code, len(answer.content))
    assert line.request_id == "abc"
    assert 0 < line.milliseconds < 60_000
    assert re.fullmatch(r"GET /image/\S+ 200 \d+ bytes [0-9.]+ ms", line.getMessage())


def test_a_path_can_not_forge_a_line(shared_client: Any, caplog_with_ids: Any) -> None:
    shared_client.get_raw("/x%0aGET%20/forged" + "a" * 5000)
    [line] = [record for record in caplog_with_ids.records if record.name == "pims.access"]
    assert "\n" not in line.getMessage()
    assert len(line.getMessage()) < 1000


def test_a_line_may_be_left_outside_the_middleware(caplog_with_ids: Any) -> None:
    scope = {"type": "http", "method": "GET", "path": "/a b", "raw_path": b"/a%20b"}
    log_access(scope, 304, 0, 0.0015, b"the-id")
    log_access(scope, 200, 5, 0.0015)
    first, second = caplog_with_ids.records
    assert (first.request_id, second.request_id) == ("the-id", "")
    assert first.getMessage() == "GET /a%20b 304 0 bytes 1.500 ms"


def test_nothing_is_logged_that_nobody_wants(shared_client: Any, caplog: pytest.LogCaptureFixture) -> None:
    shared_client.get("/ping")
    assert not [record for record in caplog.records if record.name == "pims.access"]
