"""Problems: what a client is told when something can't be answered (RFC 9457).

One table, `KINDS`, says which status an exception becomes; nothing below the API knows of statuses.

=======================================  ======  ====================================================
what happened                            status  why this one
=======================================  ======  ====================================================
a parameter's value is wrong             400     the request itself can't be understood
a value FastAPI can't convert            422     what clients of FastAPI servers expect
a parameter not implemented here         422     understood, and not possible with this version
output larger than the limit             400     as older servers answered
too much to decode for one answer        400     a smaller part, or the image at another size, may fit
no such image, representation, format    404     also for whatever else lies at that path
not allowed                              401     a credential would help
..                                       403     it would not
..                                       421     the Host is not one this server answers for
none of the accepted types               406
the body is larger than any needs        413
the stored file can't be read            409     the request is right and the state of the image is not:
                                                 repeating it won't help before the image is imported
                                                 again, and no server should be restarted for it
the disk refused                         503     with Retry-After: it may be back soon
too much to do at the moment             503     with Retry-After
not ready, asked whether it is           503     with Retry-After
anything else                            500     a bug; the text is generic, the log has the reason
=======================================  ======  ====================================================

Every body has type, title, status, detail (a sentence), instance and errors ({in, name, reason, value});
`details` repeats detail, and the titles are those of older servers, for the clients written for them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from pims.errors import (
    AccessDenied,
    ConfigurationError,
    FileError,
    FormatNotFound,
    ImageNotFound,
    InvalidParameter,
    LimitExceeded,
    NotFoundError,
    OutputTooLarge,
    Overloaded,
    PimsError,
    RepresentationNotFound,
    RequestError,
    StorageError,
    UnsupportedParameter,
)

__all__ = [
    "KINDS",
    "PROBLEM_TYPE",
    "Kind",
    "NotAcceptable",
    "NotReady",
    "Problem",
    "Unauthenticated",
    "UntrustedHost",
    "install_handlers",
    "instance_of",
    "log_failure",
    "problem",
]

logger = logging.getLogger("pims.api")

PROBLEM_TYPE = "application/problem+json"
MAX_ECHO = 200
"""Characters of a value that are sent back."""
MAX_DETAIL = 1000
MAX_INSTANCE = 500
MAX_ERRORS = 20
RETRY_AFTER = "5"
"""Seconds after which a client may try the disk again."""


class NotAcceptable(RequestError):
    """None of the types the client accepts can be given."""

    def __init__(self, accept: str, supported: Sequence[str]) -> None:
        super().__init__(f"None of the accepted types can be given; these can: {', '.join(supported)}.")
        self.accept = accept
        self.supported = tuple(supported)


class NotReady(PimsError):
    """This process can't do its work at the moment."""


class Unauthenticated(AccessDenied):
    """A credential is needed, or the one given is wrong."""

    def __init__(self, detail: str, challenge: str) -> None:
        super().__init__(detail)
        self.challenge = challenge


class UntrustedHost(AccessDenied):
    """The request was sent to a name this server does not answer for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one sort of exception is told."""

    status: int
    name: str
    """Last part of the problem's type."""
    title: str


KINDS: Mapping[type[Exception], Kind] = {
    PimsError: Kind(500, "internal-error", "Internal Server Error"),
    ConfigurationError: Kind(500, "internal-error", "Internal Server Error"),
    RequestError: Kind(400, "bad-request", "Bad Request"),
    InvalidParameter: Kind(400, "invalid-parameter", "Bad Request"),
    UnsupportedParameter: Kind(422, "unsupported-parameter", "Not supported by this version"),
    OutputTooLarge: Kind(400, "output-too-large", "Too large image output dimensions."),
    NotAcceptable: Kind(406, "not-acceptable", "No acceptable response mime type"),
    NotFoundError: Kind(404, "not-found", "Not Found"),
    ImageNotFound: Kind(404, "image-not-found", "Filepath not found"),
    RepresentationNotFound: Kind(404, "representation-not-found", "No appropriate representation found"),
    FormatNotFound: Kind(404, "format-not-found", "Format not found"),
    AccessDenied: Kind(403, "access-denied", "Forbidden"),
    Unauthenticated: Kind(401, "unauthenticated", "Unauthorized"),
    UntrustedHost: Kind(421, "untrusted-host", "Misdirected Request"),
    FileError: Kind(409, "unreadable-image", "The stored image can't be read"),
    LimitExceeded: Kind(400, "limit-exceeded", "More than the limits allow"),
    StorageError: Kind(503, "storage-unavailable", "Storage unavailable"),
    Overloaded: Kind(503, "overloaded", "The server is busy"),
    NotReady: Kind(503, "not-ready", "Not ready"),
    RequestValidationError: Kind(422, "validation", "Validation error"),
}
"""The nearest ancestor of an exception that is listed decides; everything else is a 500."""

GENERIC = {
    500: "The server failed to answer this request; the reason is in its log.",
    503: "The storage did not answer; try again in a moment.",
}
"""Details that replace the exception's own text, which is for the log."""

SENTENCES = {
    404: "There is nothing at this path.",
    413: "The body of this request is larger than any request needs.",
    405: "This method can't be used on this path; the Allow header lists those that can.",
}


class Problem(NamedTuple):
    """A complete answer: status, headers as ASGI wants them, body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def problem(cause: Exception | int, instance: str) -> Problem:
    """The answer to a request that failed.

    Parameters
    ----------
    cause : the exception, or just a status
    instance : path of the request, percent-encoded; see `instance_of`
    """
    error = HTTPException(cause) if isinstance(cause, int) else cause
    status, type_uri, title = _kind(error)
    told = None if isinstance(error, (NotReady, Overloaded)) else GENERIC.get(status)
    detail = _bounded(told or _detail(error), MAX_DETAIL)
    body = {
        "type": type_uri,
        "title": title,
        "status": status,
        "detail": detail,
        "details": detail,
        "instance": _bounded(instance, MAX_INSTANCE),
        "errors": [],
        **_members(error),
    }
    content = json.dumps(body).encode("ascii")
    headers = {
        "content-type": PROBLEM_TYPE,
        "content-length": str(len(content)),
        "cache-control": "no-store",
        **_headers(error, status),
    }
    return Problem(status, [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()], content)


def instance_of(scope: Scope) -> str:
    """The path of a request as the client wrote it, percent-encoded."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") if raw.isascii() and raw else quote(scope["path"], errors="replace")


def log_failure(error: Exception, instance: str) -> None:
    """Leave in the log what the client is not told, when the trouble is on our side."""
    status = _kind(error)[0]
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: unexpected error", instance, exc_info=error)
    elif status in (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE):
        logger.warning("%s: %s: %s", instance, type(error).__name__, error)


def install_handlers(app: FastAPI) -> None:
    """Make `app` answer its errors with problems."""
    for error in (PimsError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    instance = instance_of(request.scope)
    log_failure(error, instance)
    status, headers, body = problem(error, instance)
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _kind(error: Exception) -> tuple[int, str, str]:
    """(status, type, title)."""
    if isinstance(error, HTTPException):
        return error.status_code, "about:blank", _phrase(error.status_code)
    for ancestor in type(error).__mro__:
        kind = KINDS.get(ancestor)
        if kind is not None:
            return kind.status, f"urn:pims:problem:{kind.name}", kind.title
    return 500, "about:blank", _phrase(500)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _detail(error: Exception) -> str:
    if isinstance(error, HTTPException):
        return SENTENCES.get(error.status_code) or error.detail
    if isinstance(error, RequestValidationError):
        return "; ".join(f"{e['name']}: {e['reason']}" for e in _validation_errors(error)[:3])
    return str(error)


@singledispatch
def _members(error: Exception) -> dict[str, Any]:
    """The members of a problem that only this sort of exception has."""
    return {}


@_members.register
def _(error: InvalidParameter) -> dict[str, Any]:
    row = {
        "in": error.where,
        "name": _bounded(error.name, MAX_ECHO),
        "reason": _bounded(error.reason, MAX_DETAIL),
        "value": _echo(error.value),
    }
    return {"errors": [row]}


@_members.register
def _(error: OutputTooLarge) -> dict[str, Any]:
    return {"request_width": error.width, "request_height": error.height, "max_size": error.limit}


@_members.register
def _(error: RepresentationNotFound) -> dict[str, Any]:
    return {"representation": _echo(error.representation)}


@_members.register
def _(error: NotAcceptable) -> dict[str, Any]:
    return {"accept_header": _bounded(error.accept, MAX_ECHO), "supported_mimetypes": list(error.supported)}


@_members.register
def _(error: RequestValidationError) -> dict[str, Any]:
    return {"errors": _validation_errors(error)}


def _validation_errors(error: RequestValidationError) -> list[dict[str, Any]]:
    rows = []
    for found in error.errors()[:MAX_ERRORS]:
        where, *names = (str(part) for part in found["loc"])
        rows.append(
            {
                "in": where,
                "name": _bounded(".".join(names) or where, MAX_ECHO),
                "reason": _bounded(found["msg"], MAX_DETAIL),
                "value": _echo(found.get("input")),
            }
        )
    return rows


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": error.challenge}
    if isinstance(error, NotAcceptable):
        return {"vary": "Accept"}
    if isinstance(error, HTTPException):
        given = {name.lower(): value for name, value in (error.headers or {}).items()}
        if "allow" in given:
            given["allow"] = _with_head(given["allow"])
        return given
    return {"retry-after": RETRY_AFTER} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def _with_head(allow: str) -> str:
    """Every path that answers GET answers HEAD (see boundary)."""
    methods = {method.strip() for method in allow.split(",")}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _echo(value: object) -> object:
    """A value sent back: a plain JSON type, short."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 64 else "a very large number"
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (str, bytes, float)):
        return _bounded(str(value), MAX_ECHO)
    return f"a value of type {type(value).__name__}"


def _bounded(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
