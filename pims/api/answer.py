"""An image as an answer: who may see it, whether the client has it, where its bytes come from.

The fast path and the documented routes both end here, so that they give the same bytes and headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.types import Scope

from pims.api.authorize import Authorizer
from pims.api.conditional import cache_control, etag, matches
from pims.cache.lru import BytesBoundedLRU
from pims.images.image import OpenedImage
from pims.images.pool import ImagePool, Lease
from pims.images.render import RenderRequest, TileRequest, render, stored_tile
from pims.images.threads import RenderThreads
from pims.processing.encode import MEDIA_TYPES

__all__ = ["Answer", "Conditions", "ImageAnswerer", "ImageQuery"]

CONTENT_TYPES = {media_type: (b"content-type", media_type.encode()) for media_type in MEDIA_TYPES}
VARY = (b"vary", b"Accept")
HIT, MISS = (b"x-pims-cache", b"HIT"), (b"x-pims-cache", b"MISS")


Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """Status, headers and body of an image response."""

    status: int
    headers: Headers
    body: bytes


class Conditions(NamedTuple):
    """What else of a request decides about its answer. A tuple: it is made for every tile."""

    varies: bool
    """Whether the type was chosen by the Accept header."""
    if_none_match: bytes | None = None
    no_store: bool = False
    """Whether the client asked that nothing be kept."""
    told: Mapping[str, str] = MappingProxyType({})
    """Further headers of the answer."""


class ImageQuery(NamedTuple):
    """What a client asks of one image, before the image is known."""

    filepath: str
    make_request: Callable[[OpenedImage], RenderRequest]
    """Resolves what was asked against the image, and may fill `conditions.told`. Raises RequestError."""
    conditions: Conditions


class ImageAnswerer:
    """Answers image queries. Pixel work runs in threads, never on the event loop."""

    def __init__(
        self,
        pool: ImagePool,
        authorizer: Authorizer,
        threads: RenderThreads,
        *,
        max_age: int,
        cache_bytes: int,
    ) -> None:
        self.pool = pool
        self.authorizer = authorizer
        self._threads = threads
        self._cache: BytesBoundedLRU[bytes] = BytesBoundedLRU(cache_bytes)
        self._cache_control = (b"cache-control", cache_control(max_age).encode())

    async def answer(self, scope: Scope, query: ImageQuery) -> Answer:
        """Raises AccessDenied, NotFoundError, RequestError, FileError, StorageError."""
        self.authorizer.authorize(scope, query.filepath)
        return await self._threads.submit(self._answer_blocking, query)

    def known(
        self, image: OpenedImage, request: RenderRequest, tag: str, conditions: Conditions
    ) -> Answer | None:
        """The answer that needs no pixel work: the client has it, or it was made before."""
        if conditions.if_none_match is not None and matches(conditions.if_none_match, tag):
            headers = [self._cache_control, (b"etag", tag.encode())]
            return Answer(304, _and_told(headers, conditions), b"")
        cached = None if conditions.no_store else self._cache.get(tag)
        return None if cached is None else self.found(request.media_type, tag, conditions, cached, HIT)

    def make(
        self, lease: Lease, request: RenderRequest, tag: str, conditions: Conditions
    ) -> asyncio.Future[Answer]:
        """The answer made in a thread. The lease ends when that work does, whoever still waits for it."""
        try:
            return self._threads.submit(
                self._made, lease.image, request, tag, conditions, after=lease.release
            )
        except RuntimeError:  # the server is closing
            lease.release()
            raise

    def found(
        self,
        media_type: str,
        tag: str,
        conditions: Conditions,
        body: bytes,
        hit: tuple[bytes, bytes] = MISS,
    ) -> Answer:
        """The answer with bytes that are there."""
        headers = [
            self._cache_control,
            (b"etag", tag.encode()),
            CONTENT_TYPES[media_type],
            (b"content-length", b"%d" % len(body)),
            hit,
        ]
        return Answer(200, _and_told(headers, conditions), body)

    def _answer_blocking(self, query: ImageQuery) -> Answer:
        with self.pool.lease(query.filepath) as image:
            request = query.make_request(image)
            tag = etag(image.identity, request.key())
            known = self.known(image, request, tag, query.conditions)
            return known or self._made(image, request, tag, query.conditions)

    def _made(self, image: OpenedImage, request: RenderRequest, tag: str, conditions: Conditions) -> Answer:
        stored = stored_tile(image, request) if isinstance(request, TileRequest) else None
        if stored is not None:
            return self.found(request.media_type, tag, conditions, stored.data)
        body = render(image, request)
        if not conditions.no_store:
            self._cache.put(tag, body, len(body))
        return self.found(request.media_type, tag, conditions, body)


def _and_told(headers: Headers, conditions: Conditions) -> Headers:
    """The headers of an answer with those that depend on the request."""
    if conditions.varies:
        headers.append(VARY)
    if conditions.told:
        headers.extend((name.encode(), value.encode()) for name, value in conditions.told.items())
    return headers
