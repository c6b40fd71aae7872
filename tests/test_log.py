"""What the log looks like, and where its configuration comes from."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pims.errors import ConfigurationError
from pims.log import REQUEST_ID, JsonFormatter, PlainFormatter, configure_logging

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = """
import logging, sys
from pathlib import Path
from pims.log import REQUEST_ID, configure_logging
before = logging.getLogger("pims.before")
configure_logging(Path(sys.argv[1]) if sys.argv[1] else None, debug=sys.argv[2] == "debug")
before.debug("details")
before.info("news")
REQUEST_ID.set("abc")
try:
    1 / 0
except ZeroDivisionError:
    before.exception("went wrong\\nFORGED line")
logging.getLogger("other").warning("a warning of %s", "others")
"""


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """The logging of the tests, as it was before."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.getLogRecordFactory()
    yield
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    logging.setLogRecordFactory(kept[2])


def logged(file: Path | None = None, *, debug: bool = False) -> list[str]:
    """The lines of standard error of a program that logs."""
    arguments = [str(file or ""), "debug" if debug else ""]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_warnings_and_errors_are_plain_lines_with_their_request() -> None:
    first, *trace, last = logged()
    assert first == "ERROR pims.before: went wrong\\nFORGED line [abc]"
    assert trace[0].startswith("Traceback") and trace[-1].startswith("ZeroDivisionError")
    assert last == "WARNING other: a warning of others [abc]"


def test_debug_tells_everything_of_ours() -> None:
    assert logged(debug=True)[:2] == ["DEBUG pims.before: details", "INFO pims.before: news"]


def test_the_debug_configuration_that_is_shipped_is_what_debug_means() -> None:
    assert logged(REPOSITORY / "logging-debug.yml") == logged(debug=True)


def test_the_configuration_that_is_shipped_writes_json_lines() -> None:
    lines = [json.loads(line) for line in logged(REPOSITORY / "logging.yml")]
    assert [line["level"] for line in lines] == ["INFO", "ERROR", "WARNING"]
    assert "request_id" not in lines[0]
    wrong = lines[1]
    assert set(wrong) == {"time", "level", "logger", "message", "request_id", "exception"}
    assert (wrong["logger"], wrong["message"]) == ("pims.before", "went wrong\nFORGED line")
    assert wrong["request_id"] == "abc"
    assert "ZeroDivisionError" in wrong["exception"]


def test_a_file_wins_over_debug(tmp_path: Path) -> None:
    file = tmp_path / "quiet.json"
    file.write_text(json.dumps({"version": 1, "root": {"level": "CRITICAL"}}))
    assert logged(file, debug=True) == []


def test_a_format_of_ones_own_may_name_the_request(tmp_path: Path) -> None:
    file = tmp_path / "own.yml"
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "formatters": {"own": {"format": "%(request_id)s|%(message)s"}},
                "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "own"}},
                "root": {"level": "WARNING", "handlers": ["out"]},
            }
        )
    )
    assert logged(file)[-1] == "abc|a warning of others"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is no JSON"),
        (b"\xff\xfe", "is no UTF-8 text"),
        (b"[]", "holds no mapping"),
        (b"{}", "does not configure logging: dictionary doesn't specify a version"),
        (b'{"version": 7}', "does not configure logging: Unsupported version: 7"),
        (b'{"version": 1, "root": {"level": "LOUD"}}', "does not configure logging"),
        (b'{"version": 1, "handlers": {"a": {"class": "no.such.Thing"}}}', "does not configure logging"),
        (b'{"version": 1, "handlers": 5}', "does not configure logging"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_setting(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "logging.yml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        configure_logging(file)
    assert str(caught.value).startswith(f"LOG_CONFIG_FILE: {file} ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing.yml", "."])
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="LOG_CONFIG_FILE: "):
        configure_logging(tmp_path / name)


def record(message: str, **members: Any) -> logging.LogRecord:
    configure_logging()
    made = logging.getLogger("pims.x").makeRecord("pims.x", logging.INFO, "f", 1, message, (), None)
    made.__dict__.update(members)
    return made


def test_what_a_line_of_access_says_has_members_of_its_own() -> None:
    line = json.loads(JsonFormatter().format(record("GET /x", method="GET", status=200, other=1)))
    assert (line["method"], line["status"]) == ("GET", 200)
    assert "other" not in line


def test_a_line_stays_one_line_whatever_the_message() -> None:
    token = REQUEST_ID.set("r-1")
    try:
        made = record("a\r\nb\u2028c\udcff\n")
    finally:
        REQUEST_ID.reset(token)
    assert PlainFormatter().format(made) == "INFO pims.x: a\\r\\nb\u2028c\udcff [r-1]"
    text = JsonFormatter().format(made)
    assert text.isascii() and len(text.splitlines()) == 1
