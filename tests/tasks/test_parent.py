"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does this")

ORPHAN = """
import multiprocessing, os, sys, time
from pathlib import Path

def child(folder):
    while os.getppid() == multiprocessing.parent_process().pid:
        time.sleep(0.01)  # until the supervisor is gone
    {bond}
    Path(folder, "went on").touch()

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child, args=sys.argv[1:])
    process.start()
    Path(sys.argv[1], "pid").write_text(str(process.pid))
    os._exit(0)
"""
BONDS = {
    "a process": (
        "from pims.tasks.parent import die_with_parent;die_with_parent(multiprocessing.parent_process().pid)"
    ),
    "the application": "from pims.application import app_from_environment; app_from_environment()",
    "none": "pass",
}


@pytest.mark.parametrize("bond", BONDS)
def test_a_process_that_starts_when_its_parent_is_gone_already_ends(tmp_path: Path, bond: str) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN.format(bond=BONDS[bond]))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": paths, "ROOT": str(tmp_path / "root")}
    subprocess.run(
        [sys.executable, script, tmp_path],
        env=environment,
        cwd=tmp_path,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "went on").exists() == (bond == "none")
