"""Why an import failed: from an exception to a status and a sentence for people."""

from __future__ import annotations

import errno
import os
import signal

from pims.errors import FileError, NoMatchingFormat, PimsError, StorageError, UnsupportedFeature
from pims.importer.events import ImportStatus, ImportStep

__all__ = ["explain", "is_expected", "signal_sentence", "status_of_step", "time_sentence"]

STATUS_OF_STEP = {
    ImportStep.DETECTING_FORMAT: ImportStatus.ERROR_FORMAT,
    ImportStep.CHECKING_INTEGRITY: ImportStatus.ERROR_INTEGRITY,
    ImportStep.CONVERTING: ImportStatus.ERROR_CONVERSION,
    ImportStep.WRITING_OVERVIEWS: ImportStatus.ERROR_INTEGRITY,
}

WITHOUT_DECODER = (ImportStep.EXTRACTING_DATA, ImportStep.DEPLOYING)

ADVICE = {
    errno.ENOSPC: "free some space and import the file again",
    errno.EDQUOT: "free some space of the quota and import the file again",
    errno.EFBIG: "raise the limit on the size of files and import the file again",
    errno.EACCES: "give the server's user the right to read and write there",
    errno.EPERM: "give the server's user the right to read and write there",
    errno.EROFS: "mount it writable, or set ROOT to another directory",
    errno.EXDEV: "set WRITING_PATH to a directory on the same filesystem as ROOT",
}


def status_of_step(step: ImportStep) -> ImportStatus:
    """The status of an import that stopped in that step for a reason of its own."""
    return STATUS_OF_STEP.get(step, ImportStatus.ERROR_DEPLOYMENT)


def is_expected(error: BaseException) -> bool:
    """Whether files and disks do this; if not, it is a bug and its traceback is wanted."""
    return isinstance(error, PimsError | OSError | MemoryError)


def explain(error: BaseException, step: ImportStep) -> tuple[ImportStatus, str]:
    """Status and sentence of an import that an exception ended."""
    if isinstance(error, UnsupportedFeature | NoMatchingFormat):
        return ImportStatus.ERROR_FORMAT, str(error)
    if isinstance(error, FileError):
        in_histogram = step is ImportStep.COMPUTING_HISTOGRAM
        return ImportStatus.ERROR_INTEGRITY if in_histogram else status_of_step(step), str(error)
    if isinstance(error, StorageError):
        cause = error.__cause__
        return ImportStatus.ERROR_DEPLOYMENT, _with_advice(str(error), cause)
    if isinstance(error, OSError):
        return ImportStatus.ERROR_DEPLOYMENT, _with_advice(_os_sentence(error), error)
    if isinstance(error, MemoryError):
        return status_of_step(step), (
            f"The image needs more memory than one import may use, while {step.words}; "
            "raise IMPORT_MEMORY_LIMIT, or use a tiled file."
        )
    return status_of_step(step), f"unexpected error ({type(error).__name__}: {error}) during {step.words}"


def _os_sentence(error: OSError) -> str:
    name = os.path.basename(os.fsdecode(error.filename)) if error.filename else ""  # noqa: PTH119 - not a Path
    return f"The disk refused{f' {name}' if name else ''}: {error.strerror or error}"


def _with_advice(sentence: str, cause: BaseException | None) -> str:
    advice = ADVICE.get(cause.errno or 0) if isinstance(cause, OSError) else None
    return f"{sentence}; {advice}." if advice else sentence


def signal_sentence(number: int, step: ImportStep) -> str:
    """What is said of an import whose process a signal ended."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    who = "the process" if step in WITHOUT_DECODER else "decoder"
    return f"{who} stopped (signal {number}, {name}) during {step.words}"


def time_sentence(seconds: float, step: ImportStep) -> str:
    """What is said of an import that was stopped at its time limit."""
    return f"took longer than {seconds:g} s during {step.words}; raise IMPORT_TIME_LIMIT if it is right"
