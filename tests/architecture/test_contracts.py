"""Imports point down only, as .importlinter says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_contracts_of_import_linter_are_kept() -> None:
    # In a process of its own: it configures itself globally, and looks for packages where it is started.
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: " in done.stdout and " 0 broken" in done.stdout
