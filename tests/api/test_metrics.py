"""What is counted is what happened, over all processes, whatever becomes of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.api.exposition import exposition
from pims.api.metric_layout import BOUNDS, Counter, Gauge, RequestKind
from pims.api.metrics import Metrics, kind_of

OTHER_PROCESS = """
import sys
from pathlib import Path
from pims.api.metric_layout import Gauge
from pims.api.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
metrics.watch(Gauge.IMAGES_OPEN, lambda: 7)
metrics.sample()
metrics.count(1, 200, 100, 0.001)
metrics.stored_tile()
print("counted", flush=True)
sys.stdin.read()
"""
Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts another process of the server that counts in tmp_path: one tile."""
    processes: list[subprocess.Popen[bytes]] = []

    def run() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def samples(metrics: Metrics) -> dict[str, float]:
    """The samples of the text by name and labels."""
    lines = [line for line in exposition(metrics.totals()).splitlines() if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: float(value) for name, value in pairs}


def test_requests_are_counted_by_kind_and_class_of_status(metrics: Metrics) -> None:
    metrics.count(RequestKind.TILE, 200, 1000, 0.002)
    metrics.count(int(RequestKind.TILE), 304, 0, 0.002)
    metrics.count(RequestKind.WINDOW, 503, 10, 0.002)
    metrics.count(RequestKind.OTHER, 503, 10, 0.002)  # not ready
    found = samples(metrics)
    assert found['pims_requests_total{kind="tile",status="2xx"}'] == 1
    assert found['pims_requests_total{kind="tile",status="3xx"}'] == 1
    assert found['pims_requests_total{kind="window",status="5xx"}'] == 1
    assert found['pims_response_bytes_total{kind="tile"}'] == 1000
    assert found["pims_requests_refused_total"] == 1
    assert sum(value for name, value in found.items() if name.startswith("pims_requests_total")) == 4


@given(st.lists(st.tuples(st.sampled_from(RequestKind), st.integers(100, 599), st.floats(0, 100))))
def test_a_histogram_counts_what_took_no_longer_than_its_bound(
    requests: list[tuple[RequestKind, int, float]],
) -> None:
    metrics = Metrics()
    for kind, status, seconds in requests:
        metrics.count(kind, status, 1, seconds)
    found = samples(metrics)
    metrics.close()
    for kind in RequestKind:
        took = [seconds for other, _, seconds in requests if other is kind]
        label = f'kind="{kind.name.lower()}"'
        for bound in BOUNDS:
            counted = found[f'pims_request_duration_seconds_bucket{{{label},le="{bound}"}}']
            assert counted == sum(seconds <= bound for seconds in took)
        assert found[f"pims_request_duration_seconds_count{{{label}}}"] == len(took)
        assert found[f"pims_request_duration_seconds_sum{{{label}}}"] == pytest.approx(sum(took))


def test_the_text_is_what_prometheus_reads(metrics: Metrics) -> None:
    families: dict[str, str] = {}
    for line in exposition(metrics.totals()).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families
            families[name] = kind
        elif not line.startswith("# HELP "):
            name = line.partition("{")[0].partition(" ")[0]
            base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert name in families or families[base] == "histogram"
    assert {kind for name, kind in families.items() if name.endswith("_total")} == {"counter"}
    assert bisect_left(BOUNDS, 0.0005) == 0  # a bucket includes its bound


def test_threads_lose_nothing(metrics: Metrics) -> None:
    def count() -> None:
        for _ in range(5000):
            with metrics.rendering():
                pass
            metrics.cache_hit()
            metrics.cache_miss()
            metrics.stored_tile()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(metrics)
    assert found["pims_render_duration_seconds_count"] == 20_000
    assert found["pims_response_cache_hits_total"] == found["pims_response_cache_misses_total"] == 20_000
    assert found["pims_stored_tiles_total"] == 20_000


def test_a_render_is_seen_while_it_is_made_and_counted_when_it_ended(metrics: Metrics) -> None:
    with metrics.rendering(), metrics.rendering():
        assert samples(metrics)["pims_renders_running"] == 2
    with pytest.raises(ValueError, match="bad"), metrics.rendering():
        time.sleep(0.02)
        raise ValueError("bad")
    found = samples(metrics)
    assert found["pims_renders_running"] == 0
    assert found['pims_render_duration_seconds_bucket{le="0.01"}'] == 2
    assert found['pims_render_duration_seconds_bucket{le="+Inf"}'] == 3
    assert found["pims_render_duration_seconds_count"] == 3
    assert 0.02 < found["pims_render_duration_seconds_sum"] < 10


def test_gauges_say_how_it_is_now(metrics: Metrics) -> None:
    state = {"open": 3.0}
    metrics.watch(Gauge.IMAGES_OPEN, lambda: state["open"])
    assert samples(metrics)["pims_images_open"] == 3
    state["open"] = 1.0
    found = samples(metrics)
    assert found["pims_images_open"] == 1
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["pims_processes"] == found["pims_process_starts_total"] == 1


def test_all_processes_count_together(tmp_path: Path, start: Start) -> None:
    metrics = Metrics(tmp_path)
    start(), start()
    metrics.count(RequestKind.TILE, 200, 50, 0.001)
    found = samples(metrics)
    assert found['pims_requests_total{kind="tile",status="2xx"}'] == 3
    assert found['pims_response_bytes_total{kind="tile"}'] == 250
    assert found["pims_images_open"] == 14
    assert found["pims_processes"] == 3
    metrics.close()


def test_what_a_killed_process_counted_is_kept_and_what_it_held_is_not(tmp_path: Path, start: Start) -> None:
    metrics = Metrics(tmp_path)
    for ended in range(1, 4):
        process = start()
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        found = samples(metrics)
        assert found["pims_stored_tiles_total"] == ended
        assert found["pims_images_open"] == 0
        assert found["pims_processes"] == 1
        assert found["pims_process_starts_total"] == ended + 1
    assert len(list(tmp_path.iterdir())) == 2  # one who starts counts on where one who ended stopped
    metrics.close()


def test_files_of_others_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "owner").touch()
    (tmp_path / "notes").write_bytes(b"something else")
    metrics = Metrics(tmp_path)
    assert samples(metrics)["pims_process_starts_total"] == 1
    metrics.close()


def test_a_directory_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Metrics(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/image/upload-x/a.svs/normalized-tile/zoom/3/tx/2/ty/1.jpg", RequestKind.TILE),
        ("/ims/image/upload-x/a.svs/tile/level/3/ti/2", RequestKind.TILE),
        ("/image/upload-x/thumb.jpg/thumb", RequestKind.THUMB),
        ("/image/upload-x/a.svs/resized.png", RequestKind.RESIZED),
        ("/image/upload-x/a.svs/window.webp", RequestKind.WINDOW),
        ("/image/upload-x/a.svs/associated/thumb.jpg", RequestKind.ASSOCIATED),
        ("/image/upload-x/a.svs/info", RequestKind.OTHER),
        ("/ping", RequestKind.OTHER),
        ("/image/" + "a/" * 30_000, RequestKind.OTHER),
        ("", RequestKind.OTHER),
    ],
)
def test_a_path_says_what_is_asked_for(path: str, kind: RequestKind) -> None:
    assert kind_of(path) is kind


def test_every_counter_and_gauge_has_a_family(metrics: Metrics) -> None:
    text = exposition(metrics.totals())
    singles = [line for line in text.splitlines() if line.startswith("# TYPE") and "histogram" not in line]
    assert len(singles) == len(Counter) + len(Gauge) + 3
