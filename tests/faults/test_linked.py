"""Folders of imports that somebody replaced by a link."""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from pims.formats.registry import discover_formats
from pims.importer.events import ImportStatus, StdoutListener
from pims.importer.flow import ImportOptions, import_file
from tests.faults.conftest import Done, Root, write_tiles

PimsImport = Callable[..., Done]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of somebody else, with directories that look left behind."""
    path = tmp_path / "out"
    (path / "mydata").mkdir(parents=True)
    (path / "mydata" / ".claim").touch()
    (path / "mydata" / "kept").write_text("kept")
    for name in ("upload-old", f"upload-{uuid.uuid4()}"):
        (path / name).mkdir()
        long_ago = time.time() - 7200
        os.utime(path / name, (long_ago, long_ago))
    return path


def test_a_linked_pending_folder_is_refused_and_nothing_in_it_is_touched(
    pims_import: PimsImport, folder: Path, root: Root, out: Path
) -> None:
    write_tiles(folder / "a.tif")
    root.path.mkdir()
    root.pending.symlink_to(Path("..") / "out")
    before = {path: path.lstat().st_mtime_ns for path in [out, *out.rglob("*")]}
    done = pims_import(folder)
    assert done.code == 1
    assert f"{root.pending} is a symbolic link" in done.log and "WRITING_PATH" in done.log
    assert "Traceback" not in done.log
    result = import_file(
        folder / "a.tif",
        ImportOptions(root.path, root.pending),
        discover_formats(),
        StdoutListener(io.StringIO()),
    )
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert str(result.error).startswith(f"{root.pending} is a symbolic link")
    assert {path: path.lstat().st_mtime_ns for path in [out, *out.rglob("*")]} == before
    assert root.uploads == []


@pytest.mark.parametrize("place", [".pending", "../writing"])
def test_a_link_that_writing_path_names_is_what_it_leads_to(
    pims_import: PimsImport, folder: Path, root: Root, out: Path, place: str
) -> None:
    write_tiles(folder / "a.tif")
    root.path.mkdir()
    link = root.path / place
    link.symlink_to(out)
    done = pims_import(folder, WRITING_PATH=str(link))
    assert done.code == 0
    assert len(root.uploads) == 1
    # An empty directory with a name of ours was left; nothing else was.
    assert sorted(path.name for path in out.iterdir()) == ["mydata", "upload-old"]
    assert (out / "mydata" / "kept").read_text() == "kept"
