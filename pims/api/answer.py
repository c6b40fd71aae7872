"""An image as an answer: who may see it, whether the client has it, where its bytes come from.

The fast path and the documented routes both end here, so that they give the same bytes and headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from starlette.types import Scope

from pims.api.authorize import Authorizer
from pims.api.conditional import cache_control, etag, matches
from pims.api.metrics import Metrics
from pims.cache.lru import BytesBoundedLRU
from pims.errors import Overloaded
from pims.images.image import OpenedImage
from pims.images.pool import ImagePool, Lease
from pims.images.render import RenderRequest, TileRequest, needed_bytes, render, stored_tile
from pims.images.threads import RenderThreads
from pims.processing.encode import MEDIA_TYPES

__all__ = ["Answer", "Conditions", "ImageAnswerer", "ImageQuery", "Threads", "large_bytes"]

CONTENT_TYPES = {media_type: (b"content-type", media_type.encode()) for media_type in MEDIA_TYPES}
VARY = (b"vary", b"Accept")
LARGE_BYTES = 32 << 20
"""Bytes from which a request is a large one."""
ATTEMPTS = 5
"""To lease an image that was just opened; it may be evicted or replaced in between."""
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


class Threads(NamedTuple):
    """Who makes images."""

    small: RenderThreads
    large: RenderThreads


class Asked(NamedTuple):
    """A query resolved against its image, and not answered yet."""

    identity: str
    request: RenderRequest
    tag: str
    needed: int
    """Bytes; 0 for what is small."""


class ImageAnswerer:
    """Answers image queries. Pixel work runs in threads, never on the event loop.

    Large images have threads of their own: tiles don't wait behind them, and what they need together is
    bounded. The same image asked twice at once is made once.
    """

    def __init__(
        self,
        pool: ImagePool,
        authorizer: Authorizer,
        threads: Threads,
        *,
        max_age: int,
        cache_bytes: int,
        metrics: Metrics,
    ) -> None:
        self.metrics = metrics
        self.pool = pool
        self.authorizer = authorizer
        self._threads = threads
        self._cache: BytesBoundedLRU[bytes] = BytesBoundedLRU(cache_bytes)
        self._cache_control = (b"cache-control", cache_control(max_age).encode())
        self._making: dict[str, asyncio.Future[Answer]] = {}

    async def answer(self, scope: Scope, query: ImageQuery) -> Answer:
        """Raises AccessDenied, NotFoundError, RequestError, FileError, StorageError, Overloaded."""
        self.authorizer.authorize(scope, query.filepath)
        for _ in range(ATTEMPTS):
            asked = await self._threads.small.submit(self._resolve, query)
            if isinstance(asked, Answer):
                return asked
            lease = self.pool.lease_open(query.filepath)
            if lease is None:
                continue
            if lease.image.identity == asked.identity:
                making = self.make(lease, asked.request, asked.tag, query.conditions, asked.needed)
                return await making
            lease.release()
        raise Overloaded("The image changes faster than it can be read; ask again in a moment.")

    def known(
        self, image: OpenedImage, request: RenderRequest, tag: str, conditions: Conditions
    ) -> Answer | None:
        """The answer that needs no pixel work: the client has it, or it was made before."""
        if conditions.if_none_match is not None and matches(conditions.if_none_match, tag):
            headers = [self._cache_control, (b"etag", tag.encode())]
            return Answer(304, _and_told(headers, conditions), b"")
        cached = None if conditions.no_store else self._cache.get(tag)
        if cached is None:
            self.metrics.cache_miss()
            return None
        self.metrics.cache_hit()
        return self.found(request.media_type, tag, conditions, cached, HIT)

    def make(
        self, lease: Lease, request: RenderRequest, tag: str, conditions: Conditions, needed: int = 0
    ) -> asyncio.Future[Answer]:
        """The answer made in a thread. The lease ends when that work does, whoever still waits for it.

        `needed` is in bytes, 0 for what is small. Raises Overloaded.
        """
        making = self._making.get(tag)
        if making is not None and not conditions.no_store and not making.done():
            return self._join(making, lease, request, tag, conditions, needed)
        threads = self._threads.large if needed else self._threads.small
        try:
            making = threads.submit(
                self._made,
                lease.image,
                request,
                tag,
                conditions,
                after=lease.release,
                stoppable=True,
                cost=needed,
            )
        except (RuntimeError, Overloaded):  # the server is closing, or has too much to do
            lease.release()
            raise
        if not conditions.no_store:
            self._making[tag] = making
            making.add_done_callback(partial(self._finished, tag))
        return making

    def _finished(self, tag: str, making: asyncio.Future[Answer]) -> None:
        if self._making.get(tag) is making:
            del self._making[tag]

    def _join(
        self,
        making: asyncio.Future[Answer],
        lease: Lease,
        request: RenderRequest,
        tag: str,
        conditions: Conditions,
        needed: int,
    ) -> asyncio.Future[Answer]:
        """The answer with the bytes that somebody else's is made of."""
        joined: asyncio.Future[Answer] = making.get_loop().create_future()

        def landed(made: asyncio.Future[Answer]) -> None:
            if made.cancelled() and not joined.cancelled():  # who asked first went away
                try:
                    again = self.make(lease, request, tag, conditions, needed)
                except (RuntimeError, Overloaded) as error:
                    joined.set_exception(error)
                else:
                    again.add_done_callback(partial(_pass_on, joined, lambda answer: answer))
                return
            lease.release()
            _pass_on(
                joined, lambda answer: self.found(request.media_type, tag, conditions, answer.body), made
            )

        making.add_done_callback(landed)
        return joined

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

    def _resolve(self, query: ImageQuery) -> Answer | Asked:
        """The answer if the client has it or it was made before. Blocks on the disk."""
        with self.pool.lease(query.filepath) as image:
            request = query.make_request(image)
            tag = etag(image.identity, request.key())
            known = self.known(image, request, tag, query.conditions)
            return known or Asked(image.identity, request, tag, large_bytes(image, request))

    def _made(
        self,
        image: OpenedImage,
        request: RenderRequest,
        tag: str,
        conditions: Conditions,
        *,
        stop: Callable[[], bool],
    ) -> Answer:
        stored = stored_tile(image, request) if isinstance(request, TileRequest) else None
        if stored is not None:
            self.metrics.stored_tile()
            return self.found(request.media_type, tag, conditions, stored.data)
        with self.metrics.rendering():
            body = render(image, request, stop=stop)
        if not conditions.no_store:
            self._cache.put(tag, body, len(body))
        return self.found(request.media_type, tag, conditions, body)


def large_bytes(image: OpenedImage, request: RenderRequest) -> int:
    """The bytes a request needs at once, 0 when they are few."""
    needed = needed_bytes(image, request)
    return needed if needed > LARGE_BYTES else 0


def _pass_on(
    joined: asyncio.Future[Answer], change: Callable[[Answer], Answer], made: asyncio.Future[Answer]
) -> None:
    if joined.cancelled():
        return
    failure = None if made.cancelled() else made.exception()
    if made.cancelled():
        joined.cancel()
    elif failure is not None:
        joined.set_exception(failure)
    else:
        joined.set_result(change(made.result()))


def _and_told(headers: Headers, conditions: Conditions) -> Headers:
    """The headers of an answer with those that depend on the request."""
    if conditions.varies:
        headers.append(VARY)
    if conditions.told:
        headers.extend((name.encode(), value.encode()) for name, value in conditions.told.items())
    return headers
