"""Directories of a process, and what is left of them when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pims.errors import StorageError
from pims.files.claim import Claim, abandoned, make_parent, remove_abandoned, wait_released

DEAD = "upload-00000000-0000-4000-8000-00000000dead"
LIVING = "upload-00000000-0000-4000-8000-000000001111"


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
    claim_and_die(tmp_path / DEAD)
    living = Claim(tmp_path / LIVING)
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LIVING]
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
    (tmp_path / "elsewhere").mkdir()
    claim_and_die(tmp_path / "elsewhere" / DEAD)
    (tmp_path / "pending").mkdir()
    (tmp_path / "pending" / DEAD).symlink_to(tmp_path / "elsewhere" / DEAD)
    remove_abandoned(tmp_path / "pending")
    assert (tmp_path / "elsewhere" / DEAD / "half").exists()


def test_a_directory_that_exists_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").touch()
    with pytest.raises(FileExistsError):
        Claim(tmp_path / "a")
    assert (tmp_path / "a" / "kept").exists()


def test_a_published_directory_has_no_sign_and_outlives_its_maker(tmp_path: Path) -> None:
    claim = Claim(tmp_path / LIVING)
    claim.publish(tmp_path / DEAD)
    remove_abandoned(tmp_path)
    assert list((tmp_path / DEAD).iterdir()) == []
    assert not claim.path.exists()


def test_a_directory_whose_publication_fails_is_claimed_still(tmp_path: Path) -> None:
    claim = Claim(tmp_path / LIVING)
    with pytest.raises(OSError, match="No such file"):
        claim.publish(tmp_path / "missing" / "b")
    remove_abandoned(tmp_path)
    assert claim.path.is_dir()
    wait_released(claim.path, 0)
    claim.remove()


@pytest.mark.parametrize("sign", [None, ".claim.new"])
def test_a_directory_without_its_sign_is_abandoned_after_a_while(tmp_path: Path, sign: str | None) -> None:
    path = tmp_path / DEAD
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
    claim_and_die(tmp_path / DEAD)
    wait_released(tmp_path / DEAD, 60)
    wait_released(tmp_path / "missing", 60)


def test_without_locks_nothing_is_ever_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(fd: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as context:
        context.setattr(fcntl, "flock", refuse)
        claim = Claim(tmp_path / LIVING)
    remove_abandoned(tmp_path)
    assert claim.path.is_dir()
    claim.remove()
    assert list(tmp_path.iterdir()) == []


def make_older(path: Path) -> None:
    long_ago = time.time() - 7200
    os.utime(path, (long_ago, long_ago))


@pytest.mark.parametrize("name", ["mydata", "upload-old", f"{DEAD}.bak", f"x{DEAD}", DEAD.upper()])
def test_a_name_that_is_not_made_here_is_never_removed(tmp_path: Path, name: str) -> None:
    """Not even with a sign that was."""
    for folder in ("signed", "empty"):
        (tmp_path / folder).mkdir()
    claim_and_die(tmp_path / "signed" / name)
    (tmp_path / "empty" / name).mkdir()
    for folder in ("signed", "empty"):
        make_older(tmp_path / folder / name)
        assert abandoned(tmp_path / folder) == []
        remove_abandoned(tmp_path / folder)
        assert (tmp_path / folder / name).is_dir()


@pytest.mark.parametrize("sign", [".claim", ".claim.new"])
@pytest.mark.parametrize("kind", ["words", "more", "pipe", "folder", "link"])
def test_a_sign_that_is_not_made_here_is_nobodys(tmp_path: Path, sign: str, kind: str) -> None:
    claim_and_die(tmp_path / LIVING)
    written = (tmp_path / LIVING / ".claim").read_bytes()
    (tmp_path / LIVING).rename(tmp_path / "other")
    path = tmp_path / DEAD
    path.mkdir()
    if kind == "pipe":
        os.mkfifo(path / sign)
    elif kind == "folder":
        (path / sign).mkdir()
    elif kind == "link":
        (path / sign).symlink_to(tmp_path / "other" / ".claim")
    else:
        (path / sign).write_bytes(b"the user's" if kind == "words" else written + b"!")
    make_older(path)
    assert abandoned(tmp_path) == []
    remove_abandoned(tmp_path)
    assert path.is_dir()


def test_an_empty_file_with_the_name_of_the_sign_is_no_sign(tmp_path: Path) -> None:
    path = tmp_path / DEAD
    path.mkdir()
    (path / ".claim").touch()
    (path / "the user's").touch()
    make_older(path)
    remove_abandoned(tmp_path)
    assert (path / "the user's").exists()


def test_half_a_sign_that_nobody_saw_is_abandoned_after_a_while(tmp_path: Path) -> None:
    claim_and_die(tmp_path / LIVING)
    sign = (tmp_path / LIVING / ".claim").read_bytes()
    assert b"PIMS" in sign
    (tmp_path / DEAD).mkdir()
    (tmp_path / DEAD / ".claim.new").write_bytes(sign[:9])
    make_older(tmp_path / DEAD)
    assert abandoned(tmp_path) == [tmp_path / LIVING, tmp_path / DEAD]
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dangling", [False, True])
def test_a_folder_that_is_a_link_is_refused_before_anything_is_done_there(
    tmp_path: Path, dangling: bool
) -> None:
    out, link = tmp_path / "out", tmp_path / ".pending"
    if not dangling:
        out.mkdir()
        claim_and_die(out / DEAD)
    link.symlink_to("out")
    before = sorted(tmp_path.rglob("*"))
    for act in (make_parent, abandoned, remove_abandoned, lambda parent: Claim(parent / LIVING)):
        with pytest.raises(StorageError, match=r"\.pending is a symbolic link, .*; put .* WRITING_PATH"):
            act(link)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_made_with_its_parents_or_taken_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        make_parent(tmp_path / "root" / ".pending")
    Claim(tmp_path / "root" / ".pending" / LIVING).remove()
    assert list((tmp_path / "root" / ".pending").iterdir()) == []
