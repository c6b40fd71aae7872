"""Imports in real processes: what decoders do to them, and what stays on the disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pims.importer.events import ImportEvent, ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions
from pims.tasks.local import ImportProcesses
from pims.tasks.protocol import ProcessLimits

WriteToy = Callable[..., Path]
Check = Callable[[], None]

SMALL = ProcessLimits(memory_bytes=2 << 30, seconds=30)


class Recorder:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[ImportEvent] = []

    def notify(self, event: ImportEvent) -> None:
        self.events.append(event)

    def wait_for(self, step: ImportStep, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not any(event.step is step for event in list(self.events)):
            assert time.monotonic() < deadline, "the import did not come that far"
            time.sleep(0.01)


@pytest.fixture
def processes(options: ImportOptions, toys: Any) -> Iterator[ImportProcesses]:
    with ImportProcesses(options, SMALL, parallel=2) as processes:
        yield processes


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def wait_until_gone(pid: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def by_name(results: Iterator[ImportResult]) -> dict[str, ImportResult]:
    return {Path(result.source).name: result for result in results}


def test_good_and_bad_files_each_get_their_result(
    processes: ImportProcesses, write_toy: WriteToy, assert_nothing_half_made: Check, options: ImportOptions
) -> None:
    sources = [
        write_toy("good one é.toy"),
        write_toy("crash.toy", behaviour="segfault"),
        write_toy("memory.toy", behaviour="memory"),
        write_toy("exit.toy", behaviour="exit"),
        write_toy("noise.toy", behaviour="noise"),
        write_toy("bug.toy", behaviour="bug"),
        write_toy("again.toy"),
    ]
    results = by_name(processes.run(sources))

    assert results["good one é.toy"].status is ImportStatus.DEPLOYED
    assert results["again.toy"].status is ImportStatus.DEPLOYED
    crash = results["crash.toy"]
    assert crash.error == "decoder stopped (signal 11, SIGSEGV) during checking integrity"
    assert (crash.status, crash.step) == (ImportStatus.ERROR_INTEGRITY, ImportStep.CHECKING_INTEGRITY)
    assert (crash.format, crash.path) == ("TOY", None)
    assert "IMPORT_MEMORY_LIMIT" in str(results["memory.toy"].error)
    assert "exit code 7" in str(results["exit.toy"].error)
    assert results["noise.toy"].status is ImportStatus.DEPLOYED
    assert "unexpected error (KeyError" in str(results["bug.toy"].error)
    assert len(list(options.root.glob("upload-*"))) == 3
    assert_nothing_half_made()


def test_a_decoder_that_never_ends_is_ended(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    sources = [write_toy("loop.toy", behaviour="loop"), write_toy("good.toy")]
    with ImportProcesses(options, ProcessLimits(seconds=1), parallel=1) as processes:
        results = by_name(processes.run(sources))
    assert "took longer than 1 s during checking integrity" in str(results["loop.toy"].error)
    assert results["loop.toy"].status is ImportStatus.ERROR_INTEGRITY
    assert results["good.toy"].status is ImportStatus.DEPLOYED
    assert_nothing_half_made()


def test_the_step_decides_the_status(
    processes: ImportProcesses, write_toy: WriteToy, toys: Any, assert_nothing_half_made: Check
) -> None:
    source = write_toy("convert.toy", behaviour="segfault", where="never")
    source.write_bytes(b"TOY2" + source.read_bytes()[4:])
    (result,) = processes.run([source])
    assert result.status is ImportStatus.ERROR_CONVERSION
    assert str(result.error).endswith("during converting")
    assert_nothing_half_made()


def test_a_full_disk_is_told(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    source = write_toy("large.toy", width=2000, height=1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with ImportProcesses(options, SMALL) as processes:
            (result,) = processes.run([source])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert "File too large" in str(result.error)
    assert_nothing_half_made()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_told(processes: ImportProcesses, write_toy: WriteToy) -> None:
    source = write_toy("secret.toy")
    source.chmod(0)
    (result,) = processes.run([source])
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert "Permission denied" in str(result.error)


def test_a_file_that_vanished_is_told(processes: ImportProcesses, tmp_path: Path) -> None:
    (result,) = processes.run([tmp_path / "gone.toy"])
    assert result.status is ImportStatus.ERROR_DEPLOYMENT
    assert "gone.toy" in str(result.error)


def test_the_same_file_twice_at_once_is_imported_once(
    processes: ImportProcesses, write_toy: WriteToy, options: ImportOptions
) -> None:
    sources = [write_toy(f"{folder}/same.toy") for folder in range(4)]
    statuses = sorted(result.status for result in processes.run(sources))
    assert statuses == ["DEPLOYED", "SKIPPED", "SKIPPED", "SKIPPED"]
    assert len(list(options.root.glob("upload-*"))) == 1


def test_a_name_of_its_own_may_be_given(processes: ImportProcesses, write_toy: WriteToy) -> None:
    result = processes.submit(write_toy("tmp123"), "My slide.toy").result()
    assert str(result.path).endswith("/My-slide.toy")


def test_events_of_every_step_arrive_and_a_listener_that_fails_stops_nothing(
    options: ImportOptions, write_toy: WriteToy, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        def notify(self, event: ImportEvent) -> None:
            super().notify(event)
            raise ValueError("no")

    listener = Failing()
    with ImportProcesses(options, SMALL, listener=listener) as processes:
        (result,) = processes.run([write_toy("a.toy")])
    assert result.status is ImportStatus.DEPLOYED
    assert {event.step for event in listener.events} == set(ImportStep) - {
        ImportStep.CONVERTING,
        ImportStep.WRITING_OVERVIEWS,
    }
    assert {event.source for event in listener.events} == {result.source}
    assert "a listener failed" in caplog.text


def test_nonsense_in_the_place_of_a_result_is_no_result(
    processes: ImportProcesses, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    futures = [processes.submit(write_toy(name, behaviour="forge")) for name in ("a.toy", "b.toy")]
    assert [future.result(30).status for future in futures] == [ImportStatus.DEPLOYED] * 2
    assert_nothing_half_made()


@pytest.mark.parametrize("said", ['{"id": 99, "result": {}}', '{"id": 1, "result": {}}', "[]", "nonsense"])
def test_a_server_of_imports_that_talks_nonsense_is_ended_and_everybody_gets_a_result(
    options: ImportOptions,
    write_toy: WriteToy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cv2.py").write_text(
        f"import os, time\nos.write(1, {said.encode()!r} + b'\\n')\ntime.sleep(60)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with ImportProcesses(options, SMALL, parallel=2) as processes:
        futures = [processes.submit(write_toy(f"{number}.toy")) for number in range(4)]
        results = [future.result(20) for future in futures]
    assert {result.status for result in results} == {ImportStatus.ERROR_DEPLOYMENT}
    assert "nobody understands" in caplog.text


def test_what_decodes_files_does_not_know_the_secrets_of_the_environment(
    options: ImportOptions, write_toy: WriteToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTH_SECRET", "auth_secret", "CONFIG_FILE", "CLOUD_TOKEN", "LC_TEST"):
        monkeypatch.setenv(name, "do-not-tell" if name != "LC_TEST" else "kept")
    listener = Recorder()
    with ImportProcesses(options, SMALL, listener=listener) as processes:
        processes.submit(write_toy("loop.toy", behaviour="loop"))
        listener.wait_for(ImportStep.CHECKING_INTEGRITY)
        (server,) = children_of(os.getpid())
        (worker,) = children_of(server)
        for pid in (server, worker):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"do-not-tell" not in environment
            assert b"LC_TEST=kept" in environment


def test_what_imports_left_that_were_all_killed_is_removed_at_the_next_start(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    listener = Recorder()
    with ImportProcesses(options, SMALL, listener=listener) as processes:
        processes.submit(write_toy("loop.toy", behaviour="loop"))
        listener.wait_for(ImportStep.CHECKING_INTEGRITY)
        (private,) = options.pending.iterdir()
        ImportProcesses(options, SMALL).close()
        assert private.is_dir()  # somebody works there
    program = (
        "import os, sys; from pathlib import Path; from pims.files.claim import Claim;"
        "Claim(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(private)], check=False)
    assert private.is_dir()
    ImportProcesses(options, SMALL).close()
    assert_nothing_half_made()


def test_workers_are_limited_and_polite(options: ImportOptions, write_toy: WriteToy) -> None:
    listener = Recorder()
    with ImportProcesses(options, SMALL, listener=listener) as processes:
        processes.submit(write_toy("loop.toy", behaviour="loop"))
        listener.wait_for(ImportStep.CHECKING_INTEGRITY)
        (server,) = children_of(os.getpid())
        (worker,) = children_of(server)
        limits = Path(f"/proc/{worker}/limits").read_text()
        assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max address")] == [
            str(2 << 30)
        ]
        assert [line.split()[4] for line in limits.splitlines() if line.startswith("Max core")] == ["0"]
        assert os.getpriority(os.PRIO_PROCESS, worker) >= 10
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
        # Its pipe, and nothing of the server but standard output and error.
        open_files = [link.readlink().name for link in Path(f"/proc/{worker}/fd").iterdir()]
        assert sum(name.startswith("pipe:") for name in open_files) <= 3


def test_closing_ends_running_imports_and_leaves_nothing(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    listener = Recorder()
    with ImportProcesses(options, SMALL, parallel=1, listener=listener) as processes:
        running = processes.submit(write_toy("loop.toy", behaviour="loop"))
        waiting = processes.submit(write_toy("waiting.toy"))
        listener.wait_for(ImportStep.CHECKING_INTEGRITY)
        (server,) = children_of(os.getpid())
        (worker,) = children_of(server)
    wait_until_gone(server)
    wait_until_gone(worker)
    assert waiting.cancelled()
    assert running.result().status is ImportStatus.ERROR_DEPLOYMENT
    assert_nothing_half_made()
    assert list(options.root.glob("upload-*")) == []
    with pytest.raises(RuntimeError):
        processes.submit(Path("late"))


def test_a_server_of_imports_that_is_killed_is_started_again(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    listener = Recorder()
    with ImportProcesses(options, SMALL, parallel=1, listener=listener) as processes:
        lost = processes.submit(write_toy("loop.toy", behaviour="loop"))
        good = processes.submit(write_toy("good.toy"))
        listener.wait_for(ImportStep.CHECKING_INTEGRITY)
        (server,) = children_of(os.getpid())
        (worker,) = children_of(server)
        os.kill(server, signal.SIGKILL)
        assert "ended (code -9) during checking integrity" in str(lost.result(20).error)
        wait_until_gone(worker)
        assert good.result(20).status is ImportStatus.DEPLOYED
    assert_nothing_half_made()


def test_a_server_of_imports_that_can_t_start_is_not_tried_for_every_file(
    options: ImportOptions,
    write_toy: WriteToy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cv2.py").write_text("raise SystemExit(5)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    sources = [write_toy(f"{number}.toy") for number in range(20)]
    with ImportProcesses(options, SMALL) as processes:
        results = list(processes.run(sources))
    assert len(results) == 20
    assert all("(code 5)" in str(result.error) for result in results)
    assert caplog.text.count("the server of imports ended") == 1


def test_nothing_stays_when_who_started_the_imports_is_killed(
    options: ImportOptions, write_toy: WriteToy, assert_nothing_half_made: Check
) -> None:
    source = write_toy("loop.toy", behaviour="loop")
    program = (
        "import sys; from pathlib import Path; from pims.importer.flow import ImportOptions;"
        "from pims.tasks.local import ImportProcesses;"
        f"options = ImportOptions(Path({str(options.root)!r}), Path({str(options.pending)!r}));"
        f"list(ImportProcesses(options).run([Path({str(source)!r})]))"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as starter:
        deadline = time.monotonic() + 20
        while not (options.pending.exists() and list(options.pending.glob("*/*.toy"))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (server,) = children_of(starter.pid)
        starter.kill()
    wait_until_gone(server)
    assert_nothing_half_made()
    assert list(options.root.glob("upload-*")) == []


def test_an_import_published_just_before_its_process_died_is_reported_as_deployed(
    options: ImportOptions, write_toy: WriteToy
) -> None:
    from pims.tasks.child import left_behind
    from pims.tasks.protocol import Job

    with ImportProcesses(options, SMALL) as processes:
        (result,) = processes.run([write_toy("a.toy")])
    job = Job(1, result.source, str(result.path).split("/")[0])
    failure = ImportResult(result.source, None, None, ImportStatus.ERROR_DEPLOYMENT, ImportStep.DEPLOYING)
    assert left_behind(options.root, options.pending, job, failure) == result
