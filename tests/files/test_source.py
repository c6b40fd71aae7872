"""A file read at absolute positions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.errors import CorruptFile, StorageError
from pims.files.source import LocalSource

DATA = np.random.default_rng(0).bytes(5000)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSource]:
    path = tmp_path_factory.mktemp("source") / "file"
    path.write_bytes(DATA)
    with LocalSource(path) as opened:
        yield opened


@given(st.integers(-3, 6000), st.integers(-3, 6000))
def test_bytes_are_those_of_the_file_or_it_ends_too_early(
    source: LocalSource, offset: int, length: int
) -> None:
    if offset >= 0 and length >= 0 and offset + length <= len(DATA):
        assert source.pread(offset, length) == DATA[offset : offset + length]
    else:
        with pytest.raises(CorruptFile, match="it has 5000 bytes"):
            source.pread(offset, length)


@pytest.mark.parametrize("offset", [2**63, 2**64, 2**200])
def test_absurd_offsets_are_past_the_end(source: LocalSource, offset: int) -> None:
    for arguments in ((offset, 1), (0, offset), (-offset, 1), (1, -offset)):
        with pytest.raises(CorruptFile):
            source.pread(*arguments)


def test_bytes_in_memory_are_read_without_blocking(source: LocalSource) -> None:
    source.pread(0, len(DATA))
    try:
        assert source.pread(10, 20, may_block=False) == DATA[10:30]
    except BlockingIOError:
        pytest.skip("this filesystem can't tell whether it would block")


def test_threads_do_not_disturb_each_other(source: LocalSource) -> None:
    wrong: list[int] = []

    def work(start: int) -> None:
        wrong.extend(n for n in range(start, 4900, 7) if source.pread(n, 90) != DATA[n : n + 90])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    with LocalSource(path) as first:
        (tmp_path / "other").write_bytes(b"second")
        (tmp_path / "other").rename(path)
        with LocalSource(path) as second:
            assert (first.pread(0, 5), second.pread(0, 6)) == (b"first", b"second")
            assert first.revision != second.revision
            assert first.path == path


def test_a_file_cut_while_it_is_read_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with LocalSource(path) as source:
        os.truncate(path, 100)
        with pytest.raises(CorruptFile, match="cut while it was read"):
            source.pread(50, 100)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "missing", "can't be opened: No such file"),
        (tmp_path / "missing" / "deeper", "can't be opened"),
    ):
        with pytest.raises(StorageError, match=words):
            LocalSource(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="this can't be a file's name") as told:
        LocalSource(tmp_path / name)
    assert str(told.value).encode()


def test_after_closing_reading_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    source = LocalSource(path)
    source.close()
    source.close()
    for may_block in (True, False):
        with pytest.raises(StorageError, match="reading failed"):
            source.pread(0, 1, may_block=may_block)


def test_an_empty_file_has_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with LocalSource(tmp_path / "empty") as source:
        assert source.size == 0 and source.pread(0, 0) == b""
        with pytest.raises(CorruptFile):
            source.pread(0, 1)


def test_bytes_are_put_behind_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    with LocalSource(path) as source:
        source.pread(0, 200)
        try:
            found = source.pread_behind(b"before", 10, 20)
        except BlockingIOError:
            pytest.skip("this filesystem can't tell whether it would block")
        assert found == b"before" + bytes(range(10, 30))
        with pytest.raises(CorruptFile):
            source.pread_behind(b"before", 190, 20)
