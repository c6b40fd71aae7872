"""What is told: a table in Markdown, JSON, and the table of the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.compare import Outcome, middle

__all__ = ["table", "write_docs", "write_json"]

DOCS = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- begin of the table, written by benchmarks/run.py -->", "<!-- end of the table -->"
HEADINGS = (
    "Work",
    "Compared with",
    "Ours",
    "Theirs",
    "Ratio (lowest .. highest)",
    "At best",
    "Bar",
    "CPU µs ours / theirs",
    "p50 / p99 ms",
    "",
)


def table(outcomes: Iterable[Outcome]) -> str:
    """One row a comparison."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, outcomes)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write_json(path: Path, outcomes: Sequence[Outcome], facts: dict[str, object]) -> None:
    path.write_text(json.dumps({**facts, "comparisons": [o.as_dict() for o in outcomes]}, indent=1) + "\n")


def write_docs(outcomes: Sequence[Outcome], facts: dict[str, object]) -> None:
    """Put the table into the documentation, between its markers."""
    text = DOCS.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    where = f"{facts['cpus']} cores, Python {facts['python']}, {facts['load_generator']} on the same cores."
    DOCS.write_text(f"{before}{BEGIN}\n\n{table(outcomes)}\n{where}\n\n{END}{after}", "utf-8")


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}


def _row(outcome: Outcome) -> tuple[str, ...]:
    comparison, ours, yardstick = outcome.comparison, outcome.ours, outcome.yardstick
    latency = f"{middle(ours, 'p50_ms'):.2f} / {middle(ours, 'p99_ms'):.2f}"
    cpu = f"{middle(ours, 'cpu_us'):.0f}"
    theirs = ratio = best = ""
    bar = "" if comparison.limit_ms is None else f"<= {comparison.limit_ms:g} ms"
    if yardstick:
        theirs = f"{middle(yardstick, 'per_second'):,.0f}/s"
        cpu += f" / {middle(yardstick, 'cpu_us'):.0f}"
        ratio = f"**{outcome.ratio:.2f}** ({min(outcome.ratios):.2f} .. {max(outcome.ratios):.2f})"
        best = f"{outcome.best_ratio:.2f}"
        bar = "" if comparison.bar is None else f">= {comparison.bar:g}"
    verdict = ("missed" if outcome.missed else "met") if bar else ""
    ours_text = f"{middle(ours, 'per_second'):,.0f}/s"
    return (comparison.work, comparison.against, ours_text, theirs, ratio, best, bar, cpu, latency, verdict)
