"""Comparisons: the same work given to two servers in turns, and the ratio of what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from benchmarks.load import CONNECTIONS, LoadGenerator, Pass
from benchmarks.servers import Server

__all__ = ["Comparison", "Outcome", "Side", "compare", "middle"]


@dataclass(frozen=True, slots=True)
class Side:
    """Who gets which requests."""

    server: Server
    urls: Callable[[int], Sequence[str]]
    """By round."""
    requests: int = 0
    """0: every URL once."""
    connections: int = CONNECTIONS
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table."""

    key: str
    work: str
    against: str
    ours: Side
    yardstick: Side | None
    rounds: int
    bar: float | None = None
    """The least ratio of requests a second, ours to the yardstick's; none is for information."""
    limit_ms: float | None = None
    """The highest median latency."""
    yardstick_first: bool = False
    """In every round; otherwise they take turns in going first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison gave, round by round."""

    comparison: Comparison
    ours: list[Pass]
    yardstick: list[Pass]

    @property
    def ratios(self) -> list[float]:
        """Of requests a second, ours to the yardstick's, by round."""
        return [a.per_second / b.per_second for a, b in zip(self.ours, self.yardstick, strict=False)]

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.yardstick else None

    @property
    def best_ratio(self) -> float | None:
        """Of the best round of each side: what else the machine did disturbed it least."""
        if not self.yardstick:
            return None
        best, theirs = (max(done.per_second for done in side) for side in (self.ours, self.yardstick))
        return best / theirs

    @property
    def missed(self) -> bool:
        """Whether a bar is not reached."""
        bar, limit, ratio = self.comparison.bar, self.comparison.limit_ms, self.ratio
        slow = bar is not None and ratio is not None and ratio < bar
        late = limit is not None and middle(self.ours, "p50_ms") > limit
        return slow or late

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is typical of a round, and the ratio of every round."""
        fields = ("requests", "per_second", "p50_ms", "p99_ms", "cpu_us", "hits", "mean_bytes")
        told: dict[str, Any] = {
            "key": self.comparison.key,
            "work": self.comparison.work,
            "against": self.comparison.against,
            "bar": self.comparison.bar,
            "limit_ms": self.comparison.limit_ms,
            "missed": self.missed,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "best_ratio": self.best_ratio,
        }
        for name, passes in (("ours", self.ours), ("yardstick", self.yardstick)):
            told[name] = {field: middle(passes, field) for field in fields} if passes else None
        return told


def compare(comparison: Comparison, load: LoadGenerator) -> Outcome:
    """Run all rounds. RuntimeError when a request fails."""
    outcome = Outcome(comparison, [], [])
    for number in range(comparison.rounds):
        sides = [(comparison.ours, outcome.ours)]
        if comparison.yardstick is not None:
            sides.append((comparison.yardstick, outcome.yardstick))
        if comparison.yardstick_first or number % 2:
            sides.reverse()
        for side, passes in sides:
            passes.append(
                load.run(
                    side.server,
                    side.urls(number),
                    requests=side.requests,
                    connections=side.connections,
                    headers=side.headers,
                )
            )
    return outcome


def middle(passes: Sequence[Pass], field: str) -> float:
    """The median of a field over the rounds; the mean of processor times, which are counted in ticks."""
    values = [float(getattr(done, field)) for done in passes]
    return fmean(values) if field == "cpu_us" else median(values)
