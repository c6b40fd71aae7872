"""Bars are missed when they are, and tables say so."""

from __future__ import annotations

from benchmarks.asking import percentile
from benchmarks.observe import Figure, Observation
from benchmarks.report import tables


def test_a_figure_misses_its_bar_on_the_wrong_side_only() -> None:
    assert Figure("MB", 401, at_most=400).missed
    assert not Figure("MB", 400, at_most=400).missed
    assert Figure("part", 0.4, at_least=0.5).missed
    assert not Figure("part", 1e9).missed


def test_an_observation_is_told_with_its_bars() -> None:
    seen = Observation("soak", "much use", [Figure("MB", 401, at_most=400), Figure("503", 2)])
    assert tables([], [seen]).splitlines()[-1] == "| much use | MB 401; 503 2 | MB <= 400 | missed |"


def test_the_99th_percentile_is_not_exceeded_by_99_of_100() -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], 0.99) == 99
    assert percentile([], 0.99) == 0
