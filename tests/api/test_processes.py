"""The directory in which the processes of one server count together."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pims.api import processes


def test_a_counting_directory_that_another_server_takes_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock = fcntl.flock
    taken: list[Path] = []

    def late(file: Any, operation: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            shutil.rmtree(taken[0])
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with processes.counting_directory() as directory:
        assert directory is not None and directory.is_dir()
        assert [directory] == list(tmp_path.iterdir()) != taken
        with processes.counting_directory():
            assert directory.is_dir()
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as context:
        context.setattr(processes, "OWNER", "not/there")
        with processes.counting_directory() as directory:
            assert directory is None
    assert list(tmp_path.iterdir()) == []
