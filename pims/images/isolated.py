"""Readers in processes of their own, for formats that are not trusted or not thread-safe.

An opened image of such a format has a helper process, which opens the file again and reads for us. What
crosses the border are JSON lines of bounded length and pixels whose shape and type we know beforehand:
nothing a helper says is executed, and nothing it does (abort, hang, eat memory) reaches the server. A read
has a deadline; a helper that misses it, crashes or grows is ended, and the next read gets a new one. Reads
of one image take turns, and what does not get its turn soon is refused: one image that hangs must not hold
all threads of the server.

A process takes a fraction of a second to start and 100 MB: few live at a time. The one that was used
longest ago ends when another image needs one, and comes back when its image is read again. One more, which
has opened nothing yet, stands ready. A helper ends with its image, and the one that stands ready with the
last of them; all end when the server is gone, for their connection to it ends.

Imports don't come here: they run in processes that are as expendable, and read directly.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import inf, prod
from typing import TYPE_CHECKING, Any, TypeVar

from pims.cache.object import cached_property
from pims.errors import CorruptFile, FileError, Overloaded, StorageError, UnsupportedFeature
from pims.formats.abstract import AbstractChecker, AbstractFormat, AbstractParser, AbstractReader, ReadContext
from pims.images.helper_process import HelperLimits, HelperProcess
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier
from pims.model.source import ByteSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Helpers", "IsolatedFormat", "IsolatedParser", "IsolatedReader", "needs_isolation"]

T = TypeVar("T")

MAX_ASSOCIATED_SAMPLES = 1 << 28
MAX_SIDE = 1 << 31
MAX_LOSSES = 3
"""Helpers an image may lose one after the other; it is then left alone for some time ..."""
PAUSE_SECONDS = 60.0
"""... of so many seconds: otherwise a file that hangs its reader would keep all threads waiting."""


def needs_isolation(fmt: type[AbstractFormat]) -> bool:
    """Whether images of that format may not be read in the server."""
    return not (fmt.reader_class.thread_safe and fmt.reader_class.trusted)


class Helpers:
    """The helper processes of a server. Any thread may use it."""

    def __init__(self, limits: HelperLimits | None = None) -> None:
        self.limits = limits or HelperLimits()
        self._lock = threading.Lock()
        self._readers: set[IsolatedReader] = set()
        self._used: OrderedDict[IsolatedReader, None] = OrderedDict()
        """Readers that have a process, the one used longest ago first."""
        self._ready: HelperProcess | None = None

    def enter(self, reader: IsolatedReader) -> None:
        """A reader was opened."""
        with self._lock:
            self._readers.add(reader)

    def leave(self, reader: IsolatedReader) -> None:
        """A reader was closed, and its process ended. The last one ends the process that stands ready."""
        ready = None
        with self._lock:
            self._readers.discard(reader)
            self._used.pop(reader, None)
            if not self._readers:
                ready, self._ready = self._ready, None
        if ready is not None:
            ready.end()

    def take(self, reader: IsolatedReader) -> HelperProcess:
        """A process for a reader, whose lock is held by the caller. Raises StorageError."""
        with self._lock:
            others = [other for other in self._used if other is not reader]
        excess = len(others) + 1 - self.limits.processes
        for other in others:
            if excess > 0 and other.rest():
                excess -= 1
        with self._lock:
            ready, self._ready = self._ready, None
            self._used[reader] = None
            self._used.move_to_end(reader)
        try:
            return _usable(ready) or HelperProcess(self.limits)
        except BaseException:
            self.forget(reader)
            raise

    def touch(self, reader: IsolatedReader) -> None:
        """A reader used its process; another is made ready if there is none."""
        with self._lock:
            if reader in self._used:
                self._used.move_to_end(reader)
            if self.limits.standby and self._ready is None and self._readers:
                with suppress(StorageError):  # the one who needs it will say so
                    self._ready = HelperProcess(self.limits)

    def forget(self, reader: IsolatedReader) -> None:
        """A reader's process ended."""
        with self._lock:
            self._used.pop(reader, None)


class IsolatedParser(AbstractParser):
    """Passes on what the helper found in the file."""

    format: IsolatedFormat

    def parse_main_metadata(self) -> ImageMetadata:
        return self._metadata("main")

    def parse_known_metadata(self) -> ImageMetadata:
        return self._metadata("full")

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        raw = self.format.reader.read_raw_metadata().get("raw")
        if not isinstance(raw, dict):
            raise CorruptFile("The reader of this format gives no metadata.")
        return raw

    def parse_pyramid(self) -> Pyramid:
        sizes = self.format.facts.get("tiers")
        if not isinstance(sizes, list) or not sizes or not all(map(_is_size, sizes)):
            raise CorruptFile("The reader of this format gives no valid pyramid.")
        return Pyramid.of((size[0], size[1], size[2], size[3]) for size in sizes)

    def _metadata(self, name: str) -> ImageMetadata:
        try:
            return ImageMetadata.from_dict(self.format.facts[name])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"The reader of this format gives no valid metadata: {error}") from error


class IsolatedReader(AbstractReader):
    """Has a helper read. Any thread may call it; one read of an image runs at a time."""

    format: IsolatedFormat

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        super().__init__(format)
        self._lock = threading.Lock()
        self._helper: HelperProcess | None = None
        self._facts: dict[str, Any] = {}
        self._closed = False
        self._began = inf
        """When the read that holds the lock began; never, when none does."""
        self._losses = 0
        self._paused_until = 0.0
        self.format.helpers.enter(self)

    @property
    def process_id(self) -> int | None:
        """The helper's process id, when there is one."""
        helper = self._helper
        return None if helper is None else helper.pid

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        main = self.format.main_imd
        shape = (-(-region.height // reduction), -(-region.width // reduction), main.n_samples)
        asked = {
            "level": tier.level,
            "region": (region.left, region.top, region.width, region.height),
            "plane": (plane.c, plane.z, plane.t),
            "reduction": reduction,
        }

        def pixels(helper: HelperProcess, answer: dict[str, Any]) -> NDArray[Any]:
            if answer.get("shape") != list(shape) or answer.get("dtype") != main.pixel_type:
                raise CorruptFile("The reader of this format gives other pixels than it promised.")
            return helper.pixels(shape, main.pixel_type)

        return self._ask("region", asked, pixels)

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._ask("label", (out_width, out_height), _associated)

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._ask("macro", (out_width, out_height), _associated)

    def read_thumbnail(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._ask("thumbnail", (out_width, out_height), _associated)

    def read_facts(self) -> dict[str, Any]:
        """What is known of the image once it is open, by name. Raises FileError, StorageError, Overloaded."""
        with self._reading():
            return self._facts

    def read_raw_metadata(self) -> dict[str, Any]:
        """Raises FileError, StorageError, Overloaded."""
        return self._ask("raw", None, lambda _, answer: answer)

    def read_need_conversion(self) -> bool:
        """Raises FileError, StorageError, Overloaded."""
        return self._ask("conversion", None, lambda _, answer: answer.get("needed") is True)

    def rest(self) -> bool:
        """Give the process up for another reader's; false when it is being used."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._end()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._end()
        self.format.helpers.leave(self)

    def _ask(self, name: str, value: object, take: Callable[[HelperProcess, dict[str, Any]], T]) -> T:
        """What `take` makes of the helper's answer. Raises FileError, StorageError, Overloaded."""
        with self._reading() as helper:
            return take(helper, helper.ask({name: value}))

    @contextmanager
    def _reading(self) -> Iterator[HelperProcess]:
        """The helper with the image open, for one request. Raises FileError, StorageError, Overloaded."""
        self._take_turn()
        try:
            self._began = time.monotonic()
            self._require_usable()
            helper = self._helper
            if helper is None or not helper.is_alive():
                helper = self._open()
            try:
                yield helper
            except FileError:
                if not helper.is_alive():
                    self._lose()
                raise
            self._losses = 0
            if helper.is_worn:
                self._end()
            self.format.helpers.touch(self)
        finally:
            self._began = inf
            self._lock.release()

    def _take_turn(self) -> None:
        """Take the lock. Raises Overloaded.

        The time counts from when this came and from when the read before it began: of many that come while
        one hangs, none waits after the first seconds.
        """
        patience = self.format.helpers.limits.turn_seconds
        last = time.monotonic() + patience
        while not self._lock.acquire(
            timeout=max(0.0, left := min(last, self._began + patience) - time.monotonic())
        ):
            if left <= 0:
                raise Overloaded("The image is being read by others; ask again in a moment.")

    def _require_usable(self) -> None:
        if self._closed:
            raise StorageError("The image was closed.")
        if time.monotonic() < self._paused_until:
            raise CorruptFile(
                f"Reading this image failed {MAX_LOSSES} times; it is tried again in a minute. "
                "The file may be damaged."
            )

    def _open(self) -> HelperProcess:
        """A new helper that has opened the image. The lock is held."""
        self._end()
        helper = self._helper = self.format.helpers.take(self)
        try:
            self._facts = helper.ask({"open": self.format.opening})
        except FileError:
            if not helper.is_alive():
                self._lose()
            self._end()
            raise
        except BaseException:
            self._end()
            raise
        return helper

    def _lose(self) -> None:
        """The helper did not survive the file. The lock is held."""
        self._end()
        self._losses += 1
        if self._losses >= MAX_LOSSES:
            self._losses = 0
            self._paused_until = time.monotonic() + PAUSE_SECONDS

    def _end(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()
            self.format.helpers.forget(self)


class IsolatedFormat(AbstractFormat):
    """An opened image of a format whose reader runs elsewhere.

    Parameters
    ----------
    isolated : that format; nothing of it but its names is used in this process
    """

    checker_class = AbstractChecker
    parser_class = IsolatedParser
    reader_class = IsolatedReader
    reader: IsolatedReader

    def __init__(
        self,
        isolated: type[AbstractFormat],
        source: ByteSource,
        helpers: Helpers,
        *,
        series: int = 0,
        context: ReadContext | None = None,
    ) -> None:
        """Raises UnsupportedFeature for a source that is no file."""
        if source.path is None:
            raise UnsupportedFeature(f"{isolated.get_identifier()} can only be read from a file.")
        self.helpers = helpers
        self._isolated = isolated
        super().__init__(source, series=series, context=context)

    @property
    def opening(self) -> dict[str, Any]:
        """What a helper needs to open the image."""
        return {
            "module": self._isolated.__module__,
            "class": self._isolated.__name__,
            "path": str(self.source.path),
            "revision": self.source.revision,
            "series": self.series,
            "limits": asdict(self.context.limits),
        }

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Metadata and tiers, as the helper says. Raises FileError, StorageError, Overloaded."""
        return self.reader.read_facts()

    @cached_property
    def need_conversion(self) -> bool:
        """As that format says. Raises FileError, StorageError, Overloaded."""
        return self.reader.read_need_conversion()

    def get_cached(self, key: str, compute: Callable[[], T]) -> T:
        """The value under `key`. Those who ask first at the same time may each compute it.

        A lock around it would hold them all up when the helper hangs; they take turns at the reader.
        """
        try:
            value: T = self._cache[key]
        except KeyError:
            value = self._cache.setdefault(key, compute())
        return value


def _usable(ready: HelperProcess | None) -> HelperProcess | None:
    """A process that stood ready, if it can be asked something; ended otherwise."""
    alive = False
    try:
        alive = ready is not None and ready.is_alive()
    finally:
        if ready is not None and not alive:
            ready.end()
    return ready if alive else None


def _associated(helper: HelperProcess, answer: dict[str, Any]) -> NDArray[Any] | None:
    shape, dtype = answer.get("shape"), answer.get("dtype")
    if shape is None:
        return None
    is_shape = (
        isinstance(shape, list) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)
    )
    if not is_shape or prod(shape) > MAX_ASSOCIATED_SAMPLES or dtype not in ("uint8", "uint16"):
        raise CorruptFile("The reader of this format gives an associated image that is none.")
    return helper.pixels((shape[0], shape[1], shape[2]), dtype)


def _is_size(size: object) -> bool:
    """Whether these are width, height, tile width and tile height."""
    return (
        isinstance(size, list) and len(size) == 4 and all(type(n) is int and 0 < n <= MAX_SIDE for n in size)
    )
