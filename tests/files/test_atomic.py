"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pims.files.atomic import write_all, write_beside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_another_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with write_beside(path) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), write_beside(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_content_is_flushed_before_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, list[str]]] = []
    fsync: Callable[[int], None] = os.fsync

    def watched(fd: int) -> None:
        name = Path(f"/proc/self/fd/{fd}").readlink().name
        flushed.append(("folder" if name == tmp_path.name else "file", names(tmp_path)))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    with write_beside(tmp_path / "a") as file:
        file.write(b"x")
    (first, before), (second, after) = flushed
    assert (first, "a" in before, second, after) == ("file", False, "folder", ["a"])


def test_two_writers_of_one_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    together = Barrier(4)

    def write(number: int) -> None:
        with write_beside(tmp_path / "a") as file:
            together.wait(10)
            file.write(bytes([number]) * 100_000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(set((tmp_path / "a").read_bytes())) == 1
    assert names(tmp_path) == ["a"]


def test_all_is_written_through_a_pipe_that_takes_little_at_a_time() -> None:
    from threading import Thread

    reading, writing = os.pipe()
    data = os.urandom(1 << 20)
    received = bytearray()

    def read() -> None:
        while part := os.read(reading, 1000):
            received.extend(part)

    reader = Thread(target=read)
    reader.start()
    write_all(writing, data)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert bytes(received) == data
