"""The listing of ROOT."""

from __future__ import annotations

from pathlib import Path

import pytest

from pims.errors import StorageError
from pims.files.layout import upload_names


def test_uploads_are_listed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("upload-1", "upload-2", ".pending", "other"):
        (tmp_path / name).mkdir()
    assert sorted(upload_names(tmp_path)) == ["upload-1", "upload-2"]


def test_without_a_root_there_are_none(tmp_path: Path) -> None:
    assert upload_names(tmp_path / "missing") == []


def test_a_root_that_can_not_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(StorageError, match="ROOT can't be listed: Not a directory"):
        upload_names(tmp_path / "root")
