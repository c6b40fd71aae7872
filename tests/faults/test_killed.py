"""Imports that are killed at everything they ask of the disk, and the server of imports likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pims.importer.events import ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions
from pims.tasks.local import ImportProcesses
from tests.faults.conftest import Root, write_strips, write_tiles

Write = Callable[[Path], Path]
PLUGIN = Path(__file__).parent / "killing_plugin"


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Servers of imports that are started have the plug-in."""
    with monkeypatch.context() as context:
        context.setenv("PYTHONPATH", str(PLUGIN))
        yield context


def import_all(root: Root, sources: list[Path]) -> dict[str, ImportResult]:
    with ImportProcesses(ImportOptions(root.path, root.pending, threads=1), parallel=2) as processes:
        return {Path(result.source).name: result for result in processes.run(sources)}


@pytest.mark.parametrize(("write", "last"), [(write_strips, 80), (write_tiles, 60)])
def test_an_import_may_be_killed_at_any_moment(
    killing: pytest.MonkeyPatch, folder: Path, root: Root, write: Write, last: int
) -> None:
    sources = [write(folder / f"kill-{moment}.tif") for moment in range(1, last + 1)]
    good = write(folder / "good.tif")
    results = import_all(root, [*sources[: last // 2], good, *sources[last // 2 :]])

    assert results["good.tif"].status is ImportStatus.DEPLOYED
    killed = [result for result in results.values() if not result.status.is_good]
    own = {ImportStep.CONVERTING} if write is write_strips else {ImportStep.WRITING_OVERVIEWS}
    other = {ImportStep.CONVERTING, ImportStep.WRITING_OVERVIEWS} - own
    # The check asks nothing of the disk; what ends a reader there is in tests/tasks/test_local.py.
    assert {result.step for result in killed} | {ImportStep.CHECKING_INTEGRITY} == set(ImportStep) - other
    for result in killed:
        assert str(result.error).endswith(f"stopped (signal 9, SIGKILL) during {result.step.words}")
    assert results[f"kill-{last}.tif"].status is ImportStatus.DEPLOYED, "the last moment was not reached"
    deployed = [result for result in results.values() if result.status is ImportStatus.DEPLOYED]
    assert len(root.uploads) == len(deployed)
    root.assert_nothing_half_made()

    killing.delenv("PYTHONPATH")
    again = import_all(root, [*sources, good])
    assert all(result.status.is_good for result in again.values())
    assert len(root.uploads) == len(sources) + 1
    root.assert_nothing_half_made()


def test_the_server_of_imports_may_be_killed_at_any_moment(
    killing: pytest.MonkeyPatch, folder: Path, root: Root
) -> None:
    moments = (1, 6, 12, 18, 22, 26, 30, 34)
    sources = [write_strips(folder / f"orphan-{moment}.tif") for moment in moments]
    good = write_tiles(folder / "good.tif")
    results = import_all(root, [*sources, good])
    assert len(results) == len(sources) + 1
    lost = [result for result in results.values() if not result.status.is_good]
    assert len(lost) > len(sources) // 2
    for result in lost:
        assert f"ended (code -9) during {result.step.words}; import the file again" in str(result.error)
    root.assert_nothing_half_made()

    killing.delenv("PYTHONPATH")
    again = import_all(root, [*sources, good])
    assert all(result.status.is_good for result in again.values())
    root.assert_nothing_half_made()
