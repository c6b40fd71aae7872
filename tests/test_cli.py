"""The command line, in processes of its own."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pims import cli

REPOSITORY = Path(__file__).parents[1]
PLUGIN = Path(__file__).parent / "toy_plugin"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGIN))
    return importlib.import_module("pims_plugin_format_toy")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """ROOT is tmp_path/root; the toy format is installed; no setting of this machine counts."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    paths = os.pathsep.join([str(PLUGIN), str(REPOSITORY)])
    return {**kept, "PYTHONPATH": paths, "ROOT": str(tmp_path / "root")}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run_pims(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pims.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_pims


@pytest.fixture
def call(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """As `run`, in this process: for what starts none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PLUGIN))

    def call_pims(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as context:
            for name, value in {**environment, **settings}.items():
                context.setenv(name, value)
            try:
                code = cli.main([str(argument) for argument in arguments])
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    handler = signal.getsignal(signal.SIGTERM)
    yield call_pims
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def folder(tmp_path: Path, toys: Any) -> Path:
    """Two good images, one of them deeper, beside what is to be left out."""
    folder = tmp_path / "my images"
    (folder / "sub folder").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b é.toy", "sub folder/a.toy", ".hidden/c.toy", ".d.toy"):
        (folder / name).write_bytes(toys.Toy().as_bytes())
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    return folder


def uploads(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "root").glob("upload-*"))


def assert_nothing_half_made(tmp_path: Path) -> None:
    pending = tmp_path / "root" / ".pending"
    assert not pending.exists() or list(pending.iterdir()) == []
    assert all((upload / "processed" / "manifest.json").exists() for upload in uploads(tmp_path))


def test_a_folder_is_imported_and_the_lines_say_what_became_of_it(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    done = run("import", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "2 imported, 0 skipped, 0 failed"
    assert sum("imported as TOY: upload-" in line for line in lines) == 2
    assert any("b é.toy: detecting format" in line for line in lines)
    assert len(uploads(tmp_path)) == 2

    again = run("import", folder)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == "0 imported, 2 skipped, 0 failed"
    assert_nothing_half_made(tmp_path)


def test_json_is_one_object_a_line_and_nothing_else(run: Run, folder: Path, toys: Any) -> None:
    (folder / "z bad.toy").write_bytes(toys.Toy(behaviour="segfault").as_bytes())
    (folder / "text.txt").write_text("text")
    done = run("import", "--json", folder)
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(list(r) == ["source", "path", "format", "status", "step", "error"] for r in results)
    by_name = {Path(result["source"]).name: result for result in results}
    assert sorted(by_name) == ["a.toy", "b é.toy", "text.txt", "z bad.toy"]
    assert by_name["a.toy"]["status"] == "DEPLOYED"
    assert by_name["a.toy"]["error"] is None
    assert by_name["text.txt"]["status"] == "ERROR_FORMAT"
    assert by_name["z bad.toy"]["status"] == "ERROR_INTEGRITY"
    assert "checking integrity" in done.stderr


def test_a_missing_path_and_a_wrong_setting_are_one_line_and_exit_code_2(call: Run, folder: Path) -> None:
    for done in (
        call("import", folder, "missing file"),
        call("import", folder, CONFIG_FILE="missing.env"),
        call("import", folder, IMPORT_TIME_LIMIT="soon"),
        call("serve", HOST="0.0.0.0"),
        call("serve", "--host", "0.0.0.0"),
        call("serve", "--port", "99999"),
        call("serve", "--images", "missing file"),
    ):
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert "IMPORT_TIME_LIMIT" in call("check", IMPORT_TIME_LIMIT="soon").stderr


def test_an_unknown_command_is_wrong_usage(call: Run) -> None:
    assert call("destroy").returncode == 2
    assert call().returncode == 2


def test_a_failed_import_is_exit_code_1_and_the_summary_counts_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    done = run("import", "text.txt")
    assert done.returncode == 1
    assert "ERROR_FORMAT during detecting format: The content is of none of the formats" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 imported, 0 skipped, 1 failed"


def test_names_that_are_no_text_are_imported(run: Run, tmp_path: Path, toys: Any) -> None:
    (tmp_path / os.fsdecode(b"in\xff")).mkdir()
    (tmp_path / os.fsdecode(b"in\xff/sl\xefde\x1b[2J.toy")).write_bytes(toys.Toy().as_bytes())
    done = run("import", os.fsdecode(b"in\xff"))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert json.loads(run("import", "--json", os.fsdecode(b"in\xff")).stdout)["status"] == "SKIPPED"


def test_many_files_get_only_results(run: Run, tmp_path: Path, toys: Any) -> None:
    for number in range(11):
        (tmp_path / f"{number}.toy").write_bytes(toys.Toy(width=20 + number).as_bytes())
    done = run("import", *tmp_path.glob("*.toy"))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 12


@pytest.mark.parametrize("writing", ["", "writing"])
def test_the_server_s_own_files_are_not_imported_with_the_folder_around_them(
    run: Run, folder: Path, tmp_path: Path, writing: str
) -> None:
    settings = {"ROOT": "link/images", "WRITING_PATH": writing}
    (tmp_path / "storage").mkdir()
    (tmp_path / "link").symlink_to("storage")
    (tmp_path / "writing" / "upload-x").mkdir(parents=True)
    if writing:
        (tmp_path / "writing" / "upload-x" / "half.toy").write_bytes(b"TOY1")
    first = run("import", ".", **settings)
    assert first.stdout.splitlines()[-1] == "2 imported, 0 skipped, 0 failed", first.stdout
    again = run("import", "--json", ".", **settings)
    assert again.returncode == 0
    results = [json.loads(line) for line in again.stdout.splitlines()]
    assert sorted(result["source"] for result in results) == [
        "my images/b é.toy",
        "my images/sub folder/a.toy",
    ]
    for own in ("storage/images", "link/images", *(tmp_path / "storage" / "images").glob("upload-*")):
        refused = run("import", own, **settings)
        assert refused.returncode == 2
        assert "where this server keeps its images" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_a_folder_that_can_not_be_listed_is_a_failure(run: Run, folder: Path, tmp_path: Path) -> None:
    # A path too long for the kernel, which stops the superuser too.
    place, fd = folder, os.open(folder, os.O_RDONLY)
    while len(os.fsencode(place)) < 4096:
        place /= "d" * 250
        os.mkdir("d" * 250, dir_fd=fd)
        fd, before = os.open("d" * 250, os.O_RDONLY, dir_fd=fd), fd
        os.close(before)
    os.close(fd)
    done = run("import", "--json", folder)
    assert done.returncode == 1
    failed, *good = sorted(
        (json.loads(line) for line in done.stdout.splitlines()),
        key=lambda result: str(result["format"] or ""),
    )
    assert list(failed) == ["source", "path", "format", "status", "step", "error"]
    assert (failed["status"], failed["step"]) == ("ERROR_DEPLOYMENT", "EXTRACTING_DATA")
    assert failed["source"] == str(place)
    assert "File name too long" in failed["error"]
    assert {result["status"] for result in good} == {"DEPLOYED"}
    for_people = run("import", folder)
    assert for_people.returncode == 1
    assert for_people.stdout.splitlines()[-1] == "0 imported, 2 skipped, 1 failed"
    assert len(uploads(tmp_path)) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_import_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, toys: Any, number: signal.Signals
) -> None:
    (tmp_path / "loop.toy").write_bytes(toys.Toy(behaviour="loop").as_bytes())
    with subprocess.Popen(
        [sys.executable, "-m", "pims.cli", "import", "loop.toy"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        while "checking" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode != 0
    deadline = time.monotonic() + 10
    while number is signal.SIGHUP and list((tmp_path / "root" / ".pending").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert_nothing_half_made(tmp_path)
    assert uploads(tmp_path) == []


def test_formats_are_listed_with_their_plug_in(call: Run) -> None:
    assert "TOY" in call("formats").stdout
    formats = json.loads(call("formats", "--json").stdout)
    facts = {fact["id"]: fact for fact in formats}
    assert facts["TOY"]["importable"]
    assert facts["PYRTIFF"]["plugin"] == "pims.formats.common"


def test_a_plug_in_that_fails_to_load_is_named_and_stops_nothing(
    run: Run, tmp_path: Path, environment: dict[str, str], folder: Path
) -> None:
    broken = tmp_path / "plugins" / "pims_plugin_format_broken"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import a_module_that_is_not_there")
    paths = os.pathsep.join([str(broken.parent), environment["PYTHONPATH"]])
    done = run("check", PYTHONPATH=paths)
    assert done.returncode == 1
    assert "WRONG: plug-in pims_plugin_format_broken: ModuleNotFoundError" in done.stdout
    assert run("import", folder, PYTHONPATH=paths).returncode == 0


def test_a_plug_in_that_starts_threads_is_told_and_no_import_is_run(
    run: Run, tmp_path: Path, environment: dict[str, str], folder: Path
) -> None:
    threaded = tmp_path / "plugins" / "pims_plugin_format_threaded"
    threaded.mkdir(parents=True)
    (threaded / "__init__.py").write_text(
        "import threading\nFORMATS = ()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    paths = os.pathsep.join([str(threaded.parent), environment["PYTHONPATH"]])
    done = run("import", folder, PYTHONPATH=paths)
    assert done.returncode == 1
    assert "must not start threads" in done.stdout


def test_check_says_that_everything_is_in_order(call: Run, tmp_path: Path) -> None:
    done = call("check", AUTH="network", AUTH_SECRET="do not tell")
    assert done.returncode == 0, done.stdout
    assert "everything is in order" in done.stdout
    assert "do not tell" not in done.stdout
    for word in ("ROOT = ", "numpy ", "imagecodecs ", "GB free", "TOY"):
        assert word in done.stdout
    assert not (tmp_path / "root").exists()


def test_check_finds_a_root_that_is_a_file(call: Run, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("not a directory")
    done = call("check")
    assert done.returncode == 1
    assert "WRONG: ROOT: " in done.stdout


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
def test_check_finds_a_writing_path_on_another_filesystem(call: Run, tmp_path: Path) -> None:
    done = call("check", WRITING_PATH="/dev/shm")
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one filesystem only")
    assert done.returncode == 1
    assert "WRONG: WRITING_PATH: must be on the same filesystem as ROOT" in done.stdout


def test_a_demonstration_slide_is_written_or_imported(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--output", "slide.tiff", "--size", "600")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "slide.tiff").stat().st_size > 1000
    assert run("demo", "--output", "slide.tiff").returncode == 2
    done = run("demo", "--import", "--size", "600")
    assert done.returncode == 0, done.stderr
    assert len(uploads(tmp_path)) == 1
    assert_nothing_half_made(tmp_path)


def test_a_demonstration_that_was_killed_leaves_nothing_after_the_next_import(
    run: Run, environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    pending = tmp_path / "root" / ".pending"
    command = [sys.executable, "-m", "pims.cli", "demo", "--import"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not list(pending.glob("demo-*/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert list(pending.iterdir())
    done = run("import", folder)
    assert done.returncode == 0
    assert "left by an import that was killed" in done.stderr
    assert_nothing_half_made(tmp_path)


def test_the_script_of_the_importer_takes_a_path(
    environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    script = REPOSITORY / "pims" / "importer" / "import_local_images.py"
    done = subprocess.run(
        [sys.executable, script, "--path", folder],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert len(uploads(tmp_path)) == 2


# pims serve -------------------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, module: str = "pims.cli") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, *(["serve"] if module == "pims.cli" else [])]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*command, *map(str, arguments)], cwd=tmp_path, env=environment, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def wait_for(url: str, process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_server_starts_says_where_and_imports_meanwhile(
    serve: Callable[..., subprocess.Popen[str]], free_port: int, folder: Path, tmp_path: Path, run: Run
) -> None:
    process = serve("--port", str(free_port), "--images", folder)
    assert process.stdout is not None
    address = f"http://127.0.0.1:{free_port}"
    assert process.stdout.readline() == f"PIMS: {address}/   API documentation: {address}/docs\n"
    assert wait_for(f"{address}/info", process) == 200
    while "imported, " not in (line := process.stdout.readline()):
        assert line
    assert len(uploads(tmp_path)) == 2

    second = run("serve", "--port", str(free_port))
    assert second.returncode == 2
    assert f"port {free_port}: Address already in use" in second.stderr
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_runs_beside_the_server_ends_with_it(
    serve: Callable[..., subprocess.Popen[str]],
    free_port: int,
    toys: Any,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    (tmp_path / "loop.toy").write_bytes(toys.Toy(behaviour="loop").as_bytes())
    process = serve("--port", str(free_port), "--images", "loop.toy")
    assert process.stdout is not None and process.stderr is not None
    while "checking" not in process.stdout.readline():
        assert process.poll() is None
    wait_for(f"http://127.0.0.1:{free_port}/info", process)
    process.send_signal(number)
    if number is not signal.SIGKILL:
        # The pipes end when the last process that holds them has.
        assert "Traceback" not in process.stderr.read()
        process.wait(20)
    deadline = time.monotonic() + 10
    while list((tmp_path / "root" / ".pending").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert uploads(tmp_path) == []


def test_main_is_the_server(serve: Callable[..., subprocess.Popen[str]], free_port: int) -> None:
    process = serve("--port", str(free_port), module="pims.main")
    assert wait_for(f"http://127.0.0.1:{free_port}/info", process) == 200


def test_uploads_are_checked_and_repaired(call: Run, run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("import", folder).returncode == 0
    root = tmp_path / "root"
    done = call("check", root, "--digests")
    assert (done.returncode, done.stdout) == (0, f"{root}: 2 uploads\neverything is in order\n")

    # Made again, a manifest knows no other name than that on the disk: the one without a space.
    first, second = sorted(uploads(tmp_path), key=lambda upload: (upload / "a.toy").exists())
    (first / "processed" / "histogram").write_bytes(b"noise")
    (second / "processed" / "manifest.json").unlink()
    for done in (call("check", root), call("check")):
        assert done.returncode == 1
        wrong = [line for line in done.stdout.splitlines() if line.startswith("WRONG: ")]
        assert len(wrong) == 2
        assert any(f"{first.name}: the histogram is not usable" in line for line in wrong)
        assert any(f"{second.name}: has no manifest" in line for line in wrong)
        assert all("pims check --repair" in line for line in wrong)

    done = call("check", root, "--repair")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("repaired: upload-") == 2
    assert call("check", root, "--digests").returncode == 0
    assert run("import", folder).stdout.splitlines()[-1] == "0 imported, 2 skipped, 0 failed"


def test_what_can_not_be_repaired_stays_wrong(call: Run, run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("import", folder / "b é.toy").returncode == 0
    (upload,) = uploads(tmp_path)
    (original,) = upload.glob("*.toy")
    os.truncate(original, 50)
    done = call("check", tmp_path / "root", "--repair")
    assert done.returncode == 1
    assert "the original has 50 bytes" in done.stdout
    assert "import the image again" in done.stdout
    assert original.stat().st_size == 50


UNTRUSTED = """
import json
from functools import cached_property
from pims_plugin_format_toy import Toy, ToyChecker, ToyFormat, ToyReader

class UntrustedChecker(ToyChecker):
    signatures = (b"TOY3",)

class UntrustedReader(ToyReader):
    trusted = False

class UntrustedFormat(ToyFormat):
    checker_class, reader_class = UntrustedChecker, UntrustedReader

    @cached_property
    def _start(self):
        line, _, _ = self.source.pread(0, min(4096, self.source.size)).partition(b"\\n")
        return Toy(**json.loads(line.removeprefix(b"TOY3"))), len(line) + 1

FORMATS = (UntrustedFormat,)
"""


@pytest.mark.parametrize("arguments", [(), ("--repair",)])
def test_what_one_upload_does_to_its_reader_keeps_no_other_from_being_checked_and_repaired(
    run: Run, tmp_path: Path, environment: dict[str, str], toys: Any, arguments: tuple[str, ...]
) -> None:
    plugin = tmp_path / "plugins" / "pims_plugin_format_untrusted"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(UNTRUSTED)
    path = os.pathsep.join([str(plugin.parent), environment["PYTHONPATH"]])

    def content(name: str, behaviour: str) -> bytes:
        where, magic = name.partition("-")[0], b"TOY3" if "dies" in name else b"TOY1"
        return magic + bytes(toys.Toy(behaviour=behaviour, where=where).as_bytes()[4:])

    behaviours = {
        "metadata-dies": "segfault",
        "tile-dies": "segfault",
        "metadata-raises": "bug",
        "tile-raises": "bug",
        "tile-good": "none",
    }
    for name, behaviour in behaviours.items():
        (tmp_path / name).write_bytes(content(name, "x" * len(behaviour)))
    assert run("import", *(tmp_path / name for name in behaviours), PYTHONPATH=path).returncode == 0
    names = {}
    for upload in uploads(tmp_path):
        (original,) = (file for file in upload.iterdir() if file.is_file())
        names[original.name] = upload.name
        original.write_bytes(content(original.name, behaviours[original.name]))
        (upload / "processed" / "histogram").write_bytes(b"noise")

    done = run("check", tmp_path / "root", *arguments, PYTHONPATH=path)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("WRONG: ")]

    def told(name: str) -> str:
        return " ".join(line for line in lines if names[name] in line)

    assert "the image can't be opened: The decoder stopped (signal 11)" in told("metadata-dies")
    assert "the image can't be opened: unexpected error (KeyError: 'colour')" in told("metadata-raises")
    assert all("the histogram is not usable" in told(name) for name in behaviours if "good" not in name)
    if arguments:
        assert "can't be repaired: The decoder stopped (signal 11)" in told("tile-dies")
        assert "can't be repaired: unexpected error (KeyError: 'colour')" in told("tile-raises")
        assert told("tile-good") == ""
        assert f"repaired: {names['tile-good']}" in done.stdout


def test_a_folder_to_check_that_is_not_there_is_wrong_usage(call: Run, tmp_path: Path) -> None:
    done = call("check", tmp_path / "missing")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr
