"""What is compared, with whom, and the bars: one function a row of the table."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.arena import Arena
from benchmarks.compare import Comparison, Side
from benchmarks.slides import BenchSlide

__all__ = ["ROWS"]

STORED_TILES, PROCESSED_TILES, DEEPZOOM_TILES, CACHED_TILES = 4000, 1500, 600, 400
ROUNDS = 15
"""Many short ones: what else the machine does then meets both sides alike."""
DISPLAY = "?gammas={gamma:.2f}&min_intensities=20&max_intensities=230"
AGAIN_BAR = 0.9
"""Never slower than the first time, give or take what two equal passes differ on a busy machine."""
THUMB_MS = 3.0
NOT_KEPT = ("Cache-Control: no-store",)


def stored(arena: Arena) -> Iterator[Comparison]:
    """Stored tiles, nothing to process; then the same once more."""

    def urls(number: int) -> list[str]:
        return [arena.slide.tile_url(*tile) for tile in _shuffled(arena.slide, number)[:STORED_TILES]]

    ours, bare = Side(arena.ours, urls), Side(arena.recorded, urls)
    yield Comparison(
        "stored", "stored tile", "bare ASGI application, same bytes from memory", ours, bare, ROUNDS, 0.7
    )
    yield Comparison(
        "stored-again",
        "the same tiles again",
        "the first time",
        ours,
        ours,
        ROUNDS,
        AGAIN_BAR,
        yardstick_first=True,
    )


def svs(arena: Arena) -> Iterator[Comparison]:
    """Stored tiles of a vendor's file, whose tables are spliced in."""
    slide = arena.svs
    if slide is None:
        print("svs: skipped, there is no folder of samples (PIMS_SAMPLES)")
        return

    def urls(number: int) -> list[str]:
        return [slide.tile_url(*tile) for tile in _shuffled(slide, number)]

    ours, bare = (Side(server, urls, STORED_TILES) for server in (arena.ours, arena.recorded))
    yield Comparison(
        "svs", "stored 240 px tile of an SVS", "bare ASGI application, same bytes", ours, bare, ROUNDS, 0.7
    )


def processed(arena: Arena) -> Iterator[Comparison]:
    """Tiles with gamma and contrast; no tile is asked twice with the same gamma."""

    def urls(number: int) -> list[str]:
        query = DISPLAY.format(gamma=0.8 + number / 100)
        return [arena.slide.tile_url(*tile, query) for tile in _portion(arena.slide, number)]

    def bare_urls(number: int) -> list[str]:
        return [f"/{column}/{row}" for column, row in _portion(arena.slide, number)]

    yield Comparison(
        "processed",
        "tile with gamma and contrast",
        "bare ASGI application that decodes and encodes",
        Side(arena.ours, urls),
        Side(arena.codec, bare_urls),
        ROUNDS,
        0.75,
    )


def cached(arena: Arena) -> Iterator[Comparison]:
    """Processed tiles that both processes have in their response caches, against stored ones."""
    tiles = _shuffled(arena.slide, 0)[:CACHED_TILES]
    query = DISPLAY.format(gamma=0.75)
    processed_urls = [arena.slide.tile_url(*tile, query) for tile in tiles]
    stored_urls = [arena.slide.tile_url(*tile) for tile in tiles]
    for _ in range(8):  # each process has a cache of its own, and who answers is chance
        arena.load.run(arena.ours, processed_urls)
    yield Comparison(
        "processed-again",
        "tile with gamma and contrast, again",
        "stored tile of this server",
        Side(arena.ours, lambda _: processed_urls, STORED_TILES),
        Side(arena.ours, lambda _: stored_urls, STORED_TILES),
        ROUNDS,
        AGAIN_BAR,
    )


def thumb(arena: Arena) -> Iterator[Comparison]:
    """The whole slide at 256 px, made anew for every request, one after the other."""
    urls = [f"/image/{arena.slide.path}/thumb.jpg?length=256"]
    ours = Side(arena.ours, lambda _: urls, 100, connections=1, headers=NOT_KEPT)
    yield Comparison("thumb", "thumb of 256 px", "a limit", ours, None, ROUNDS, limit_ms=THUMB_MS)


def deepzoom(arena: Arena) -> Iterator[Comparison]:
    """For information: the server most people would write around OpenSlide."""
    server = arena.deepzoom
    if server is None:
        print("deepzoom: skipped, openslide-python is not installed")
        return

    def tiles(number: int) -> Sequence[tuple[int, int]]:
        return _shuffled(arena.slide, number)[:DEEPZOOM_TILES]

    yield Comparison(
        "deepzoom",
        "stored tile",
        "openslide-python deepzoom in a bare ASGI application",
        Side(arena.ours, lambda number: [arena.slide.tile_url(*tile) for tile in tiles(number)]),
        Side(server, lambda number: [f"/{column}/{row}" for column, row in tiles(number)]),
        3,
    )


ROWS: Mapping[str, Callable[[Arena], Iterator[Comparison]]] = {
    "stored": stored,
    "svs": svs,
    "processed": processed,
    "cached": cached,
    "thumb": thumb,
    "deepzoom": deepzoom,
}
"""By the name that --rows takes."""


def _shuffled(slide: BenchSlide, seed: int) -> list[tuple[int, int]]:
    tiles = list(slide.tiles())
    random.Random(seed).shuffle(tiles)
    return tiles


def _portion(slide: BenchSlide, number: int) -> list[tuple[int, int]]:
    """A quarter of the slide after the other: decoded tiles of earlier rounds are not in memory any more."""
    first = number % 4 * PROCESSED_TILES
    return _shuffled(slide, 0)[first : first + PROCESSED_TILES]
