"""Disks that are full and files that may not be read or written, for real."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pims.formats.registry import discover_formats
from pims.importer.events import ImportResult, ImportStatus, ImportStep, StdoutListener
from pims.importer.flow import ImportOptions, import_file
from tests.faults.conftest import Done, Root, write_strips, write_tiles

PimsImport = Callable[..., Done]


def import_with_room(disk: Path, source: Path, room: int) -> ImportResult:
    """Import to a disk that has so many bytes left."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    state = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(state.f_bavail * state.f_frsize - room, 1))
    options = ImportOptions(disk / "root", disk / "root" / ".pending", threads=1)
    return import_file(source, options, discover_formats(), StdoutListener(io.StringIO()))


@pytest.mark.parametrize("write", [write_strips, write_tiles])
def test_a_full_disk_is_told_whenever_it_gets_full_and_nothing_stays(
    small_disk: Path, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    source = write(tmp_path / "a.tif")
    root = Root(small_disk / "root")
    steps = set()
    for room in range(0, 4 << 20, 64 << 10):
        result = import_with_room(small_disk, source, room)
        root.assert_nothing_half_made()
        if result.status is ImportStatus.DEPLOYED:
            break
        steps.add(result.step)
        assert result.status is ImportStatus.ERROR_DEPLOYMENT
        assert "No space left on device" in str(result.error)
        assert str(result.error).endswith("free some space and import the file again.")
        assert root.uploads == []
    assert result.status is ImportStatus.DEPLOYED
    own = ImportStep.CONVERTING if write is write_strips else ImportStep.WRITING_OVERVIEWS
    assert {ImportStep.EXTRACTING_DATA, own} <= steps


def test_a_file_that_may_not_be_read_is_told_and_the_others_are_imported(
    pims_import: PimsImport, folder: Path, root: Root
) -> None:
    write_tiles(folder / "good.tif")
    secret = write_tiles(folder / "secret.tif")
    secret.chmod(0)
    (folder / "closed").mkdir(mode=0)
    done = pims_import(folder)
    assert done.code == 1
    assert done.results["good.tif"]["status"] == "DEPLOYED"
    refused = done.results["secret.tif"]
    assert (refused["status"], refused["step"]) == ("ERROR_DEPLOYMENT", "EXTRACTING_DATA")
    assert refused["error"].startswith("secret.tif: can't be opened: Permission denied; give")
    assert "Permission denied" in done.results["closed"]["error"]
    root.assert_nothing_half_made()
    secret.chmod(0o600)
    (folder / "closed").chmod(0o700)
    again = pims_import(folder)
    assert again.code == 0
    assert {name: result["status"] for name, result in again.results.items()} == {
        "good.tif": "SKIPPED",
        "secret.tif": "DEPLOYED",
    }


@pytest.mark.parametrize("place", [".", ".pending"])
def test_a_root_that_may_not_be_written_is_told(
    pims_import: PimsImport, folder: Path, root: Root, place: str
) -> None:
    write_tiles(folder / "a.tif")
    root.pending.mkdir(parents=True)
    (root.path / place).chmod(0o555)
    done = pims_import(folder)
    (root.path / place).chmod(0o755)
    assert done.code == 1
    assert "Permission denied; give the server's user the right" in done.results["a.tif"]["error"]
    root.assert_nothing_half_made()
    assert root.uploads == []
    assert pims_import(folder).code == 0


def test_a_root_that_is_a_file_is_told(pims_import: PimsImport, folder: Path, root: Root) -> None:
    write_tiles(folder / "a.tif")
    root.path.write_text("not a folder")
    done = pims_import(folder)
    assert done.code in (1, 2)
    assert "Traceback" not in done.log
    assert root.path.read_text() == "not a folder"


def test_a_file_system_with_another_pending_folder_is_told(
    small_disk: Path, pims_import: PimsImport, folder: Path, root: Root
) -> None:
    write_tiles(folder / "a.tif")
    done = pims_import(folder, WRITING_PATH=str(small_disk / "pending"))
    assert done.code == 1
    assert "WRITING_PATH" in done.results["a.tif"]["error"]
    assert list((small_disk / "pending").iterdir()) == []
    root.assert_nothing_half_made()
