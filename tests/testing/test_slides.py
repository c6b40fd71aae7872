"""Images with known pixels, and the demonstration slide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from pims.errors import StorageError
from pims.testing.histology import TissuePicture
from pims.testing.slides import (
    MAX_CODED_SIDE,
    coded_pixels,
    decoded_positions,
    gradient,
    write_demonstration_slide,
    write_pyramid,
)

positions = st.integers(0, MAX_CODED_SIDE - 1)


@given(left=positions, top=positions)
def test_a_coded_pixel_says_where_it_is(left: int, top: int) -> None:
    assert decoded_positions(coded_pixels(1, 1, left, top)).tolist() == [[[left, top]]]


def test_a_crop_of_coded_pixels_is_what_would_be_coded_there() -> None:
    assert np.array_equal(coded_pixels(600, 500)[300:320, 250:280], coded_pixels(30, 20, 250, 300))


def test_positions_that_can_not_be_coded_are_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        coded_pixels(1, 1, MAX_CODED_SIDE, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_gradient_grows_in_x_then_y_over_the_whole_range(dtype: str) -> None:
    pixels = gradient(300, 200, 3, dtype)
    most = np.iinfo(dtype).max
    assert pixels.shape == (200, 300, 3) and pixels.dtype == dtype
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[-1, -1].tolist() == [most] * 3
    assert pixels[0, -1, :2].tolist() == [most, 0] and pixels[-1, 0, :2].tolist() == [0, most]
    assert gradient(1, 1, 1, dtype).shape == (1, 1, 1)


def test_coded_pixels_survive_a_pyramid(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", coded_pixels(700, 600))
    with tifffile.TiffFile(path) as tiff:
        found = decoded_positions(tiff.pages.first.asarray())
    assert found[321, 543].tolist() == [543, 321]


def test_the_demonstration_slide_is_a_readable_slide_at_40x(tmp_path: Path) -> None:
    done: list[float] = []
    path = write_demonstration_slide(tmp_path / "demo.tif", 2_100, 1_500, progress=done.append)
    assert done == sorted(done) and done[-1] == 1
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((2100, 1500), (1050, 750), (525, 375), (263, 188), (132, 94))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert "40x" in slide.properties["tiff.ImageDescription"]


def test_the_demonstration_slide_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    same = [write_demonstration_slide(tmp_path / name, 600, 500, seed=3).read_bytes() for name in "ab"]
    assert same[0] == same[1]
    assert write_demonstration_slide(tmp_path / "c", 600, 500, seed=4).read_bytes() != same[0]


def test_the_demonstration_slide_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(StorageError, match="exists"):
        write_demonstration_slide(tmp_path / "a.tif", 300, 300)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2049, 257), (255, 513)])
def test_the_tissue_picture_has_every_size(width: int, height: int) -> None:
    picture = TissuePicture(width, height, 0)
    bands = [picture.rows(top) for top in range(0, height, 256)]
    assert np.concatenate(bands).shape == (height, width, 3)


def test_the_tissue_picture_shows_glass_eosin_and_nuclei() -> None:
    picture = TissuePicture(4_096, 3_072, 1)
    pixels = np.concatenate([picture.rows(top) for top in range(0, 3_072, 256)])
    red, green, blue = np.moveaxis(pixels.astype(np.int16), -1, 0)
    assert np.mean(pixels.min(axis=-1) > 230) > 0.05, "bare glass"
    assert np.mean((red > 180) & (green < red - 30) & (blue > green)) > 0.2, "pink"
    assert np.mean((red < 130) & (blue > red)) > 0.01, "nuclei"


def test_known_slides_need_no_test_framework() -> None:
    check = "import sys, pims.testing.slides, pims.testing.histology; print('pytest' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
