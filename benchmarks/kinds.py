"""Comparisons of kinds of files: other grids, other codecs, one level, many images, very large ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from benchmarks.arena import Arena
from benchmarks.compare import Comparison, Side
from benchmarks.slides import (
    BenchSlide,
    coded_slide,
    foreign_slide,
    one_level_slide,
    repeated_slide,
    small_slides,
)
from pims.formats.engines.tiff.encode import TileCodec

__all__ = ["KINDS"]

AUTO = "?min_intensities=AUTO_IMAGE&max_intensities=AUTO_IMAGE"
NOT_KEPT = ("Cache-Control: no-store",)
ROUNDS = 5
FOREIGN_BAR = 1 / 1.3
CODEC_BAR = 0.75
FLAT_BAR = 0.9
THUMB_MS = 3.0
COLD_IMAGES, COLD_ROUNDS = 300, 3
REPEATED_TILES = 3000
GIGAPIXEL_SIDE, LARGE_SIDE = 31_744, 316_416
"""1 and 100 gigapixels in whole tiles: 15,376 and 1,527,696 of them."""


def foreign(arena: Arena) -> Iterator[Comparison]:
    """Normalized tiles across stored ones of 240 px, from left to right, so that neighbours are in memory.

    One process on both sides: with several, each decodes the neighbours for itself.
    """
    slide = foreign_slide(arena.folder)
    urls = [slide.tile_url(*tile) for tile in slide.tiles()]
    bare_urls = [f"/{column}/{row}" for column, row in slide.tiles()]
    yield Comparison(
        "foreign",
        "normalized tile over stored tiles of 240 px, one process",
        "bare ASGI application: 1.14 decodes and an encode",
        Side(arena.one_process, lambda _: urls),
        Side(arena.bare("foreign", slide, 1), lambda _: bare_urls),
        ROUNDS,
        FOREIGN_BAR,
    )


def coded(arena: Arena) -> Iterator[Comparison]:
    """Tiles without loss, which have to be encoded; the grey one with contrast from the histogram."""
    for codec, bits, work, query in (
        (TileCodec.ZSTD, 16, "tile of grey zstd, 16 bits, contrast by the histogram", AUTO),
        (TileCodec.ZSTD, 8, "tile of RGB zstd", ""),
        (TileCodec.DEFLATE, 8, "tile of RGB deflate", ""),
    ):
        slide = coded_slide(arena.folder, codec, bits)
        tiles = list(slide.tiles())
        urls = [slide.tile_url(*tile, query) for tile in tiles]
        bare_urls = [f"/{column}/{row}" for column, row in tiles]
        yield Comparison(
            f"{codec}-{bits}",
            work,
            "bare ASGI application that decodes and encodes",
            Side(arena.forgetful, partial(_always, urls)),
            Side(arena.bare("lossless", slide), partial(_always, bare_urls)),
            ROUNDS,
            CODEC_BAR if bits == 8 else None,
        )


def one_level_thumb(arena: Arena) -> Iterator[Comparison]:
    """The thumb of a slide without lower resolutions, made from what was written at its import."""
    slide = one_level_slide(arena.folder)
    urls = [f"/image/{slide.path}/thumb.jpg?length=256"]
    ours = Side(arena.ours, lambda _: urls, 100, connections=1, headers=NOT_KEPT)
    work = "thumb of 256 px of a slide of one level"
    yield Comparison("one-level-thumb", work, "a limit", ours, None, ROUNDS, limit_ms=THUMB_MS)


def cold(arena: Arena) -> Iterator[Comparison]:
    """The first tile of images that are not open, one after the other, each asked once."""
    paths = small_slides(arena.folder, COLD_IMAGES)
    share = COLD_IMAGES // COLD_ROUNDS

    def urls(number: int) -> list[str]:
        return [f"/image/{path}/tile/level/0/ti/0.jpg" for path in paths[number * share :][:share]]

    # A server that nobody asked for them: a second run of the row finds them closed too.
    ours = Side(arena.pims("pims-cold", 1), urls, connections=1)
    yield Comparison("cold", "first tile of an image that is not open", "", ours, None, COLD_ROUNDS)


def scale(arena: Arena) -> Iterator[Comparison]:
    """Stored tiles at random places of an image of 100 gigapixels against one of 1."""
    small, large = (repeated_slide(arena.folder, side) for side in (GIGAPIXEL_SIDE, LARGE_SIDE))
    yield Comparison(
        "scale",
        "stored tile of 100 gigapixels",
        "the same tile of 1 gigapixel",
        Side(arena.ours, lambda number: _anywhere(large, number)),
        Side(arena.ours, lambda number: _anywhere(small, number)),
        ROUNDS,
        FLAT_BAR,
    )


KINDS: Mapping[str, Callable[[Arena], Iterator[Comparison]]] = {
    "foreign": foreign,
    "coded": coded,
    "one-level-thumb": one_level_thumb,
    "cold": cold,
    "scale": scale,
}
"""By the name that --rows takes."""


def _always(urls: list[str], number: int) -> list[str]:
    """The same in every round."""
    return urls


def _anywhere(slide: BenchSlide, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [
        slide.tile_url(chance.randrange(slide.columns), chance.randrange(slide.rows))
        for _ in range(REPEATED_TILES)
    ]
