"""What an import tells while it runs, and what it says at the end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TextIO

__all__ = [
    "EventState",
    "ImportEvent",
    "ImportListener",
    "ImportResult",
    "ImportStatus",
    "ImportStep",
    "StdoutListener",
    "printable",
]


class ImportStep(StrEnum):
    """The steps of an import, in order."""

    EXTRACTING_DATA = "EXTRACTING_DATA"
    DETECTING_FORMAT = "DETECTING_FORMAT"
    CHECKING_INTEGRITY = "CHECKING_INTEGRITY"
    CONVERTING = "CONVERTING"
    WRITING_OVERVIEWS = "WRITING_OVERVIEWS"
    """Only of images whose coarsest stored tier does not fit in one tile."""
    COMPUTING_HISTOGRAM = "COMPUTING_HISTOGRAM"
    DEPLOYING = "DEPLOYING"

    @property
    def words(self) -> str:
        """As it is written in a sentence."""
        return self.value.lower().replace("_", " ")


class ImportStatus(StrEnum):
    """How an import ended."""

    DEPLOYED = "DEPLOYED"
    ERROR_FORMAT = "ERROR_FORMAT"
    ERROR_INTEGRITY = "ERROR_INTEGRITY"
    ERROR_CONVERSION = "ERROR_CONVERSION"
    ERROR_DEPLOYMENT = "ERROR_DEPLOYMENT"
    SKIPPED = "SKIPPED"

    @property
    def is_good(self) -> bool:
        """Whether the image is there now."""
        return self in (ImportStatus.DEPLOYED, ImportStatus.SKIPPED)


class EventState(StrEnum):
    """What happened to a step."""

    STARTED = "started"
    PROGRESS = "progress"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportEvent:
    """Something happened to one import."""

    source: str
    """The file that is imported, as the caller named it."""
    step: ImportStep
    state: EventState
    fraction: float | None = None
    """How much of the step is done, 0 to 1, when that is known."""
    message: str | None = None
    """The reason of a failure; of a step that is done, the format, once it is detected."""


class ImportListener(Protocol):
    """Told of every event, from one thread at a time, in order.

    What it raises ends the import.
    """

    def notify(self, event: ImportEvent) -> None:
        """Take note; quickly, the import waits."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How the import of one file ended."""

    source: str
    path: str | None
    """As used in URLs: upload-<uuid>/<file name>; none when there is no image."""
    format: str | None
    """Identifier of the detected format; none when it was not reached."""
    status: ImportStatus
    step: ImportStep
    """Where it failed or ended."""
    error: str | None = None
    """A sentence for people: what, why, what to do."""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, str | None]:
        """What `pims import --json` prints."""
        return {
            "source": self.source.encode("utf-8", "replace").decode(),  # a name may be no text
            "path": self.path,
            "format": self.format,
            "status": self.status.value,
            "step": self.step.value,
            "error": self.error,
        }


class StdoutListener:
    """Writes a line for every step that starts or fails, and for every tenth of a long one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tenths: dict[str, int] = {}

    def notify(self, event: ImportEvent) -> None:
        text = event.step.words
        if event.state is EventState.STARTED:
            self._tenths[event.source] = 0
        elif event.state is EventState.PROGRESS:
            tenths = int((event.fraction or 0) * 10)
            if tenths <= self._tenths.get(event.source, 0):
                return
            self._tenths[event.source] = tenths
            text = f"{text}: {tenths * 10} %"
        elif event.state is EventState.FAILED:
            text = f"{text} failed"
        else:
            self._tenths.pop(event.source, None)
            return
        self._stream.write(f"{printable(event.source)}: {text}\n")
        self._stream.flush()


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor or can't be encoded (names come from outside)."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
