"""Conditional requests: entity tags, and how long an answer may be kept."""

from __future__ import annotations

import re
from hashlib import blake2b

from pims.images.render import RENDER_EPOCH

__all__ = ["TagSeries", "cache_control", "etag", "matches"]

DIGEST_BYTES = 16
MAX_IF_NONE_MATCH = 8192
TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def etag(identity: str, request_key: str) -> str:
    """A weak entity tag, the same in every process.

    Parameters
    ----------
    identity : of the image, with its revision
    request_key : what was asked, resolved: two requests with the same key get the same bytes
    """
    digest = blake2b(_tagged(identity, request_key), digest_size=DIGEST_BYTES)
    return f'W/"{digest.hexdigest()}"'


class TagSeries:
    """The entity tags of requests whose keys begin alike: `of(rest)` is etag(identity, beginning + rest)."""

    def __init__(self, identity: str, beginning: str) -> None:
        self._begun = blake2b(_tagged(identity, beginning), digest_size=DIGEST_BYTES)

    def of(self, rest: str) -> str:
        """The tag of the request whose key ends with `rest`."""
        digest = self._begun.copy()
        digest.update(rest.encode())
        return f'W/"{digest.hexdigest()}"'


def matches(if_none_match: str | bytes | None, tag: str) -> bool:
    """Whether the client already has what `tag` names (RFC 9110, section 13.1.2: weak comparison).

    Lists and `*` are understood, and so is the form without quotes that older servers sent.
    """
    if not if_none_match or len(if_none_match) > MAX_IF_NONE_MATCH:
        return False
    if isinstance(if_none_match, bytes):
        if_none_match = if_none_match.decode("latin-1")
    if if_none_match in (tag, "*"):
        return True
    wanted = _opaque(tag)
    return if_none_match.strip() == "*" or any(
        (quoted or bare.removeprefix("W/")) == wanted for quoted, bare in TAG.findall(if_none_match)
    )


def cache_control(max_age: int) -> str:
    """Value of Cache-Control for what only the client itself may keep, for `max_age` seconds."""
    return f"private, must-revalidate, max-age={max_age}"


def _tagged(identity: str, request_key: str) -> bytes:
    return f"{RENDER_EPOCH}\0{identity}\0{request_key}".encode("utf-8", "surrogatepass")


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')
