"""What is told: a table in Markdown, JSON, and the table of the documentation."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.compare import Outcome, middle
from benchmarks.observe import Observation

__all__ = ["machine", "tables", "write_docs", "write_json"]

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
SEEN_HEADINGS = ("What happens", "Seen", "Bars", "")


def tables(outcomes: Iterable[Outcome], seen: Iterable[Observation]) -> str:
    """A table of comparisons and one of observations, one row each; without rows there is no table."""
    told = (_table(HEADINGS, map(_row, outcomes)), _table(SEEN_HEADINGS, map(_seen_row, seen)))
    return "\n".join(filter(None, told))


def _table(headings: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    rows = [headings, ("---",) * len(headings), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) if len(rows) > 2 else ""


def write_json(
    path: Path, outcomes: Sequence[Outcome], seen: Sequence[Observation], facts: dict[str, object]
) -> None:
    told = {"comparisons": [o.as_dict() for o in outcomes], "observations": [o.as_dict() for o in seen]}
    path.write_text(json.dumps({**facts, **told}, indent=1) + "\n")


def write_docs(outcomes: Sequence[Outcome], seen: Sequence[Observation], facts: dict[str, object]) -> None:
    """Put the table into the documentation, between its markers."""
    text = DOCS.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    where = f"{facts['cpus']} cores, Python {facts['python']}, {facts['load_generator']} on the same cores."
    DOCS.write_text(f"{before}{BEGIN}\n\n{tables(outcomes, seen)}\n{where}\n\n{END}{after}", "utf-8")


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


def _seen_row(seen: Observation) -> tuple[str, ...]:
    told = "; ".join(figure.text() for figure in seen.figures)
    bars = "; ".join(filter(None, (figure.bar() for figure in seen.figures)))
    return (seen.work, told, bars, "missed" if seen.missed else "met")
