"""The commands of the documentation, run in a copy of the repository as a newcomer would run them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]
FRESH = bool(os.environ.get("CI"))
"""Whether the copy gets an environment of its own from `make setup`, or that of the tests."""
SETUP_SECONDS = 600
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    language: str
    text: str


@pytest.fixture(scope="session")
def documents() -> list[Path]:
    """Every page of the documentation."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.fixture(scope="session")
def blocks(documents: list[Path]) -> list[Block]:
    return [
        Block(page.relative_to(REPOSITORY).as_posix(), language, text)
        for page in documents
        for language, text in FENCE.findall(page.read_text("utf-8"))
    ]


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """Of the slide in the folder the documentation speaks of: smooth, every channel its own."""
    y, x = np.mgrid[0:1100, 0:1500]
    return np.stack([x * 255 // 1499, y * 255 // 1099, (x + y) * 255 // 2598], axis=2).astype(np.uint8)


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]) -> Path:
    """A folder with spaces in its path: one slide, and a file that is none."""
    folder = tmp_path_factory.mktemp("documentation") / "my slides"
    folder.mkdir()
    tifffile.imwrite(folder / "one slide.tif", pixels, photometric="rgb", compression="zlib")
    (folder / "notes.txt").write_text("not a slide")
    return folder


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files git knows or would add; with CI set there is nothing else."""
    if shutil.which("git") is None or shutil.which("make") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs git, make and a git checkout")
    copy = tmp_path_factory.mktemp("checkout") / "pims server"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, destination = REPOSITORY / name, copy / name
        if source.is_file():  # a file may have been deleted and not be committed yet
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)
    if not FRESH:
        _lend_environment(copy)
    return copy


def _lend_environment(copy: Path) -> None:
    """The environment of the tests, as if `make setup` had made it there."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests do not run in a virtual environment, and CI is not set")
    (copy / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        (copy / ".venv" / entry.name).symlink_to(entry)
    for stamp in (".runtime", ".development"):
        (copy / ".venv" / stamp).unlink(missing_ok=True)
        (copy / ".venv" / stamp).touch()


@dataclass(frozen=True)
class Place:
    """Where the commands of the documentation are run, and what they find there."""

    checkout: Path
    slides: Path
    port: int
    path: str = ""
    """Of the imported slide, as used in URLs; empty before it is."""

    def localized(self, text: str) -> str:
        """A command with this place's folder, port and image in it."""
        text = text.replace("/path/to/my slides", str(self.slides))
        text = text.replace("127.0.0.1:5000", f"127.0.0.1:{self.port}")
        return re.sub(r"upload-[0-9a-f-]{36}/[\w.-]+", self.path, text) if self.path else text

    def environment(self, **more: str) -> dict[str, str]:
        """As in a new terminal, also when make runs the tests. Another server may run: the port differs."""
        passed = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CACHE_DIR")
        kept = {name: value for name in passed if (value := os.environ.get(name))}
        return {**kept, "PORT": str(self.port), **more}

    def run(self, command: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", self.localized(command)],
            cwd=self.checkout,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def place(checkout: Path, slides: Path) -> Place:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Place(checkout, slides, probe.getsockname()[1])


class RunningServer:
    """`make run ...` in a process group of its own, its output in a file."""

    def __init__(self, place: Place, command: str, log: Path, **environment: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {place.localized(command)}"],
                cwd=place.checkout,
                env=place.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """The first match in what it printed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            text = self._log.read_text("utf-8", "replace")
            if found := re.search(pattern, text):
                return found
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} was not printed within {seconds} s:\n{self._log.read_text()}")

    def stop(self) -> None:
        """As Ctrl-C does: the signal reaches the whole group of the terminal."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise


StartServer = Callable[..., AbstractContextManager[RunningServer]]


@pytest.fixture(scope="session")
def start_server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """Starts what a command of the documentation says; further arguments are environment variables."""

    @contextmanager
    def start(command: str, **environment: str) -> Iterator[RunningServer]:
        server = RunningServer(place, command, tmp_path_factory.mktemp("log") / "log", **environment)
        try:
            yield server
        finally:
            server.stop()

    return start


@pytest.fixture(scope="module")
def served(
    place: Place, blocks: list[Block], start_server: StartServer
) -> Iterator[tuple[Place, re.Match[str]]]:
    """The README's `make run IMAGES=...` running, its slide imported; and the addresses it printed."""
    command = next(block.text for block in blocks if block.text.startswith("make run IMAGES="))
    with start_server(command) as server:
        addresses = r"(?P<page>http://\S+)\s.*documentation: (?P<docs>http://\S+)"
        printed = server.wait_for(addresses, SETUP_SECONDS if FRESH else 30)
        path = server.wait_for(r"one slide\.tif: imported as PLANARTIFF: (\S+)", 60)[1]
        server.wait_for("1 imported, 0 skipped, 1 failed", 60)
        (place.slides / "notes.txt").unlink()  # further imports of the folder succeed
        yield replace(place, path=path), printed
