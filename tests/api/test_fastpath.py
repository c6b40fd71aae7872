"""The fast path gives what the documented route gives, to the byte, or leaves the request to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile

from pims.api.fastpath import FastPath
from pims.application import documented_app
from pims.composition import Composition
from pims.settings import Settings
from tests.api.conftest import Client
from tests.imported import import_slide

TILES = [
    "normalized-tile/zoom/0/ti/0",
    "normalized-tile/zoom/2/ti/1",
    "normalized-tile/zoom/2/ti/5.jpg",
    "normalized-tile/level/0/ti/4.jpg",
    "normalized-tile/level/0/tx/1/ty/1.jpg",
    "normalized-tile/zoom/2/tx/0/ty/0.jpg",
    "normalized-tile/zoom/2/tx/2/ty/1.jpg",
    "normalized-tile/zoom/1/tx/0/ty/0.png",
    "normalized-tile/level/2/ti/0.webp",
    "tile/zoom/1/ti/0.jpg",
    "tile/level/0/ti/1",
    "tile/level/1/tx/0/ty/0.jpg",
    "tile/zoom/0/tx/1/ty/0.png",
    "thumb",
    "thumb.png",
    "thumb.jpg",
]
QUERIES = [
    "",
    "?gammas=2",
    "?gammas=0.5,1,2&min_intensities=10&max_intensities=200",
    "?min_intensities=STRETCH_IMAGE&max_intensities=AUTO_PLANE",
    "?gammas=3&gammas=1",
    "?gammas=",
    "?unknown=1&channels=0,1,2&z_slices=0&colormaps=DEFAULT&log=false",
    "?channels=%3A&gammas=%31",
]
HEADERS: list[dict[str, str]] = [
    {},
    {"accept": "image/png"},
    {"accept": "image/webp;q=0.5, image/*;q=0.4"},
    {"accept": "*/*"},
    {"cache-control": "no-store"},
    {"if-none-match": "*"},
    {"if-none-match": '"nothing", W/"known"'},
]
WRONG = [
    "thumb?length=x",
    "thumb?length=100000",
    "thumb?use_precomputed=maybe",
    "thumb?width=-1",
    "thumb?gammas=99",
    "thumb.gif",
    "associated/thumb",
    "normalized-tile/zoom/3/ti/0",
    "normalized-tile/zoom/99/ti/0",
    "normalized-tile/zoom/2/ti/99",
    "normalized-tile/zoom/2/tx/3/ty/0.jpg",
    "normalized-tile/zoom/2/tx/0/ty/9.jpg",
    "normalized-tile/zoom/2/tx/0/ty/0.gif",
    "normalized-tile/zoom/2/ti/999999999999999",
    "normalized-tile/floor/2/ti/0",
    "normalized-tile/zoom/-1/ti/0",
    "normalized-tile/zoom/2/ti/٣",
    "normalized-tile/zoom/2/ti/" + "9" * 5000,
    "tile/zoom/" + "9" * 5000 + "/tx/0/ty/0.jpg",
    "normalized-tile/zoom/2/tx/0/ty/0.jpg.png",
    "normalized-tile/zoom/2/ti/0?gammas=99",
    "normalized-tile/zoom/2/ti/0?gammas=nan",
    "normalized-tile/zoom/2/ti/0?channels=0",
    "normalized-tile/zoom/2/ti/0?channels=7",
    "normalized-tile/zoom/2/ti/0?colormaps=JET",
    "normalized-tile/zoom/2/ti/0?min_intensities=9&max_intensities=3",
    "normalized-tile/zoom/2/ti/0?log=true",
    "normalized-tile/zoom/2/ti/0?filters=OTSU",
]


@pytest.fixture
def jpeg_slide(root: Path, tmp_path: Path) -> str:
    """An imported image whose tiles are stored as JPEG."""
    y, x = np.mgrid[0:400, 0:600]
    pixels = np.stack([x * 255 // 600, y * 255 // 400, (x + y) * 255 // 1000], -1).astype(np.uint8)
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        for level in (0, 1):
            step = level + 1
            tiff.write(
                np.ascontiguousarray(pixels[::step, ::step]),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subfiletype=level,
            )
    return import_slide(root, path)


class Counting:
    """Counts the requests that reach what it is put around."""

    def __init__(self, app: Any) -> None:
        self.app, self.count = app, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.count += 1
        await self.app(scope, receive, send)


class Servers:
    """The same ROOT served with and without the fast path, each with caches of its own."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self._compositions = [Composition(Settings.load({}, root=root, **settings)) for _ in range(2)]
        for composition in self._compositions:
            composition.pool._clock = lambda: 0.0  # what is open stays fresh
        behind, without = (documented_app(composition) for composition in self._compositions)
        self.documented = Counting(behind)
        self.fast = Client(
            FastPath(
                self.documented,
                behind.state.services.answerer,
                behind.state.services.size_limits,
                settings.get("api_base_path", ""),
                varies_by_origin="cors_origins" in settings,
            )
        )
        self.slow = Client(without)

    def get(self, url: str, headers: dict[str, str]) -> tuple[httpx.Response, httpx.Response]:
        return self.fast.get(url, headers=headers), self.slow.get(url, headers=headers)

    def close(self) -> None:
        for composition in self._compositions:
            composition.close()


@pytest.fixture
def servers(root: Path) -> Iterator[Servers]:
    servers = Servers(root)
    yield servers
    servers.close()


def same(fast: httpx.Response, slow: httpx.Response) -> bool:
    return (fast.status_code, sorted(fast.headers.raw), fast.content) == (
        slow.status_code,
        sorted(slow.headers.raw),
        slow.content,
    )


@pytest.mark.parametrize("tile", TILES)
def test_tiles_are_the_same_on_both_ways(servers: Servers, jpeg_slide: str, tile: str) -> None:
    servers.get(f"/image/{jpeg_slide}/normalized-tile/zoom/0/ti/0.jpg", {})  # opens the image
    opened = servers.documented.count
    for query in QUERIES:
        for headers in HEADERS:
            fast, slow = servers.get(f"/image/{jpeg_slide}/{tile}{query}", headers)
            assert fast.status_code in (200, 304), fast.text
            assert same(fast, slow), (query, headers, fast.headers, slow.headers)
            tag = {"if-none-match": fast.headers["etag"], **headers}
            known, also = servers.get(f"/image/{jpeg_slide}/{tile}{query}", tag)
            assert same(known, also)
            assert known.status_code == (304 if "if-none-match" not in headers else fast.status_code)
    assert servers.documented.count - opened == 1  # the histogram is read from the disk, once


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_by_the_documented_route(servers: Servers, jpeg_slide: str, wrong: str) -> None:
    servers.get(f"/image/{jpeg_slide}/normalized-tile/zoom/0/ti/0.jpg", {})
    fast, slow = servers.get(f"/image/{jpeg_slide}/{wrong}", {})
    assert same(fast, slow)
    assert 400 <= fast.status_code < 500
    assert fast.headers["content-type"] == "application/problem+json"


def test_unacceptable_types_are_refused_alike(servers: Servers, jpeg_slide: str) -> None:
    servers.get(f"/image/{jpeg_slide}/normalized-tile/zoom/0/ti/0.jpg", {})
    fast, slow = servers.get(f"/image/{jpeg_slide}/normalized-tile/zoom/0/ti/0", {"accept": "text/html"})
    assert same(fast, slow)
    assert fast.status_code == 406


def test_hosts_that_are_not_this_machine_are_refused_alike(servers: Servers, jpeg_slide: str) -> None:
    url = f"/image/{jpeg_slide}/normalized-tile/zoom/0/ti/0.jpg"
    servers.get(url, {})
    fast, slow = servers.get(url, {"host": "evil.example"})
    assert same(fast, slow)
    assert fast.status_code == 421


def test_the_path_may_be_escaped(servers: Servers, jpeg_slide: str) -> None:
    url = f"/image/{jpeg_slide.replace('/', '%2F')}/normalized-tile/zoom/0/ti/0.jpg"
    for _ in range(2):
        assert same(*servers.get(url, {}))


def test_a_prefix_is_part_of_the_path(root: Path, jpeg_slide: str) -> None:
    servers = Servers(root, api_base_path="/ims")
    for _ in range(2):
        fast, slow = servers.get(f"/ims/image/{jpeg_slide}/tile/level/0/ti/0.jpg", {})
        assert same(fast, slow)
        assert fast.status_code == 200
        fast, slow = servers.get(f"/image/{jpeg_slide}/tile/level/0/ti/0.jpg", {})
        assert same(fast, slow)
        assert fast.status_code == 404
    assert servers.documented.count == 3
    servers.close()


def test_requests_of_other_origins_get_the_headers_of_cors(root: Path, jpeg_slide: str) -> None:
    servers = Servers(root, cors_origins="https://viewer.example")
    url = f"/image/{jpeg_slide}/tile/level/0/ti/0.jpg"
    for _ in range(2):
        fast, slow = servers.get(url, {"origin": "https://viewer.example"})
        assert same(fast, slow)
        assert fast.headers["access-control-allow-origin"] == "https://viewer.example"
        fast, slow = servers.get(url, {})
        assert same(fast, slow)
        assert fast.headers["vary"] == "Origin"
    servers.close()


def test_a_damaged_tile_is_told_by_the_documented_route(
    servers: Servers, jpeg_slide: str, root: Path
) -> None:
    url = f"/image/{jpeg_slide}/normalized-tile/level/0/ti/0.jpg"
    servers.get(url, {})
    with tifffile.TiffFile(root / jpeg_slide) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    with (root / jpeg_slide).open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)
    fast, slow = servers.get(url, {})
    assert same(fast, slow)
    assert fast.status_code == 409


def test_thumbs_of_every_size_are_the_same_on_both_ways(servers: Servers, jpeg_slide: str) -> None:
    servers.get(f"/image/{jpeg_slide}/thumb", {})
    opened = servers.documented.count
    for query in (
        "length=100",
        "width=77",
        "height=0.5&length=3",
        "length=",
        "length=1&gammas=2",
        "length=900",
    ):
        fast, slow = servers.get(f"/image/{jpeg_slide}/thumb.png?{query}", {})
        assert fast.status_code == 200
        assert same(fast, slow), query
    assert servers.documented.count == opened
    for path, headers in (
        ("thumb?length=10001", {"x-image-size-safety": "SAFE_RESIZE"}),
        ("thumb?use_precomputed=false", {}),
        ("thumb", {"x-image-size-safety": "UNSAFE"}),
    ):
        fast, slow = servers.get(f"/image/{jpeg_slide}/{path}", headers)
        assert fast.status_code == 200
        assert same(fast, slow), path
    assert servers.documented.count == opened + 3
