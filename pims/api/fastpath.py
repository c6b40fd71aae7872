"""Requests for tiles and thumbs answered ahead of FastAPI.

A viewer asks tiles by the hundred, a page of images thumbs. For the shapes below, for an image that is open
already, path and query are read by hand, and the answer is the one the documented route gives, to the byte.
Everything else falls through to that route: other shapes, images not open yet, and whatever is wrong with a
request.
"""

from __future__ import annotations

import re
from asyncio import Future
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from logging import INFO
from time import perf_counter
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from pims.api.answer import Answer, Conditions, ImageAnswerer, large_bytes
from pims.api.boundary import NO_SNIFFING
from pims.api.conditional import TagSeries, etag
from pims.api.errors import instance_of, problem
from pims.api.image_query import ClientHeaders, thumb_query
from pims.api.metric_layout import RequestKind
from pims.api.negotiation import Preference, negotiate
from pims.api.params.display import display_from_query
from pims.api.params.size import OutputSize, SizeLimits
from pims.api.params.tile import TileAddress
from pims.api.request_log import REQUEST_ID_HEADER, access, log_access, request_id_of
from pims.errors import AccessDenied, Overloaded
from pims.images.image import OpenedImage
from pims.images.render import RenderRequest, ThumbRequest, TileRequest, stored_tier, tile_pyramid
from pims.model.pyramid import Tier

__all__ = ["LOOKED", "FastPath"]

TILE = (
    r"/image/(.+)/(normalized-tile|tile)/(zoom|level)/([0-9]{1,3})/"
    r"(?:ti/([0-9]{1,15})|tx/([0-9]{1,9})/ty/([0-9]{1,9}))(?:\.(jpg|png|webp))?"
)
THUMB = r"/image/(.+)/thumb(?:\.(jpg|png|webp))?"
VARY_ORIGIN = (b"vary", b"Origin")
LOOKED_AT = frozenset({b"accept", b"if-none-match", b"cache-control", b"origin", REQUEST_ID_HEADER})
SIZE_SAFETY = b"x-image-size-safety"
NOTHING: Mapping[str, str] = MappingProxyType({})
UNCONDITIONAL = Conditions(varies=False)
Making: TypeAlias = tuple[RenderRequest, str, int]
"""What is asked, its tag, and the bytes it needs (0: few)."""
AtOnce: TypeAlias = Callable[[bytes, OpenedImage, bytes | None, Conditions], Answer | Making]
"""From query, image, Accept header and conditions to the answer, or to what has to be made."""
LOOKED = "pims.looked"
"""Key of a scope for what became of `FastPath.look`, when the server called it before the application."""
KIND = "pims.kind"
"""Key of a scope for the kind of request it is, when it is none for a tile."""
MAX_QUERY = 4096
MAX_REMEMBERED = 512
"""Bytes of a query and an Accept header that are kept; viewers send less."""
MAX_VIEWS = 256
"""Ways to look at one image that are remembered: tier, display and type."""


@dataclass(frozen=True, slots=True)
class TileView:
    """What all requests for tiles of one tier, shown alike, have in common: found out once."""

    columns: int
    rows: int
    first: TileRequest
    """For the tile at (0, 0)."""
    tags: TagSeries
    stored: Tier | None
    """The tier whose stored tiles may be sent as they are."""
    needed: int
    """Bytes to make one of the tiles, 0 when they are few."""

    @classmethod
    def of(
        cls,
        image: OpenedImage,
        address: TileAddress,
        query: bytes,
        extension: str | None,
        accept: bytes | None,
    ) -> TileView:
        """Raises for what the documented route has to refuse."""
        if len(query) > MAX_QUERY:
            raise ValueError
        display = display_from_query(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
        display.check_supported(image.metadata)
        if display.settings.needs_histogram and not image.bounds_are_known:
            raise BlockingIOError  # it is on the disk
        accepted = None if accept is None else accept.decode("latin-1")
        media_type = negotiate(extension, accepted, Preference.VISUALISATION)
        pyramid = tile_pyramid(image, normalized=address.normalized)
        level, _, _ = address.locate(pyramid)
        tier = pyramid.tiers[level]
        first = TileRequest(address.normalized, level, 0, 0, display.settings, media_type)
        tags = TagSeries(image.identity, f"{first.tier_key()}/")
        return cls(tier.columns, tier.rows, first, tags, stored_tier(image, first), large_bytes(image, first))


class FastPath:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        answerer: ImageAnswerer,
        limits: SizeLimits,
        base_path: str = "",
        *,
        varies_by_origin: bool = False,
    ) -> None:
        """`varies_by_origin`: whether pages of some other origins may use the API."""
        self.app = app
        self._answerer = answerer
        self._metrics = answerer.metrics
        self.protection = (NO_SNIFFING, VARY_ORIGIN) if varies_by_origin else (NO_SNIFFING,)
        """Headers that every answer has besides its own."""
        self._tile = re.compile(re.escape(base_path) + TILE).fullmatch
        self._thumb = re.compile(re.escape(base_path) + THUMB).fullmatch
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            began = perf_counter()
            found: Answer | Future[Answer] | None = scope.pop(LOOKED) if LOOKED in scope else self.look(scope)
            if isinstance(found, Future):
                found = await self._made(scope, found)
            if found is not None:
                status, headers, body = found
                headers += self.protection
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                self.answered(scope, status, len(body), began)
                return
        await self.app(scope, receive, send)

    def look(self, scope: Scope) -> Answer | Future[Answer] | None:
        """The answer (but for the `protection`) or its making; None when the documented route has to give it.

        Never blocks. A server that calls it ahead of the application leaves the answer, or None when it
        came to nothing, as `scope[LOOKED]`.
        """
        if scope["method"] != "GET":
            return None
        match = self._tile(scope["path"])
        if match is not None:
            return self._found(scope, match[1], match[8], partial(self._tile_at_once, match))
        match = self._thumb(scope["path"])
        if match is not None and all(name != SIZE_SAFETY for name, _ in scope["headers"]):
            scope[KIND] = RequestKind.THUMB
            return self._found(scope, match[1], match[2], partial(self._thumb_at_once, match[2]))
        return None

    def outcome(self, scope: Scope, made: Future[Answer]) -> Answer | None:
        """The answer that came of a making that is done, as `look` gives it."""
        error = None if made.cancelled() else made.exception()
        if isinstance(error, Overloaded):  # it waited for its turn already
            refusal = Answer(*problem(error, instance_of(scope)))
            request_id = request_id_of(scope["headers"])
            if request_id is not None:
                refusal.headers.append((REQUEST_ID_HEADER, request_id))
            return refusal
        # Whatever else is wrong, the documented route finds it again and says so.
        return None if made.cancelled() or error is not None else made.result()

    def answered(self, scope: Scope, status: int, size: int, began: float) -> None:
        """Count an answer of `size` bytes to a request that came when `perf_counter` was `began`."""
        seconds = perf_counter() - began
        self._metrics.count(scope.get(KIND, RequestKind.TILE), status, size, seconds)
        if access.isEnabledFor(INFO):
            log_access(scope, status, size, seconds, request_id_of(scope["headers"]))

    async def _made(self, scope: Scope, making: Future[Answer]) -> Answer | None:
        with suppress(Exception):
            await making
        return self.outcome(scope, making)

    def _found(
        self, scope: Scope, filepath: str, extension: str | None, at_once: AtOnce
    ) -> Answer | Future[Answer] | None:
        accept = if_none_match = None
        no_store = False
        told = NOTHING
        for name, value in scope["headers"]:
            if name not in LOOKED_AT:
                continue
            if name == b"accept" and accept is None:
                accept = value
            elif name == b"if-none-match" and if_none_match is None:
                if_none_match = value
            elif name == b"cache-control":
                no_store = no_store or b"no-store" in value.lower()
            elif name == REQUEST_ID_HEADER and not told:
                told = {"x-request-id": (request_id_of(((name, value),)) or b"").decode("ascii")}
            else:
                return None  # lists over several headers, answers that need the headers of CORS
        try:
            self._answerer.authorizer.authorize(scope, filepath)
        except AccessDenied:
            return None  # the documented route refuses
        lease = self._answerer.pool.lease_open(filepath)
        if lease is None:
            return None
        if extension is None or if_none_match is not None or no_store or told:
            conditions = Conditions(extension is None, if_none_match, no_store, told)
        else:
            conditions = UNCONDITIONAL
        try:
            found = at_once(scope["query_string"], lease.image, accept, conditions)
        except Exception:  # noqa: BLE001 - whatever is wrong, the documented route finds it again and says so
            lease.release()
            return None
        if isinstance(found, Answer):
            lease.release()
            return found
        request, tag, needed = found
        try:
            return self._answerer.make(lease, request, tag, conditions, needed)
        except (RuntimeError, Overloaded):
            return None  # the documented route says so

    def _tile_at_once(
        self,
        match: re.Match[str],
        query: bytes,
        image: OpenedImage,
        accept: bytes | None,
        conditions: Conditions,
    ) -> Answer | Making:
        """The answer if nothing has to be waited for, otherwise what is asked, its tag and what it needs."""
        _, kind, reference, level, index, column, row, extension = match.groups()
        view_key = (kind, reference, level, extension or accept, query)
        view: TileView | None = image.views.get(view_key)
        if view is None:
            address = TileAddress(kind == "normalized-tile", reference == "zoom", int(level), 0)
            view = TileView.of(image, address, query, extension, accept)
            _remember(image, view_key, view, query, accept)
        if index is None:
            x, y = int(column), int(row)
        else:
            y, x = divmod(int(index), view.columns)
        if x >= view.columns or y >= view.rows:
            raise IndexError
        tag = view.tags.of(f"{x}/{y}")
        if view.stored is not None and conditions.if_none_match is None:
            try:
                stored = image.reader.read_stored_tile(
                    view.stored, x, y, image.default_plane, may_block=False
                )
            except BlockingIOError:
                return view.first._replace(column=x, row=y), tag, 0  # read in a thread, which may wait
            if stored is not None:
                self._metrics.stored_tile()
                return self._answerer.found(view.first.media_type, tag, conditions, stored.data)
        request = view.first._replace(column=x, row=y)
        return self._answerer.known(image, request, tag, conditions) or (request, tag, view.needed)

    def _thumb_at_once(
        self,
        extension: str | None,
        query: bytes,
        image: OpenedImage,
        accept: bytes | None,
        conditions: Conditions,
    ) -> Answer | Making:
        """As for a tile."""
        view_key = ("thumb", extension or accept, query)
        view: Making | None = image.views.get(view_key)
        if view is None:
            thumb = _thumb_request(image, self._limits, query, extension, accept)
            view = thumb, etag(image.identity, thumb.key()), large_bytes(image, thumb)
            _remember(image, view_key, view, query, accept)
        request, tag, _ = view
        return self._answerer.known(image, request, tag, conditions) or view


def _thumb_request(
    image: OpenedImage, limits: SizeLimits, query: bytes, extension: str | None, accept: bytes | None
) -> ThumbRequest:
    """Raises for what the documented route has to refuse, or to say more about."""
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if len(query) > MAX_QUERY or "use_precomputed" in given:
        raise ValueError
    accepted = None if accept is None else accept.decode("latin-1")
    height, width, length = (given.get(name, "") for name in ("height", "width", "length"))
    size = OutputSize.of_query(height, width, length)
    asked = thumb_query(
        ClientHeaders(accept=accepted), "", size, limits, display_from_query(given), extension
    )
    request = asked.make_request(image)
    assert isinstance(request, ThumbRequest)
    if asked.conditions.told:
        raise ValueError  # the size is not the one asked for
    if request.display.needs_histogram and not image.bounds_are_known:
        raise BlockingIOError  # it is on the disk
    return request


def _remember(image: OpenedImage, key: Hashable, view: object, query: bytes, accept: bytes | None) -> None:
    if len(query) + len(accept or b"") <= MAX_REMEMBERED:
        if len(image.views) >= MAX_VIEWS:
            image.views.clear()
        image.views[key] = view
