"""What was counted, in the text format that Prometheus reads (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from pims.api.metric_layout import (
    BOUNDS,
    BUCKETS,
    COUNTERS,
    DURATION,
    DURATIONS,
    GAUGES,
    RENDERS,
    REQUESTS,
    SENT,
    STATUS_CLASSES,
    Counter,
    Gauge,
    RequestKind,
)
from pims.api.metrics import Totals

__all__ = ["MEDIA_TYPE", "exposition"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER_FAMILIES = {
    Counter.STORED_TILES: ("pims_stored_tiles_total", "Tiles sent as they are stored, without decoding."),
    Counter.CACHE_HITS: ("pims_response_cache_hits_total", "Answers found in the cache of answers."),
    Counter.CACHE_MISSES: ("pims_response_cache_misses_total", "Answers that were not in that cache."),
    Counter.REFUSALS: ("pims_requests_refused_total", "Requests for pixels answered with 503."),
    Counter.PROCESS_STARTS: ("pims_process_starts_total", "Server processes started."),
}
GAUGE_FAMILIES = {
    Gauge.RENDERS_RUNNING: ("pims_renders_running", "Renders being made."),
    Gauge.RENDERS_WAITING: ("pims_renders_waiting", "Renders that wait for a thread."),
    Gauge.IMAGES_OPEN: ("pims_images_open", "Images kept open, in all processes."),
    Gauge.MEMORY: ("process_resident_memory_bytes", "Memory in use by all server processes."),
    Gauge.START_TIME: ("process_start_time_seconds", "When the oldest server process started."),
}


def exposition(totals: Totals) -> str:
    """The whole text, in which every family has its help, its type and its samples."""
    return "\n".join(_lines(totals)) + "\n"


def _lines(totals: Totals) -> Iterator[str]:
    values = totals.values
    yield from _family("pims_processes", "gauge", "Server processes that run.")
    yield f"pims_processes {totals.processes}"
    yield from _requests(values)
    yield from _family(
        "pims_request_duration_seconds", "histogram", "From a request to the end of its answer."
    )
    for kind in RequestKind:
        labels = f'kind="{kind.name.lower()}"'
        yield from _histogram("pims_request_duration_seconds", labels, values, DURATIONS + kind * DURATION)
    yield from _family(
        "pims_render_duration_seconds", "histogram", "Reading, processing and encoding pixels."
    )
    yield from _histogram("pims_render_duration_seconds", "", values, RENDERS)
    yield from _singles("counter", ((*COUNTER_FAMILIES[c], values[COUNTERS + c]) for c in Counter))
    yield from _singles("gauge", ((*GAUGE_FAMILIES[g], values[GAUGES + g]) for g in Gauge))


def _family(name: str, kind: str, told: str) -> tuple[str, str]:
    return f"# HELP {name} {told}", f"# TYPE {name} {kind}"


def _requests(values: Sequence[float]) -> Iterator[str]:
    yield from _family("pims_requests_total", "counter", "Requests answered, by kind and class of status.")
    for kind in RequestKind:
        for status in range(STATUS_CLASSES):
            labels = f'kind="{kind.name.lower()}",status="{status + 1}xx"'
            count = values[REQUESTS + kind * STATUS_CLASSES + status]
            yield f"pims_requests_total{{{labels}}} {_number(count)}"
    yield from _family("pims_response_bytes_total", "counter", "Bytes of bodies sent, by kind.")
    for kind in RequestKind:
        yield f'pims_response_bytes_total{{kind="{kind.name.lower()}"}} {_number(values[SENT + kind])}'


def _histogram(name: str, labels: str, values: Sequence[float], start: int) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    counts = list(accumulate(values[start : start + BUCKETS]))
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        yield f'{name}_bucket{{{before}le="{bound}"}} {_number(count)}'
    around = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{around} {_number(values[start + BUCKETS])}"
    yield f"{name}_count{around} {_number(counts[-1])}"


def _singles(kind: str, families: Iterable[tuple[str, str, float]]) -> Iterator[str]:
    for name, told, value in families:
        yield from _family(name, kind, told)
        yield f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
