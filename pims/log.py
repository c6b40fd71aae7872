"""How a process of the server logs: where, in which form, and for which request.

Without a configuration, warnings and errors go to standard error as plain lines. LOG_CONFIG_FILE names a
file for `logging.config.dictConfig`; DEBUG tells everything, in plain lines.
"""

from __future__ import annotations

import importlib
import json
import logging
import logging.config
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pims.errors import ConfigurationError

__all__ = ["REQUEST_ID", "JsonFormatter", "PlainFormatter", "RequestRecord", "configure_logging"]

REQUEST_ID: ContextVar[str] = ContextVar("pims_request_id", default="")
"""Of the request that is being answered; empty when there is none."""
LOG_LINE = "%(levelname)s %(name)s: %(message)s"
MEMBERS = ("method", "path", "status", "bytes", "milliseconds")
"""What lines of the logger `pims.access` have besides: members of their own in JSON."""
MAX_BYTES = 1 << 20
"""Of a configuration file."""
ONE_LINE = {ord("\n"): "\\n", ord("\r"): "\\r"}


def _plain(levels: Mapping[str, str], root: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"()": "pims.log.PlainFormatter"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "plain",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": root, "handlers": ["stderr"]},
        "loggers": {name: {"level": level} for name, level in levels.items()},
    }


class RequestRecord(logging.LogRecord):
    """A record that knows its request: `%(request_id)s` in formats of configuration files."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request_id = REQUEST_ID.get()


class PlainFormatter(logging.Formatter):
    """`WARNING pims.api: what happened [request id]`; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__(LOG_LINE)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the library's
        text = super().formatMessage(record).rstrip().translate(ONE_LINE)
        request_id = getattr(record, "request_id", "")
        return f"{text} [{request_id}]" if request_id else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id, exception, and members of access."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().rstrip(),
        }
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        line |= {name: getattr(record, name) for name in MEMBERS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(file: Path | None = None, *, debug: bool = False) -> None:
    """Make this process log as configured; a file that is named wins over `debug`.

    Raises
    ------
    ConfigurationError : one line, which names LOG_CONFIG_FILE
    """
    logging.setLogRecordFactory(RequestRecord)
    if file is not None:
        _apply(file, _read(file))
    elif debug:
        logging.config.dictConfig(_plain({"pims": "DEBUG"}, "INFO"))
    else:
        logging.config.dictConfig(_plain({}, "WARNING"))


def _apply(file: Path, configuration: dict[str, Any]) -> None:
    try:
        # Modules have their loggers before this is called, and what is not named is not to be silent.
        logging.config.dictConfig({"disable_existing_loggers": False, **configuration})
    except (ValueError, TypeError, AttributeError, ImportError, KeyError, OSError) as error:
        reasons = ": ".join(str(reason) for reason in (error, error.__cause__) if reason)
        raise ConfigurationError(
            f"LOG_CONFIG_FILE: {file} does not configure logging: {' '.join(reasons.split())}"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_BYTES).decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"LOG_CONFIG_FILE: there is no file {file}") from error
    except OSError as error:
        raise ConfigurationError(f"LOG_CONFIG_FILE: {file} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"LOG_CONFIG_FILE: {file} is no UTF-8 text") from error
    content = _parse(file, text)
    if not isinstance(content, dict):
        raise ConfigurationError(f"LOG_CONFIG_FILE: {file} holds no mapping of names to values")
    return content


def _parse(file: Path, text: str) -> Any:
    """JSON, which is YAML too; other YAML when PyYAML happens to be installed."""
    try:
        return json.loads(text)
    except ValueError as error:
        try:
            yaml: Any = importlib.import_module("yaml")
        except ImportError:
            raise ConfigurationError(
                f"LOG_CONFIG_FILE: {file} is no JSON ({error}); for other YAML, install PyYAML"
            ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"LOG_CONFIG_FILE: {file} is neither JSON nor YAML: {' '.join(str(error).split())}"
        ) from error
