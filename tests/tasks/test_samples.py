"""Real files and hostile ones, imported in real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pims.importer.events import ImportStatus
from pims.importer.flow import ImportOptions
from pims.tasks.local import ImportProcesses

HOSTILE = ("bad/crafted", "bad/svs", "bad/png")


def test_hostile_files_get_a_reason_and_leave_nothing(
    samples: Path, options: ImportOptions, assert_nothing_half_made: Callable[[], None]
) -> None:
    sources = [path for folder in HOSTILE for path in sorted((samples / folder).iterdir()) if path.is_file()]
    with ImportProcesses(options) as processes:
        results = list(processes.run(sources))
    assert len(results) == len(sources)
    for result in results:
        assert result.status.is_good == (result.error is None)
        assert "unexpected error" not in str(result.error), result
    assert_nothing_half_made()


def test_a_real_slide_is_imported(samples: Path, options: ImportOptions) -> None:
    slide = next((samples / "real" / "svs").glob("CMU-1-Small-Region.svs"))
    with ImportProcesses(options) as processes:
        (result,) = processes.run([slide])
    assert (result.status, result.error) == (ImportStatus.DEPLOYED, None)
