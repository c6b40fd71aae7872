"""The slides of the benchmark are read as they were meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from benchmarks.tiled import picture, write_levels, write_repeated


def test_levels_on_a_grid_of_240_px_show_the_picture(tmp_path: Path) -> None:
    with tifffile.TiffFile(write_levels(tmp_path / "a.tiff", 600, 240, 2)) as tiff:
        assert [(page.imagewidth, page.tilewidth) for page in tiff.pages] == [(600, 240), (300, 240)]
        difference = np.abs(tiff.pages[0].asarray().astype(int) - picture(600))
    assert difference.mean() < 6


def test_all_tiles_of_a_repeated_slide_are_the_same_bytes(tmp_path: Path) -> None:
    path = write_repeated(tmp_path / "a.tiff", 20_480)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) > 6
        assert len(tiff.pages[0].dataoffsets) == 80 * 80
        assert len(set(tiff.pages[0].dataoffsets)) == 1
    assert path.stat().st_size < 200_000
