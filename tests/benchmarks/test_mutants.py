"""Damaged files are the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutants import mutant, originals


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("PIMS_SAMPLES", str(tmp_path / "none"))
    return originals(tmp_path / "originals")


def test_a_seed_gives_the_same_file_again(paths: list[Path]) -> None:
    for seed in range(50):
        assert mutant(paths, seed) == mutant(paths, seed)


def test_seeds_damage_many_kinds_of_files(paths: list[Path]) -> None:
    damaged = [mutant(paths, seed) for seed in range(200)]
    assert len({path.suffix for path, _ in damaged}) > 6
    assert sum(path.read_bytes() != data for path, data in damaged) > 190


def test_files_without_bytes_can_be_damaged(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    for seed in range(50):
        mutant([empty], seed)
