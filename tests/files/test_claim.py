"""Directories of a process, and what is left of them when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pims.files.claim import Claim, abandoned, remove_abandoned, wait_released


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
    claim.publish(tmp_path / "b")
    remove_abandoned(tmp_path)
    assert list((tmp_path / "b").iterdir()) == []
    assert not claim.path.exists()


def test_a_directory_whose_publication_fails_is_claimed_still(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "a")
    with pytest.raises(OSError, match="No such file"):
        claim.publish(tmp_path / "missing" / "b")
    remove_abandoned(tmp_path)
    assert claim.path.is_dir()
    wait_released(claim.path, 0)
    claim.remove()


@pytest.mark.parametrize("sign", [None, ".claim.new"])
def test_a_directory_without_its_sign_is_abandoned_after_a_while(tmp_path: Path, sign: str | None) -> None:
    path = tmp_path / "upload-begun"
    path.mkdir()
    if sign:
        (path / sign).touch()
    (tmp_path / "another's").mkdir()
    assert abandoned(tmp_path) == []
    long_ago = time.time() - 100
    for each in tmp_path.iterdir():
        os.utime(each, (long_ago, long_ago))
    assert abandoned(tmp_path) == [path]
    remove_abandoned(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["another's"]


def test_who_waits_for_a_claim_goes_on_when_its_process_has_ended(tmp_path: Path) -> None:
    claim_and_die(tmp_path / "upload-dead")
    wait_released(tmp_path / "upload-dead", 60)
    wait_released(tmp_path / "missing", 60)


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
    claim.remove()
    assert list(tmp_path.iterdir()) == []
