"""The copy of the user's file."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
from pathlib import Path

import pytest

from pims.errors import StorageError
from pims.importer import extract
from pims.importer.extract import copy_with_digest, digest_of, regular_size


def ignore(fraction: float) -> None:
    """No progress wanted."""


@pytest.fixture(params=[True, False], ids=["shared", "written"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "CHUNK", 1000)
    if not request.param:
        monkeypatch.setattr(extract, "_share", lambda *arguments: 0)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 12_345])
def test_a_copy_has_the_same_bytes_and_their_digest(tmp_path: Path, size: int) -> None:
    source, destination = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(size))
    fractions: list[float] = []
    copied = copy_with_digest(source, destination, fractions.append)
    assert destination.read_bytes() == source.read_bytes()
    assert copied == (size, hashlib.sha256(source.read_bytes()).hexdigest())
    assert digest_of(source) == copied[1]
    assert regular_size(source) == size
    assert fractions == sorted(fractions)
    assert not fractions or fractions[-1] == 1


@pytest.mark.usefixtures("either_way")
def test_a_source_that_shrinks_meanwhile_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(bytes(5000))
    with pytest.raises(StorageError, match="shorter"):
        copy_with_digest(source, tmp_path / "b", lambda fraction: os.truncate(source, 100))


@pytest.mark.usefixtures("either_way")
def test_a_source_that_grows_meanwhile_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(bytes(5000))
    with pytest.raises(StorageError, match="changed"):
        copy_with_digest(source, tmp_path / "b", lambda fraction: os.truncate(source, 9000))


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(StorageError, match="File exists"):
        copy_with_digest(tmp_path / "a", tmp_path / "b", ignore)
    assert (tmp_path / "b").read_bytes() == b"old"


@pytest.mark.usefixtures("either_way")
def test_a_disk_that_is_full_is_a_storage_error_with_its_cause(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(bytes(5000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, hard))
    try:
        with pytest.raises(StorageError, match="b can't be written: File too large") as caught:
            copy_with_digest(source, tmp_path / "b", ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG


def test_what_the_listener_raises_is_not_taken_for_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))

    def fail(fraction: float) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        copy_with_digest(tmp_path / "a", tmp_path / "b", fail)
