"""The table of samples says what is equal, near, other and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.samples import compared, look_at, page
from pims.testing.slides import coded_pixels


def test_files_are_imported_and_compared(tmp_path: Path) -> None:
    Image.fromarray(coded_pixels(60, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture|at all")
    bad, good = look_at([tmp_path / "bad.png", tmp_path / "good.png"], tmp_path)
    assert good.good and good.result == "equal" and good.size == "60 x 40 x 3 uint8"
    assert bad.good and bad.result.startswith("refused: ")
    assert "2 files, of which 1 equal, 0 close, 1 refused." in page([bad, good])


@pytest.mark.parametrize(("levels", "lossy", "good"), [(1, False, False), (1, True, True), (9, True, False)])
def test_a_difference_is_good_only_when_pixels_are_lossy_and_it_is_small(
    levels: int, lossy: bool, good: bool
) -> None:
    ours = np.full((4, 5, 3), 100, np.uint8)
    theirs = ours.copy()
    theirs[0, 0, 0] += levels
    text, reader, found = compared(ours, [("A", theirs)], lossy=lossy)
    assert (text, reader, found) == (f"within {levels} of 255, {levels / 60:.2g} on average", "A", good)


def test_the_reader_that_agrees_best_is_named() -> None:
    ours = np.zeros((4, 5, 1), np.uint16)
    assert compared(ours, [("A", ours + 3), ("B", ours.copy())], lossy=False) == ("equal", "B", True)


def test_another_size_is_a_difference() -> None:
    ours = np.zeros((4, 5, 1), np.uint8)
    assert compared(ours, [("A", ours[:2])], lossy=True) == ("other sizes", "A: 5 x 2", False)
