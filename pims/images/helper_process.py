"""A process that reads images for this one: started, asked, and ended whatever it does.

What it says are JSON lines of bounded length; pixels come through memory that both have, whose content is
copied by the kernel. Nothing of it is executed or believed: see `pims/images/isolated.py`.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pims.errors import CorruptFile, LimitExceeded, StorageError, UnsupportedFeature

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HelperLimits", "HelperProcess"]

MODULE = "pims.images.isolated_process"
MAX_LINE = 1 << 24
"""Bytes of an answer: metadata are the longest."""
MAX_SENTENCE = 1000
START_SECONDS = 60.0
"""For Python to start on a machine that is busy."""
ENDING_SECONDS = 1.0
"""For a process to end: by itself, to tell why, when it closed its connection; otherwise killed."""
KEPT_VARIABLES = re.compile(
    "HOME|LANG|LANGUAGE|LC_.*|LD_LIBRARY_PATH|MALLOC_.*|PATH|PYTHON.*|TMPDIR|TZ|VIRTUAL_ENV"
)
"""Of the environment, what Python and libraries need. What decodes hostile files shall know no secret."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
ERRORS = {error.__name__: error for error in (CorruptFile, LimitExceeded, StorageError, UnsupportedFeature)}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class HelperLimits:
    """What helper processes may use of the machine."""

    processes: int = 4
    """That have an image open at a time; beyond it only those that are reading at that moment."""
    memory_bytes: int = 3 << 30
    """Address space of one; numpy and OpenCV take 0.8 GiB of it to load."""
    resident_bytes: int = 1 << 30
    """Memory in use after a read beyond which it is replaced."""
    seconds: float = 10.0
    """For one read, and for opening an image."""
    turn_seconds: float = 2.0
    """A read may wait for others of its image; nobody waits for one that takes longer than that already."""
    standby: bool = True
    """Whether one more is started in advance while images are open."""
    reads: int = 10_000
    """After so many it is replaced: what leaks does not add up."""


class HelperProcess:
    """One process and what connects us to it. One thread uses it at a time; `end` it."""

    def __init__(self, limits: HelperLimits) -> None:
        """Start it, without waiting until it is ready. Raises StorageError."""
        self._limits = limits
        self._buffer = b""
        self._ready = False
        self._reads = 0
        try:
            self._pixels = _anonymous_file()
        except OSError as error:
            raise StorageError(f"No process can be started to read the image: {error.strerror}") from error
        try:
            self._socket, self._process = _start(self._pixels, limits)
        except OSError as error:
            os.close(self._pixels)
            raise StorageError(f"No process can be started to read the image: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can be asked something, as far as one can tell."""
        if self._pixels < 0 or self._buffer or self._process.poll() is not None:
            return False
        # Before a request it says nothing but that it is ready; after that, there is something to read at
        # the end of its connection only.
        if not self._ready:
            return True
        heard = select.poll()  # `select` takes no descriptor above 1023, and servers have many images open
        heard.register(self._socket, select.POLLIN)
        return not heard.poll(0)

    @property
    def is_worn(self) -> bool:
        """Whether it is to be replaced."""
        if self._reads >= self._limits.reads:
            return True
        try:
            resident = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, ValueError, IndexError):
            return False
        return resident > self._limits.resident_bytes

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer.

        Raises what it answered with: FileError, StorageError. Raises CorruptFile when it was too slow,
        crashed or spoke nonsense, and StorageError when somebody else ended it; it is then ended.
        """
        self._reads += 1
        try:
            if not self._ready:
                self._line(time.monotonic() + START_SECONDS)
                self._ready = True
            deadline = time.monotonic() + self._limits.seconds
            self._socket.settimeout(self._limits.seconds)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line(deadline))
            if not isinstance(answer, dict):
                raise ValueError("no object")
        except TimeoutError as error:
            self.end()
            raise CorruptFile(
                f"Reading took longer than {self._limits.seconds:g} s and was ended; the file may be damaged."
            ) from error
        except (OSError, EOFError) as error:
            raise self._why_ended() from error
        except (ValueError, RecursionError) as error:
            self.end()
            raise CorruptFile("The process that reads the image gave no valid answer.") from error
        if "error" in answer:
            kind = ERRORS.get(str(answer["error"]), CorruptFile)
            raise kind(str(answer.get("message"))[:MAX_SENTENCE])
        return answer

    def pixels(self, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
        """A copy of the pixels of its last answer. Raises CorruptFile when there are fewer, LimitExceeded."""
        import numpy as np

        try:
            array = np.empty(shape, dtype)
        except MemoryError as error:
            raise LimitExceeded("There is not enough memory to read so large a part of the image.") from error
        view, done = array.data.cast("B"), 0
        while done < array.nbytes:
            # Read, not mapped: memory that shrinks under a mapping would kill this process.
            count = os.preadv(self._pixels, [view[done:]], done)
            if not count:
                raise CorruptFile("The process that reads the image gave fewer pixels than asked.")
            done += count
        return array

    def end(self) -> None:
        """End the process, and wait a second for it to be gone. Any number of times."""
        if self._pixels < 0:
            return
        self._socket.close()
        os.close(self._pixels)
        self._pixels = -1
        self._process.kill()  # it holds nothing that would have to be put in order
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            # It is stuck in the kernel, for instance on a network disk, and ends when that answers.
            with suppress(RuntimeError):  # no thread can be started: the standard library looks later
                threading.Thread(target=self._process.wait, name="helper-ending", daemon=True).start()

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE:
                raise ValueError("an endless line")
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _why_ended(self) -> CorruptFile | StorageError:
        """What its end says, as an error."""
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            code = 0
        self.end()
        if code in (-signal.SIGKILL, -signal.SIGTERM):  # no codec does that to itself
            return StorageError("The process that reads the image was ended from outside; try again.")
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        return CorruptFile(
            f"The decoder stopped ({reason}) while it read the image; the file may be damaged."
        )


def _start(pixels: int, limits: HelperLimits) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Raises OSError."""
    ours, theirs = socket.socketpair()
    numbers = theirs.fileno(), pixels, limits.memory_bytes, int(limits.seconds) + 5
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), pixels),
            env={name: value for name, value in os.environ.items() if KEPT_VARIABLES.fullmatch(name)}
            | ONE_THREAD,
            start_new_session=True,  # Ctrl-C reaches only us; we end the others in order
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, process


def _anonymous_file() -> int:
    """A descriptor of memory without a name; of a nameless file where the system can't give that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pims-pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
