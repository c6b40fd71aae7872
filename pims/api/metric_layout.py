"""What a server process counts, and where each number is in its row."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BOUNDS",
    "BUCKETS",
    "COUNT",
    "COUNTERS",
    "DURATION",
    "DURATIONS",
    "GAUGES",
    "RENDERS",
    "REQUESTS",
    "SENT",
    "STATUS_CLASSES",
    "Counter",
    "Gauge",
    "RequestKind",
]


class RequestKind(IntEnum):
    """What was asked for."""

    OTHER = 0
    TILE = 1
    THUMB = 2
    RESIZED = 3
    WINDOW = 4
    ASSOCIATED = 5


class Counter(IntEnum):
    """What is counted besides requests."""

    STORED_TILES = 0
    CACHE_HITS = 1
    CACHE_MISSES = 2
    REFUSALS = 3
    PROCESS_STARTS = 4


class Gauge(IntEnum):
    """What goes up and down."""

    RENDERS_RUNNING = 0
    RENDERS_WAITING = 1
    IMAGES_OPEN = 2
    MEMORY = 3
    START_TIME = 4


STATUS_CLASSES = 5
"""1xx to 5xx."""
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of durations, in seconds; what is longer has a bucket of its own."""
BUCKETS = len(BOUNDS) + 1
DURATION = BUCKETS + 1
"""Numbers of one histogram: its buckets, each for itself, then the sum of the seconds."""

REQUESTS = 0
"""Answers by kind, and within a kind by class of status."""
SENT = REQUESTS + len(RequestKind) * STATUS_CLASSES
"""Bytes by kind."""
DURATIONS = SENT + len(RequestKind)
"""Histograms by kind."""
RENDERS = DURATIONS + len(RequestKind) * DURATION
"""The histogram of renders."""
COUNTERS = RENDERS + DURATION
GAUGES = COUNTERS + len(Counter)
COUNT = GAUGES + len(Gauge)
