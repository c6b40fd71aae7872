"""Tile requests answered ahead of FastAPI.

A viewer asks tiles by the hundred. For the shapes below, for an image that is open already, path and
query are read by hand, and the answer is the one the documented route gives, to the byte. Everything else
falls through to that route: other shapes, images not open yet, and whatever is wrong with a request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from pims.api.answer import ImageAnswerer
from pims.api.boundary import NO_SNIFFING
from pims.api.image_query import ClientHeaders, tile_query
from pims.api.params.display import DisplayQuery, display_from_query
from pims.api.params.tile import TileAddress
from pims.errors import PimsError

__all__ = ["FastPath"]

TILE = re.compile(
    r"/image/(.+)/(normalized-)?tile/(zoom|level)/(\d{1,3})/(?:ti/(\d{1,15})|tx/(\d{1,9})/ty/(\d{1,9}))"
    r"(?:\.(jpg|png|webp))?",
    re.ASCII,
)
MAX_QUERY = 4096


class FastPath:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, answerer: ImageAnswerer, base_path: str = "") -> None:
        self.app = app
        self._answerer = answerer
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and await self._answered(scope, send):
            return
        await self.app(scope, receive, send)

    async def _answered(self, scope: Scope, send: Send) -> bool:
        path: str = scope["path"]
        if self._base_path:
            if not path.startswith(self._base_path):
                return False
            path = path[len(self._base_path) :]
        match = TILE.fullmatch(path)
        if match is None or len(scope["query_string"]) > MAX_QUERY:
            return False
        filepath, normalized, reference, tier, index, column, row, extension = match.groups()
        address = TileAddress(
            normalized is not None,
            reference == "zoom",
            int(tier),
            None if index is None else int(index),
            int(column or 0),
            int(row or 0),
        )
        if any(name == b"origin" for name, _ in scope["headers"]):
            return False  # the answer needs the headers of CORS
        try:
            display = _display(scope["query_string"])
            query = tile_query(ClientHeaders.of(scope), filepath, address, display, extension)
            answer = await self._answerer.answer_opened(scope, query)
        except PimsError:
            return False  # the documented route says what is wrong
        if answer is None:
            return False
        answer.headers.append(NO_SNIFFING)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
        return True


@lru_cache(maxsize=1024)
def _display(query_string: bytes) -> DisplayQuery:
    return display_from_query(dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)))
