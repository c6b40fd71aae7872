"""Readers in other processes: the pixels are the same, and whatever happens there, the next read works."""

from __future__ import annotations

import errno
import importlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pims.composition import Composition
from pims.errors import CorruptFile, LimitExceeded, Overloaded, StorageError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, Tile
from pims.images.helper_process import HelperLimits, HelperProcess
from pims.images.isolated import Helpers, IsolatedFormat, needs_isolation
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE, Plane
from pims.settings import Settings

TOY = """
import os, time
import numpy as np
from pims.errors import UnsupportedFeature
from pims.formats.abstract import AbstractChecker, AbstractFormat, AbstractParser, AbstractReader
from pims.model.metadata import ImageMetadata
from pims.model.pyramid import Pyramid

WIDTH, HEIGHT = 90, 70

class ToyChecker(AbstractChecker):
    @classmethod
    def match(cls, probe):
        return True

class ToyParser(AbstractParser):
    def parse_main_metadata(self):
        if self.format.source.pread(0, 3) == b"bad":
            raise UnsupportedFeature("a toy that is bad")
        if self.format.source.pread(0, 3) == b"die":
            os.abort()
        if self.format.source.pread(0, 3) == b"zzz":
            time.sleep(600)
        return ImageMetadata(WIDTH, HEIGHT, "uint16", 12, 1, depth=8)
    def parse_raw_metadata(self):
        return {"ENV." + name: value for name, value in os.environ.items()}
    def parse_pyramid(self):
        return Pyramid.of([(WIDTH, HEIGHT, 32, 32), (45, 35, 32, 32)])

class ToyReader(AbstractReader):
    trusted = False
    def read_region(self, tier, region, plane, reduction=1):
        if plane.z == 1:
            os.abort()
        if plane.z == 2:
            time.sleep(600)
        if plane.z == 3:
            held = [np.ones(1 << 26, np.uint8) for _ in range(1000)]
        if plane.z == 4:
            raise ZeroDivisionError("a toy")
        if plane.z == 5:
            return np.zeros((1, 1, 1), np.uint16)
        if plane.z == 6:
            os._exit(3)
        if plane.z == 7:
            while True: pass
        rows = np.arange(region.top, region.bottom, reduction)[:, None, None]
        columns = np.arange(region.left, region.right, reduction)[None, :, None]
        return (rows * 100 + columns + 10000 * tier.level).astype(np.uint16)
    def read_macro(self, out_width, out_height):
        return np.full((out_height, out_width, 3), 7, np.uint8)

class ToyFormat(AbstractFormat):
    checker_class, parser_class, reader_class = ToyChecker, ToyParser, ToyReader
"""
ABORT, HANG, EAT, RAISE, LIE, EXIT, SPIN = range(1, 8)
"""Focal planes of the toy."""
TRACER = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
PTRACE_SEIZE = 0x4206
print(libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None), flush=True)
time.sleep(60)
"""
"""What a process waits for that traces another one: until then, nobody else sees that one's end."""

Opening = Callable[..., IsolatedFormat]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[AbstractFormat]]:
    """A format whose helper processes find it as they find a plug-in."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_format.py").write_text(TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("PIMS_SECRET", "not for decoders")
        yield importlib.import_module("toy_format").ToyFormat
    del sys.modules["toy_format"]


@pytest.fixture
def opening(tmp_path: Path, toy: type[AbstractFormat]) -> Iterator[Opening]:
    """`opening(content, limits)`: an isolated toy; images of the same limits share their helpers."""
    sources: list[LocalSource] = []
    images: list[IsolatedFormat] = []
    shared: dict[HelperLimits, Helpers] = {}

    def run(
        content: bytes = b"toy", limits: HelperLimits | None = None, *, standby: bool = False
    ) -> IsolatedFormat:
        path = tmp_path / f"{len(sources)}.toy"
        path.write_bytes(content)
        sources.append(LocalSource(path))
        limits = replace(limits or HelperLimits(), standby=standby)
        helpers = shared.setdefault(limits, Helpers(limits))
        images.append(IsolatedFormat(toy, sources[-1], helpers))
        return images[-1]

    before = open_files()
    yield run
    for image in images:
        image.close()
    for source in sources:
        source.close()
    assert children() == []
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> list[int]:
    """Helper processes of this process that are there, even as zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and "isolated_process" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return sorted(found)


def read(image: AbstractFormat, z: int = 0, region: Region | None = None) -> NDArray[Any]:
    base = image.pyramid.base
    return image.reader.read_region(base, region or base.region, Plane(0, z, 0))


def check_next_read(image: IsolatedFormat) -> None:
    assert read(image)[3, 2, 0] == 302


def test_only_formats_that_are_not_trusted_or_not_thread_safe_are_isolated(toy: type[AbstractFormat]) -> None:
    from pims.formats.common import FORMATS

    assert needs_isolation(toy)
    assert not any(map(needs_isolation, FORMATS))


def test_pixels_and_metadata_are_those_of_the_format(opening: Opening, toy: type[AbstractFormat]) -> None:
    image = opening()
    random = np.random.default_rng(1)
    direct = toy(image.source)
    assert image.main_imd == direct.main_imd and image.full_imd == direct.full_imd
    assert image.pyramid == direct.pyramid
    for tier in image.pyramid.tiers:
        for reduction in (1, 2, 4, 8):
            left, top = (int(random.integers(0, 3)) * 8 for _ in range(2))
            region = Region(left, top, tier.width - left, tier.height - top)
            ours = image.reader.read_region(tier, region, FIRST_PLANE, reduction)
            there = direct.reader.read_region(tier, region, FIRST_PLANE, reduction)
            assert np.array_equal(ours, there) and ours.flags.c_contiguous and ours.flags.writeable
    assert np.array_equal(
        image.reader.read_tile(Tile(image.pyramid.base, 2, 2)),
        direct.reader.read_tile(Tile(direct.pyramid.base, 2, 2)),
    )
    window = Region(1, 2, 40, 30), 20, 15
    assert np.array_equal(image.reader.read_window(*window), direct.reader.read_window(*window))
    macro = image.reader.read_macro(9, 5)
    assert macro is not None and macro.shape == (5, 9, 3) and (macro == 7).all()
    assert image.reader.read_label(9, 5) is None


def test_what_the_format_refuses_is_refused_in_its_words(opening: Opening) -> None:
    image = opening(b"bad")
    with pytest.raises(UnsupportedFeature, match=r"^a toy that is bad$"):
        _ = image.main_imd


def test_a_format_that_dies_of_a_file_is_an_error_of_that_file(opening: Opening) -> None:
    image = opening(b"die")
    with pytest.raises(CorruptFile, match="signal 6"):
        _ = image.main_imd


@pytest.mark.parametrize(("plane", "reason"), [(ABORT, "signal 6"), (EXIT, "exit code 3")])
def test_a_reader_that_dies_takes_nobody_along(opening: Opening, plane: int, reason: str) -> None:
    image = opening()
    check_next_read(image)
    first = image.reader.process_id
    with pytest.raises(CorruptFile, match=reason):
        read(image, plane)
    check_next_read(image)
    assert image.reader.process_id != first


@pytest.mark.parametrize("plane", [HANG, SPIN])
def test_a_reader_that_hangs_is_ended(opening: Opening, plane: int) -> None:
    image = opening(limits=HelperLimits(seconds=0.5))
    check_next_read(image)
    start = time.monotonic()
    with pytest.raises(CorruptFile, match=r"longer than 0\.5 s"):
        read(image, plane)
    assert time.monotonic() - start < 2
    check_next_read(image)


def test_a_reader_that_is_killed_while_it_reads_is_replaced(opening: Opening) -> None:
    image = opening()
    check_next_read(image)
    pid = image.reader.process_id
    assert pid is not None
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(StorageError, match="ended from outside"):
        read(image, HANG)
    killer.join()
    check_next_read(image)


def test_who_kills_readers_does_not_keep_the_image_from_being_read(opening: Opening) -> None:
    image = opening()
    for _ in range(4):
        check_next_read(image)
        pid = image.reader.process_id
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # it reads nothing any more, so it ends while it is asked
        killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(StorageError, match="ended from outside"):
            read(image)
        killer.join()
    check_next_read(image)


def test_a_reader_that_is_killed_between_reads_is_not_noticed(opening: Opening) -> None:
    image = opening()
    check_next_read(image)
    pid = image.reader.process_id
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    check_next_read(image)
    assert image.reader.process_id not in (None, pid)


def test_a_stopped_process_is_one_that_hangs(opening: Opening) -> None:
    image = opening(limits=HelperLimits(seconds=0.5))
    check_next_read(image)
    pid = image.reader.process_id
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CorruptFile, match="longer than"):
        read(image)
    check_next_read(image)


def test_a_reader_can_not_have_all_memory(opening: Opening) -> None:
    image = opening(limits=HelperLimits(memory_bytes=640 << 20))
    with pytest.raises(LimitExceeded, match="memory"):
        read(image, EAT)
    check_next_read(image)


def test_foreign_errors_and_lies_become_ours(opening: Opening) -> None:
    image = opening()
    check_next_read(image)
    pid = image.reader.process_id
    with pytest.raises(CorruptFile, match="ZeroDivisionError: a toy"):
        read(image, RAISE)
    with pytest.raises(CorruptFile, match="other pixels"):
        read(image, LIE)
    check_next_read(image)
    assert image.reader.process_id == pid


def test_an_image_that_kills_all_its_readers_is_left_alone(opening: Opening) -> None:
    image = opening()
    for _ in range(3):
        with pytest.raises(CorruptFile, match="signal 6"):
            read(image, ABORT)
    start = time.monotonic()
    with pytest.raises(CorruptFile, match="failed 3 times"):
        read(image)
    assert time.monotonic() - start < 0.1


def test_few_processes_live_at_a_time(opening: Opening) -> None:
    limits = HelperLimits(processes=2)
    images = [opening(limits=limits) for _ in range(4)]
    for image in [*images, *images]:
        check_next_read(image)
        assert len(children()) <= 2
    assert [image.reader.process_id is not None for image in images] == [False, False, True, True]


def test_one_process_stands_ready_for_the_next_image(opening: Opening) -> None:
    first = opening(standby=True)
    check_next_read(first)
    (ready,) = set(children()) - {first.reader.process_id}
    second = opening(standby=True)
    check_next_read(second)
    assert second.reader.process_id == ready
    assert len(children()) == 3
    first.close()
    assert len(children()) == 2
    second.close()
    assert children() == []


def test_a_process_that_read_often_or_grew_is_replaced(opening: Opening) -> None:
    for limits in (HelperLimits(reads=2), HelperLimits(resident_bytes=1 << 20)):
        image = opening(limits=limits)
        pids = set()
        for _ in range(2):
            check_next_read(image)
            pids.add(image.reader.process_id)
        assert pids == {None}


def test_threads_read_one_after_the_other(opening: Opening) -> None:
    image = opening()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda top: read(image, region=Region(0, top, 5, 5)), range(40)))
    assert [pixels[0, 0, 0] for pixels in found] == [100 * top for top in range(40)]


@pytest.mark.parametrize("content", [b"toy", b"zzz"])
def test_an_image_that_hangs_leaves_threads_to_others(opening: Opening, content: bytes) -> None:
    image = opening(content)
    if content == b"toy":
        check_next_read(image)

    def hang() -> None:
        read(image, HANG)

    with ThreadPoolExecutor(2) as threads:
        hanging = [threads.submit(hang) for _ in range(6)]
        try:
            start = time.monotonic()
            assert threads.submit(int, "7").result(5) == 7
            assert time.monotonic() - start < 4
        finally:
            for future in hanging:
                future.cancel()
            end_reader(image)
    errors = [_error(future) for future in hanging]
    assert sorted(type(error).__name__ for error in errors) == [*["Overloaded"] * 5, "StorageError"]
    assert all("in a moment" in str(error) for error in errors if isinstance(error, Overloaded))


def _error(future: Future[None]) -> BaseException | None:
    assert not future.cancelled()
    return future.exception()


def end_reader(image: IsolatedFormat) -> None:
    """From outside, as long as there is one."""
    pid = image.reader.process_id
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_read_waits_for_those_before_it_as_long_as_they_go_on(opening: Opening) -> None:
    image = opening(limits=HelperLimits(turn_seconds=1))
    check_next_read(image)
    with ThreadPoolExecutor(4) as threads:
        until = time.monotonic() + 2
        reads = 0
        while time.monotonic() < until:
            reads += len([None for _ in threads.map(lambda _: check_next_read(image), range(8))])
    assert reads >= 16


def test_many_open_files_do_not_keep_images_from_being_read(opening: Opening) -> None:
    with many_open_files():
        first, second = opening(standby=True), opening(standby=True)
        for image in (first, second, first, second):
            check_next_read(image)
        pids = {first.reader.process_id, second.reader.process_id}
        assert len(pids) == 2 and pids < set(children())
        first.close()
        second.close()


@contextmanager
def many_open_files() -> Iterator[None]:
    """The next files get descriptors above 1023. Skips where that many are not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 1400
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this needs {needed} open files; {hard} are allowed")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    opened = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while opened[-1] < 1100:
            opened.append(os.dup(opened[0]))
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_can_not_be_checked_is_ended(opening: Opening) -> None:
    first, second = opening(standby=True), opening(standby=True)
    check_next_read(first)
    assert len(children()) == 2

    def fail(_: HelperProcess) -> bool:
        raise OSError(errno.ENOMEM, "no memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HelperProcess, "is_alive", fail)
        with pytest.raises(OSError, match="no memory"):
            read(second)
    assert children() == [first.reader.process_id]
    check_next_read(second)


def test_closing_does_not_wait_for_a_process_that_can_not_end(opening: Opening) -> None:
    image = opening()
    check_next_read(image)
    pid = image.reader.process_id
    command = [sys.executable, "-c", TRACER, str(pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stdout is not None
            if int(tracer.stdout.readline()) != 0:
                pytest.skip("no process may be traced here")
            guard = threading.Timer(10, tracer.kill)
            guard.start()
            start = time.monotonic()
            image.close()
            taken = time.monotonic() - start
            guard.cancel()
            guard.join()
            assert taken < 5
            assert Path(f"/proc/{pid}").is_dir()
        finally:
            tracer.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").is_dir() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").is_dir()


def test_settings_say_what_helpers_may_use(tmp_path: Path) -> None:
    environment = {"HELPER_PROCESSES": "2", "HELPER_MEMORY": str(2 << 30)}
    with closing(Composition(Settings.load(environment, root=tmp_path))) as made:
        limits = made.opener.helpers.limits
    assert (limits.processes, limits.memory_bytes) == (2, 2 << 30)


def test_defaults_of_settings_are_those_of_helpers(tmp_path: Path) -> None:
    with closing(Composition(Settings.load({}, root=tmp_path))) as made:
        assert made.opener.helpers.limits == HelperLimits()


def test_a_file_that_was_replaced_is_not_read_instead(opening: Opening) -> None:
    image = opening()
    path = image.source.path
    assert path is not None
    path.unlink()
    path.write_bytes(b"another")
    with pytest.raises(StorageError, match="replaced"):
        read(image)


def test_a_closed_image_has_no_process_and_reads_nothing(opening: Opening) -> None:
    image = opening()
    tier = image.pyramid.base
    image.close()
    assert children() == []
    with pytest.raises(StorageError, match="closed"):
        image.reader.read_region(tier, tier.region, FIRST_PLANE)


def test_readers_know_no_secrets(opening: Opening) -> None:
    raw = opening().raw_metadata
    assert "ENV.PATH" in raw and not any("SECRET" in name for name in raw)


def test_helpers_end_with_a_server_that_is_killed(tmp_path: Path, toy: type[AbstractFormat]) -> None:
    (tmp_path / "a.toy").write_bytes(b"toy")
    code = (
        "import sys, time; from pathlib import Path; from pims.files.source import LocalSource;"
        "from pims.images.isolated import Helpers, IsolatedFormat; from toy_format import ToyFormat;"
        "image = IsolatedFormat(ToyFormat, LocalSource(Path(sys.argv[1])), Helpers());"
        "image.main_imd; print(image.reader.process_id, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.toy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert Path(f"/proc/{pid}").is_dir()
        server.kill()
    deadline = time.monotonic() + 5
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
