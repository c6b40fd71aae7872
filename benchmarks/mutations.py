"""`make fuzz`: imports damaged files and asks a running server for what was taken.

Nothing may crash, hang, be answered with a 500 or stay behind. A seed gives the same file again:

    python -m benchmarks.mutations [--seeds 2000] [--first 0] [--keep SEED] [--out FOLDER]

Exit codes: 0 nothing found, 1 defects, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.asking import HANG_SECONDS, Asker, Witness
from benchmarks.mutants import mutant, originals
from benchmarks.servers import (
    HOST,
    WORKERS,
    Server,
    free_port,
    pims_command,
    pims_environment,
    resident_mb,
    running,
)
from pims.importer.events import ImportResult
from pims.importer.flow import ImportOptions
from pims.model.limits import Limits
from pims.tasks.local import ImportProcesses
from pims.tasks.protocol import ProcessLimits
from pims.testing.slides import coded_pixels, write_pyramid

__all__ = ["Findings", "main", "run"]

OUT = Path(__file__).resolve().parent / "out" / "mutations"
SEEDS = 2000
IN_FLIGHT = 16
MAX_PIXELS = 50_000_000
IMPORT_SECONDS = 60.0
IDLE_SECONDS = 3.0
MEMORY_GROWTH_MB = 150.0
"""Of a server process: its caches fill."""
SLOW_FACTOR = 3.0
CONTAINED = re.compile(r"decoder stopped|took longer")
DEFECT = re.compile(r"unexpected|process of the imports ended|Traceback")
BUSY = 503
WINDOW = {"region": {"ti": 0}, "length": 300}


@dataclass
class Findings:
    """What came of all seeds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    contained: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        lines = [f"imports: {dict(self.outcomes)}; answers: {dict(self.statuses)}"]
        lines += [f"contained: {line}" for line in self.contained]
        lines += [f"DEFECT: {line}" for line in self.defects]
        lines.append("; ".join(f"{name} {value:.4g}" for name, value in self.facts.items()))
        return "\n".join(lines)


def run(seeds: range, folder: Path) -> Findings:
    """Import the mutants of these seeds below `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    found = Findings()
    paths = originals(folder / "originals")
    options = ImportOptions(root, root / ".pending", Limits(max_decode_pixels=MAX_PIXELS))
    with ImportProcesses(options, ProcessLimits(seconds=IMPORT_SECONDS)) as processes:
        urls = _witness_urls(processes, folder)
        with _server(folder, root, urls[0]) as server:
            time.sleep(IDLE_SECONDS / 3)  # it has just started
            with Witness(server.port, urls) as idle:
                time.sleep(IDLE_SECONDS)
            before, start = resident_mb(server.processes()), time.monotonic()
            with Witness(server.port, urls) as busy:
                for seed, result in _imported(processes, paths, seeds, folder / "mutants"):
                    _judge(seed, result, found, server, root)
            seconds = time.monotonic() - start
            _judge_server(found, server, before)
        found.facts |= {"seconds": seconds, "idle p99 ms": idle.p99_ms(), "p99 ms meanwhile": busy.p99_ms()}
        found.facts["times idle"] = busy.p99_ms() / max(idle.p99_ms(), 1e-3)
        if busy.failed():
            found.defects.append(f"{busy.failed()} of {len(busy.answers)} tiles of another image failed")
    if (root / ".pending").exists() and (left := sorted(p.name for p in (root / ".pending").iterdir())):
        found.defects.append(f"left in .pending: {left[:5]}")
    log = (folder / "fuzz.log").read_text("utf-8", "replace")
    if "Traceback" in log:
        found.defects.append(f"the log has {log.count('Traceback')} tracebacks: {folder / 'fuzz.log'}")
    return found


def _imported(
    processes: ImportProcesses, paths: Sequence[Path], seeds: range, folder: Path
) -> Iterator[tuple[str, ImportResult]]:
    """Seed, the file it comes from and what became of it; some are under way at a time."""
    folder.mkdir()
    waiting: deque[tuple[str, Path, Future[ImportResult]]] = deque()
    for seed in seeds:
        path, data = mutant(paths, seed)
        file = folder / f"{seed}{path.suffix}"
        file.write_bytes(data)
        waiting.append((f"seed {seed} ({path.name})", file, processes.submit(file)))
        if len(waiting) >= IN_FLIGHT:
            yield _next(waiting)
    while waiting:
        yield _next(waiting)


def _next(waiting: deque[tuple[str, Path, Future[ImportResult]]]) -> tuple[str, ImportResult]:
    label, file, future = waiting.popleft()
    result = future.result()
    file.unlink()
    return label, result


def _judge(label: str, result: ImportResult, found: Findings, server: Server, root: Path) -> None:
    error = result.error or ""
    if DEFECT.search(error):
        found.defects.append(f"{label}: {error}")
    elif CONTAINED.search(error):
        found.outcomes["contained"] += 1
        found.contained.append(f"{label}: {error}")
    elif result.path is None:
        found.outcomes["refused"] += 1
        if not error.endswith(".") or "\n" in error:
            found.defects.append(f"{label}: not a sentence: {error!r}")
    else:
        found.outcomes["taken"] += 1
        _ask(label, result.path, found, server)
        shutil.rmtree(root / result.path.partition("/")[0], ignore_errors=True)


def _ask(label: str, path: str, found: Findings, server: Server) -> None:
    """Info, tiles, thumb and window of one image."""
    image = f"/image/{path}"
    questions = [
        f"{image}/info",
        f"{image}/tile/zoom/0/ti/0.jpg",
        f"{image}/tile/level/0/ti/0.png",
        f"{image}/normalized-tile/zoom/0/tx/0/ty/0.jpg?gammas=0.7",
        f"{image}/normalized-tile/level/0/tx/0/ty/0.webp",
        f"{image}/thumb.jpg?length=256",
        f"{image}/window.png",
    ]
    with Asker(server.port) as asker:
        for question in questions:
            answer = asker.ask(question, WINDOW if question.endswith("window.png") else None)
            found.statuses[answer.status] += 1
            what = question.removeprefix(image)
            if answer.ms > HANG_SECONDS * 1e3:
                found.defects.append(f"{label}: {what} took {answer.ms:.0f} ms")
            elif answer.status == 0 or (answer.status >= 500 and answer.status != BUSY):
                found.defects.append(f"{label}: {what} answers {answer.status}: {answer.body[:300]!r}")
            elif answer.status != 200:
                text = answer.body[:200].decode("utf-8", "replace")
                found.contained.append(f"{label}: taken, but {what} answers {answer.status}: {text}")


def _judge_server(found: Findings, server: Server, before: dict[int, float]) -> None:
    after = resident_mb(server.processes())
    if before.keys() != after.keys():
        found.defects.append(f"server processes changed: {sorted(before)} to {sorted(after)}")
    grown = max(after.get(pid, 0) - memory for pid, memory in before.items())
    found.facts |= {"largest process MB": max(after.values()), "growth MB": grown}
    if grown > MEMORY_GROWTH_MB:
        found.defects.append(f"a server process grew by {grown:.0f} MB")


def _witness_urls(processes: ImportProcesses, folder: Path) -> list[str]:
    """Tiles, stored and processed, of an image that nothing happens to."""
    file = write_pyramid(folder / "witness.tif", coded_pixels(2048, 2048))
    result = processes.submit(file).result()
    if result.path is None:
        raise RuntimeError(f"the witness can't be imported: {result.error}")
    places = [(column, row) for column in range(8) for row in range(8)]
    return [f"/image/{result.path}/normalized-tile/level/0/tx/{x}/ty/{y}.jpg" for x, y in places]


@contextmanager
def _server(folder: Path, root: Path, probe: str) -> Iterator[Server]:
    port = free_port()
    command = pims_command("serve", "--workers", str(WORKERS), "--host", HOST, "--port", str(port))
    environment = {**pims_environment(root), "MAX_DECODE_PIXELS": str(MAX_PIXELS)}
    with running("fuzz", command, port, probe=probe, folder=folder, environment=environment) as server:
        yield server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, or write the file of one."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutations", description="Import damaged files.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--keep", type=int, metavar="SEED", help="only write the file of that seed")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="for files, root and log")
    given = parser.parse_args(arguments)
    if given.keep is not None:
        path, data = mutant(originals(given.out / "originals"), given.keep)
        file = given.out / f"seed-{given.keep}{path.suffix}"
        file.write_bytes(data)
        print(f"{file}, from {path.name}")
        return 0
    found = run(range(given.first, given.first + given.seeds), given.out)
    print(found.text())
    slow = found.facts["times idle"] > SLOW_FACTOR
    print(f"tiles meanwhile: {'slower than' if slow else 'within'} {SLOW_FACTOR:g} times idle")
    return int(bool(found.defects))


if __name__ == "__main__":
    sys.exit(main())
