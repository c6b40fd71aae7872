"""The command: measures this server against its yardsticks and says which bars it misses.

Exit codes: 0 every bar is met, 1 a bar is missed or a server failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.arena import Arena
from benchmarks.compare import Comparison, Outcome, compare
from benchmarks.comparisons import ROWS as RACES
from benchmarks.happenings import HAPPENINGS
from benchmarks.kinds import KINDS
from benchmarks.observe import Observation
from benchmarks.report import machine, tables, write_docs, write_json

__all__ = ["main"]

ROWS: Mapping[str, Callable[[Arena], Iterator[Comparison | Observation]]] = {**RACES, **KINDS, **HAPPENINGS}
OUT = Path(__file__).resolve().parent / "out"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows asked for."""
    given = _command_line().parse_args(arguments)
    rows = given.rows.split(",") if given.rows else list(ROWS)
    if unknown := set(rows) - set(ROWS):
        print(f"--rows: {', '.join(sorted(unknown))} is none of {', '.join(ROWS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _on_sigterm)  # every server is ended
    start = time.monotonic()
    try:
        with Arena(given.out, long=given.long) as arena:
            told = _run(arena, rows)
            memory, generator = arena.ours.memory_mb(), arena.load.name
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    facts = {**machine(), "load_generator": generator, "memory_mb": memory}
    outcomes = [row for row in told if isinstance(row, Outcome)]
    seen = [row for row in told if isinstance(row, Observation)]
    print(f"\n{tables(outcomes, seen)}")
    print(f"{generator}; largest process {memory:.0f} MB; {time.monotonic() - start:.0f} s")
    write_json(given.out / "bench.json", outcomes, seen, facts)
    if given.write_docs:
        write_docs(outcomes, seen, facts)
    missed = [outcome.comparison.key for outcome in outcomes if outcome.missed]
    missed += [observation.key for observation in seen if observation.missed]
    if missed:
        print(f"bench: missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _run(arena: Arena, rows: Sequence[str]) -> list[Outcome | Observation]:
    told: list[Outcome | Observation] = []
    for row in rows:
        print(f"{row} ...", file=sys.stderr, flush=True)
        for found in ROWS[row](arena):
            told.append(found if isinstance(found, Observation) else compare(found, arena.load))
    return told


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Measure against the yardsticks.")
    parser.add_argument("--rows", metavar="NAMES", help=f"some of {','.join(ROWS)}; all by default")
    parser.add_argument("--long", action="store_true", help="100,000 mixed requests instead of 20,000")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="for slides and results")
    return parser


def _on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
