"""An image as an answer: who may see it, whether the client has it, where its bytes come from.

The fast path and the documented routes both end here, so that they give the same bytes and headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from starlette.types import Scope

from pims.api.authorize import Authorizer
from pims.api.conditional import cache_control, etag, matches
from pims.cache.lru import BytesBoundedLRU
from pims.images.image import OpenedImage
from pims.images.pool import ImagePool
from pims.images.render import RenderRequest, TileRequest, render, stored_tile

__all__ = ["Answer", "ImageAnswerer", "ImageQuery"]

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of an image response."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """What a client asks of one image, before the image is known."""

    filepath: str
    make_request: Callable[[OpenedImage], RenderRequest]
    """Resolves what was asked against the image. Raises RequestError."""
    varies: bool
    """Whether the type was chosen by the Accept header."""
    if_none_match: bytes | None = None
    no_store: bool = False
    """Whether the client asked that nothing be kept."""
    told: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the answer; `make_request` may fill it."""


class ImageAnswerer:
    """Answers image queries. Pixel work runs in the executor, never on the event loop."""

    def __init__(
        self,
        pool: ImagePool,
        authorizer: Authorizer,
        executor: Executor,
        *,
        max_age: int,
        cache_bytes: int,
    ) -> None:
        self.pool = pool
        self.authorizer = authorizer
        self._executor = executor
        self._cache: BytesBoundedLRU[bytes] = BytesBoundedLRU(cache_bytes)
        self._cache_control = cache_control(max_age).encode()

    async def answer(self, scope: Scope, query: ImageQuery) -> Answer:
        """Raises AccessDenied, NotFoundError, RequestError, FileError, StorageError."""
        self.authorizer.authorize(scope, query.filepath)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._answer_blocking, query)

    async def answer_opened(self, scope: Scope, query: ImageQuery) -> Answer | None:
        """As `answer`, for an image that is open already: stored tiles come straight from the page cache.

        None when it is not open; nothing here waits for a disk on the event loop.
        """
        with self.pool.lease_open(query.filepath) as image:
            if image is None:
                return None
            self.authorizer.authorize(scope, query.filepath)
            request = query.make_request(image)
            tag = etag(image.identity, request.key())
            known = self._known(image, request, tag, query, may_block=False)
            if known is not None:
                return known
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._made, image, request, tag, query
            )

    def _answer_blocking(self, query: ImageQuery) -> Answer:
        with self.pool.lease(query.filepath) as image:
            request = query.make_request(image)
            tag = etag(image.identity, request.key())
            known = self._known(image, request, tag, query, may_block=True)
            return known or self._made(image, request, tag, query)

    def _known(
        self, image: OpenedImage, request: RenderRequest, tag: str, query: ImageQuery, *, may_block: bool
    ) -> Answer | None:
        """What needs no pixel work: the client has it, it is stored as it is sent, it was made before."""
        if query.if_none_match is not None and matches(query.if_none_match, tag):
            return Answer(304, self._headers(tag, query), b"")
        if isinstance(request, TileRequest):
            try:
                stored = stored_tile(image, request, may_block=may_block)
            except BlockingIOError:
                return None  # made in the executor, where reading may wait
            if stored is not None:
                return self._image(tag, query, request, stored.data, b"MISS")
        cached = None if query.no_store else self._cache.get(tag)
        return None if cached is None else self._image(tag, query, request, cached, b"HIT")

    def _made(self, image: OpenedImage, request: RenderRequest, tag: str, query: ImageQuery) -> Answer:
        if isinstance(request, TileRequest):
            stored = stored_tile(image, request)
            if stored is not None:
                return self._image(tag, query, request, stored.data, b"MISS")
        body = render(image, request)
        if not query.no_store:
            self._cache.put(tag, body, len(body))
        return self._image(tag, query, request, body, b"MISS")

    def _image(self, tag: str, query: ImageQuery, request: RenderRequest, body: bytes, hit: bytes) -> Answer:
        headers = self._headers(tag, query)
        headers.append((b"content-type", request.media_type.encode()))
        headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"x-pims-cache", hit))
        return Answer(200, headers, body)

    def _headers(self, tag: str, query: ImageQuery) -> Headers:
        headers = [(b"cache-control", self._cache_control), (b"etag", tag.encode())]
        if query.varies:
            headers.append((b"vary", b"Accept"))
        headers.extend((name.encode(), value.encode()) for name, value in query.told.items())
        return headers
