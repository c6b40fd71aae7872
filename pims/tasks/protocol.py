"""What is said between the server of imports and who started it: JSON lines, never pickle.

::

    to the server     {"setup": {...}} once, then {"job": {...}} for every import
    from the server   {"ready": true} once, then for every import
                      {"id": 1, "event": {...}} ..., then one {"id": 1, "result": {...}}
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pims.importer.events import EventState, ImportEvent, ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions
from pims.model.limits import Limits

__all__ = [
    "Job",
    "ProcessLimits",
    "Setup",
    "event_from",
    "event_line",
    "job_from",
    "job_line",
    "ready_line",
    "result_from",
    "result_line",
    "setup_from",
    "setup_line",
]


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one import may use of the machine."""

    memory_bytes: int = 4 << 30
    """Address space."""
    seconds: float = 3600.0
    niceness: int = 10
    """Added to the niceness of the server of imports: people who look at images come first."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all imports share."""

    options: ImportOptions
    limits: ProcessLimits


@dataclass(frozen=True, slots=True)
class Job:
    """One file to import."""

    id: int
    source: str
    directory: str
    """Name of its private directory, chosen by who asks: whoever survives can remove it."""
    name: str | None = None
    """The file's name as its user knows it, when the source has another."""


def _line(message: dict[str, Any]) -> bytes:
    # ASCII: names that are no text (lone surrogates) come through.
    return json.dumps(message, default=str).encode("ascii") + b"\n"


def setup_line(setup: Setup) -> bytes:
    return _line({"setup": dataclasses.asdict(setup)})


def ready_line() -> bytes:
    return _line({"ready": True})


def job_line(job: Job) -> bytes:
    return _line({"job": dataclasses.asdict(job)})


def event_line(job_id: int, event: ImportEvent) -> bytes:
    return _line({"id": job_id, "event": dataclasses.asdict(event)})


def result_line(job_id: int, result: ImportResult) -> bytes:
    return _line({"id": job_id, "result": dataclasses.asdict(result)})


def setup_from(values: dict[str, Any]) -> Setup:
    options = dict(values["options"])
    options["root"], options["pending"] = Path(options["root"]), Path(options["pending"])
    options["limits"] = Limits(**options["limits"])
    return Setup(ImportOptions(**options), ProcessLimits(**values["limits"]))


def job_from(values: dict[str, Any]) -> Job:
    return Job(**values)


def event_from(values: dict[str, Any]) -> ImportEvent:
    step, state = ImportStep(values["step"]), EventState(values["state"])
    return ImportEvent(values["source"], step, state, values["fraction"], values["message"])


def result_from(values: dict[str, Any]) -> ImportResult:
    kept = {
        **values,
        "status": ImportStatus(values["status"]),
        "step": ImportStep(values["step"]),
        "warnings": tuple(values["warnings"]),
    }
    return ImportResult(**kept)
