"""The JSON lines between the server of imports and who started it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pims.importer.events import EventState, ImportEvent, ImportResult, ImportStatus, ImportStep
from pims.importer.flow import ImportOptions
from pims.tasks import protocol
from pims.tasks.local import ONE_THREAD
from pims.tasks.protocol import Job, ProcessLimits, Setup

texts = st.text(st.characters(exclude_categories=[]), max_size=20)


@given(texts, st.none() | texts, st.lists(texts, max_size=2), st.sampled_from(list(ImportStatus)))
def test_results_and_jobs_come_through_whatever_the_names(
    source: str, error: str | None, warnings: list[str], status: ImportStatus
) -> None:
    step = ImportStep.CONVERTING
    result = ImportResult(source, "upload-x/a", "TOY", status, step, error, tuple(warnings))
    line = protocol.result_line(3, result)
    assert line.count(b"\n") == 1
    assert protocol.result_from(json.loads(line)["result"]) == result
    job = Job(1, source, "upload-x", error)
    assert protocol.job_from(json.loads(protocol.job_line(job))["job"]) == job
    event = ImportEvent(source, step, EventState.FAILED, 0.5, error)
    assert protocol.event_from(json.loads(protocol.event_line(2, event))["event"]) == event


def test_the_setup_comes_through() -> None:
    options = ImportOptions(Path("/a"), Path("/b"), lossless_codec="deflate", histogram_length=7)
    setup = Setup(options, ProcessLimits(memory_bytes=5, seconds=0.5))
    assert protocol.setup_from(json.loads(protocol.setup_line(setup))["setup"]) == setup


def test_the_server_of_imports_speaks_only_json_on_its_output(
    write_toy: Callable[..., Path], options: ImportOptions, toys: Any
) -> None:
    """A codec that prints on standard output ends up on standard error."""
    import os

    source = write_toy("noise.toy", behaviour="noise")
    lines = [
        protocol.setup_line(Setup(options, ProcessLimits())),
        protocol.job_line(Job(1, str(source), "upload-00000000-0000-4000-8000-000000000001")),
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "pims.tasks.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    with server:
        assert server.stdin is not None and server.stdout is not None and server.stderr is not None
        server.stdin.write(b"".join(lines))
        server.stdin.flush()
        messages = []
        for line in server.stdout:
            messages.append(json.loads(line))
            if "result" in messages[-1]:
                break
        server.stdin.close()
        assert b"nonsense" in server.stderr.read()
    assert server.returncode == 0
    assert messages.pop(0) == {"ready": True}
    assert {message["id"] for message in messages} == {1}
    assert messages[-1]["result"]["status"] == "DEPLOYED"
    assert messages[-1]["result"]["path"] == "upload-00000000-0000-4000-8000-000000000001/noise.toy"
