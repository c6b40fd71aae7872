"""Whether a process says truly that it can work."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from pims.api import readiness
from pims.api.readiness import Readiness


def wrong(ready: Readiness) -> str | None:
    return asyncio.run(ready.wrong())


@pytest.fixture
def looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", -1.0)


@pytest.mark.usefixtures("looks_again")
def test_a_root_that_went_away_and_came_back_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    ready = Readiness(root, lambda: True)
    assert wrong(ready) == "ROOT is not there."
    root.mkdir()
    assert wrong(ready) is None
    root.rmdir()
    root.write_bytes(b"")
    assert wrong(ready) == "ROOT can't be read: Not a directory."


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is allowed to this user")
@pytest.mark.usefixtures("looks_again")
def test_a_root_that_can_not_be_written_is_noticed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert wrong(Readiness(tmp_path, lambda: True)) == "ROOT can't be written."
    finally:
        tmp_path.chmod(0o700)


def test_the_disk_is_not_looked_at_for_every_question(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    ready = Readiness(root, lambda: True)
    assert wrong(ready) is None
    root.rmdir()
    assert wrong(ready) is None  # as it was found a moment ago


def test_a_disk_that_hangs_holds_nobody_up_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def hang(root: Path) -> None:
        end.wait(30)

    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(readiness, "_wrong_with", hang)
    ready = Readiness(tmp_path, lambda: True)
    threads = threading.active_count()
    try:
        for _ in range(5):
            began = time.monotonic()
            answer = wrong(ready)
            assert answer is not None and answer.startswith("ROOT does not answer")
            assert time.monotonic() - began < 1
        assert threading.active_count() <= threads + 1  # the one that hangs
    finally:
        end.set()


def test_dead_render_threads_and_a_server_that_ends_are_not_ready(tmp_path: Path) -> None:
    state = {"alive": False}
    ready = Readiness(tmp_path, lambda: state["alive"])
    assert str(wrong(ready)).startswith("The threads that render images have ended")
    state["alive"] = True
    assert wrong(ready) is None
    ready.drain()
    assert wrong(ready) == "This server is ending."


def test_when_no_thread_can_be_started_readiness_says_so_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = Readiness(tmp_path, lambda: True)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            assert str(asyncio.run(ready.wrong())).startswith("No thread can be started")
    assert asyncio.run(ready.wrong()) is None
