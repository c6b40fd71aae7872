"""What happens to a server in its life: long use, imports beside it, requests for more than it has."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import simplejpeg

from benchmarks.arena import Arena
from benchmarks.asking import Answer, Asker, Witness
from benchmarks.load import Pass
from benchmarks.observe import Figure, Observation
from benchmarks.servers import Server, descriptors, resident_mb
from pims.importer.flow import ImportOptions
from pims.tasks.local import ImportProcesses
from pims.testing.slides import coded_pixels

__all__ = ["HAPPENINGS"]

REQUESTS, LONG_REQUESTS = 20_000, 100_000
FILLED = 20_000
"""Requests, at most half of all, after which caches and pools are taken to be full."""
SMALL_CACHES = {"TILE_CACHE_BYTES": str(8 << 20), "RESPONSE_CACHE_BYTES": str(8 << 20)}
CLIENTS = 4
A_CONNECTION = 100
"""Requests on one; which process takes a connection is chance, and all of them shall be used alike."""
MAX_GROWTH, MAX_MB = 0.05, 400.0
MAX_MORE_DESCRIPTORS = 10
IMPORTS, IMPORT_TILES, IDLE_PASSES = 200, 2000, 5
MAX_TIMES_IDLE, MIN_PART_OF_IDLE = 3.0, 0.5
WINDOWS, WINDOW_SIDE = 8, 10_000
WINDOW_SECONDS = 120.0
MAX_SERVER_MB, MAX_PING_MS = 1000.0, 100.0
OK, BUSY = 200, 503

Question = tuple[str, dict[str, Any] | None, frozenset[int]]
"""URL, body, and the statuses that are right."""
GOOD, WRONG = frozenset({200}), frozenset({400, 404, 422})


def soak(arena: Arena) -> Iterator[Observation]:
    """Mixed requests, and what memory and descriptors do when caches are full.

    20,000 with small caches, which are full soon; with --long 100,000, and once more with ordinary caches,
    whose memory may still grow then.
    """
    count = LONG_REQUESTS if arena.long else REQUESTS
    yield _used(arena, count, "small caches", MAX_GROWTH, SMALL_CACHES)
    if arena.long:
        yield _used(arena, count, "ordinary caches", None, {})


def _used(
    arena: Arena, count: int, caches: str, max_growth: float | None, settings: Mapping[str, str]
) -> Observation:
    server = arena.pims(f"pims-{caches.replace(' ', '-')}", 2, **settings)
    filled = min(count // 2, FILLED)
    wrong = _ask_mixed(server, arena, range(filled))
    before, open_before = resident_mb(server.processes()), descriptors(server.processes())
    wrong += _ask_mixed(server, arena, range(filled, count))
    after, open_after = resident_mb(server.processes()), descriptors(server.processes())
    growth = max(after.get(pid, 0.0) / memory - 1 for pid, memory in before.items())
    more = max(open_after.get(pid, 0) - number for pid, number in open_before.items())
    return Observation(
        f"soak, {caches}",
        f"{count:,} mixed requests, {caches}, the last {count - filled:,} watched",
        [
            Figure("growth of a process", growth, at_most=max_growth),
            Figure("largest process MB before", max(before.values())),
            Figure("largest process MB", max(after.values()), at_most=MAX_MB),
            Figure("more descriptors", more, at_most=MAX_MORE_DESCRIPTORS),
            Figure("wrong answers", wrong, at_most=0),
            Figure("processes that ended", len(before.keys() - after.keys()), at_most=0),
        ],
    )


def importing(arena: Arena) -> Iterator[Observation]:
    """Tiles, half of them processed, while 200 files are imported into the same ROOT."""
    files = _files_to_import(arena.folder / "to-import")
    root = arena.folder / "root"
    idle = [_tile_pass(arena, number) for number in range(IDLE_PASSES)]
    options = ImportOptions(root, root / ".pending")
    busy: list[Pass] = []
    start = time.monotonic()
    with ImportProcesses(options) as processes:
        futures = [processes.submit(file) for file in files]
        while not all(future.done() for future in futures):
            busy.append(_tile_pass(arena, IDLE_PASSES + len(busy)))
        results = [future.result() for future in futures]
    seconds = time.monotonic() - start
    for path in filter(None, (result.path for result in results)):
        shutil.rmtree(root / path.partition("/")[0])
    shutil.rmtree(arena.folder / "to-import")
    slower = median(done.p99_ms for done in busy) / median(done.p99_ms for done in idle)
    part = median(done.per_second for done in busy) / median(done.per_second for done in idle)
    yield Observation(
        "importing",
        f"tiles while {IMPORTS} files import ({seconds:.0f} s)",
        [
            Figure("p99 times idle", slower, at_most=MAX_TIMES_IDLE),
            Figure("throughput part of idle", part, at_least=MIN_PART_OF_IDLE),
            Figure("failed imports", sum(not r.status.is_good for r in results), at_most=0),
        ],
    )


def overload(arena: Arena) -> Iterator[Observation]:
    """Eight windows of 10,000 px at once, and /ping meanwhile."""
    server = arena.pims("pims-overload", 2)
    peak, ended = [0.0], Event()
    watching = Thread(target=_watch, args=(server, peak, ended), name="watch")
    watching.start()
    try:
        with Witness(server.port, ["/ping"]) as ping, ThreadPoolExecutor(WINDOWS) as clients:
            answers = list(clients.map(lambda n: _window(server, arena.slide.path, n), range(WINDOWS)))
    finally:
        ended.set()
        watching.join()
    statuses = Counter(answer.status for answer in answers)
    silent = sum(answer.status == BUSY and not answer.retry_after for answer in answers)
    others = sum(count for status, count in statuses.items() if status not in (OK, BUSY))
    yield Observation(
        "overload",
        f"{WINDOWS} windows of {WINDOW_SIDE:,} px at once",
        [
            Figure("all processes MB", peak[0], at_most=MAX_SERVER_MB),
            Figure("/ping p99 ms", ping.p99_ms(), at_most=MAX_PING_MS),
            Figure("answered", statuses[OK], at_least=1),
            Figure("503", statuses[BUSY]),
            Figure("503 without Retry-After", silent, at_most=0),
            Figure("other answers", others, at_most=0),
            Figure("failed pings", ping.failed(), at_most=0),
        ],
    )


HAPPENINGS: Mapping[str, Callable[[Arena], Iterator[Observation]]] = {
    "soak": soak,
    "importing": importing,
    "overload": overload,
}
"""By the name that --rows takes."""


def _ask_mixed(server: Server, arena: Arena, numbers: range) -> int:
    """Ask these questions, by some clients; how many were answered wrongly."""

    def ask(share: range) -> int:
        with Asker(server.port) as asker:
            questions = (_question(arena, number) for number in share)
            return sum(asker.ask(url, body).status not in right for url, body, right in questions)

    shares = [numbers[first : first + A_CONNECTION] for first in range(0, len(numbers), A_CONNECTION)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(ask, shares))


def _question(arena: Arena, number: int) -> Question:
    """Tiles stored and processed, thumbs, windows, descriptions, and what is wrong."""
    chance = random.Random(number)
    slide = arena.slide
    image = f"/image/{slide.path}"
    tile = slide.tile_url(chance.randrange(slide.columns), chance.randrange(slide.rows))
    left, top = (chance.randrange(slide.columns * 256 - 600) for _ in range(2))
    region = {"left": left, "top": top, "width": 600, "height": 400}
    kinds: tuple[tuple[int, Question], ...] = (
        (40, (tile, None, GOOD)),
        (30, (f"{tile}?gammas={chance.uniform(0.5, 2):.3f}", None, GOOD)),
        (8, (f"{image}/thumb.jpg?length={chance.randint(64, 512)}", None, GOOD)),
        (6, (f"{image}/window.jpg", {"region": region, "length": chance.randint(100, 600)}, GOOD)),
        (6, (f"{image}/info", None, GOOD)),
        (2, (f"{image}/tile/level/0/tx/99999/ty/0.jpg", None, WRONG)),
        (2, (f"/image/upload-{number}/nothing.tif/thumb.jpg?length=9", None, WRONG)),
        (2, (f"{image}/thumb.jpg?length=-{number}", None, WRONG)),
        (2, (f"/image/../../etc/{number}/info", None, WRONG)),
        (2, (f"{image}/window.jpg", {"region": {"left": number}}, WRONG)),
    )
    return chance.choices([question for _, question in kinds], [weight for weight, _ in kinds])[0]


def _tile_pass(arena: Arena, number: int) -> Pass:
    """Tiles at random, every second one with a gamma."""
    chance = random.Random(number)
    tiles = chance.choices(list(arena.slide.tiles()), k=IMPORT_TILES)
    query = f"?gammas={0.5 + number / 997:.4f}"
    urls = [arena.slide.tile_url(*tile, query if index % 2 else "") for index, tile in enumerate(tiles)]
    return arena.load.run(arena.ours, urls)


def _files_to_import(folder: Path) -> list[Path]:
    """JPEG files of 600 x 400 px, which are converted, unlike those of any other run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pixels, run, files = coded_pixels(600, 400), time.time_ns(), []
    for number in range(IMPORTS):
        file = folder / f"{run}-{number}.jpg"
        pixels[:2] = number
        file.write_bytes(simplejpeg.encode_jpeg(pixels, 85, colorspace="RGB") + f"{run}".encode())
        files.append(file)
    return files


def _window(server: Server, path: str, number: int) -> Answer:
    """Each another one: nothing is answered from a cache or shared."""
    region = {"left": number * 8, "top": number * 8, "width": WINDOW_SIDE, "height": WINDOW_SIDE}
    with Asker(server.port, WINDOW_SECONDS) as asker:
        answer = asker.ask(f"/image/{path}/window.jpg", {"region": region, "level": 0})
    return Answer(answer.status, answer.ms, retry_after=answer.retry_after)


def _watch(server: Server, peak: list[float], ended: Event) -> None:
    while not ended.wait(0.02):
        peak[0] = max(peak[0], sum(resident_mb(server.processes()).values()))
