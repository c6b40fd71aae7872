"""Directories of a process, and what is left of them when it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pims.files.claim import Claim, remove_abandoned


def claim_and_die(path: Path) -> None:
    """As a process that is killed with the directory half full."""
    program = (
        "import os, sys; from pathlib import Path; from pims.files.claim import Claim;"
        "claim = Claim(Path(sys.argv[1])); (claim.path / 'half').write_text('x');"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    claim_and_die(tmp_path / "upload-dead")
    living = Claim(tmp_path / "upload-living")
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["upload-living"]
    living.remove()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_removed_but_what_was_claimed(tmp_path: Path) -> None:
    """WRITING_PATH may be any folder: of other programs, of other servers, even a ROOT full of images."""
    (tmp_path / "upload-published" / "processed").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "upload-published")
    before = sorted(tmp_path.rglob("*"))
    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "missing")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_claimed_directory_elsewhere_is_not_followed(tmp_path: Path) -> None:
    claim_and_die(tmp_path / "elsewhere")
    (tmp_path / "pending").mkdir()
    (tmp_path / "pending" / "link").symlink_to(tmp_path / "elsewhere")
    remove_abandoned(tmp_path / "pending")
    assert (tmp_path / "elsewhere" / "half").exists()


def test_a_directory_that_exists_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").touch()
    with pytest.raises(FileExistsError):
        Claim(tmp_path / "a")
    assert (tmp_path / "a" / "kept").exists()


def test_a_published_directory_has_no_sign_and_outlives_its_maker(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "a")
    claim.hide()
    claim.path.rename(tmp_path / "b")
    claim.close()
    remove_abandoned(tmp_path)
    assert list((tmp_path / "b").iterdir()) == []


def test_without_locks_nothing_is_ever_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(fd: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as context:
        context.setattr(fcntl, "flock", refuse)
        claim = Claim(tmp_path / "a")
    remove_abandoned(tmp_path)
    assert claim.path.is_dir()
    claim.hide()
    claim.remove()
    assert list(tmp_path.iterdir()) == []
