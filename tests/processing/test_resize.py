"""Resizing against slow averages, and fractional rectangles against the whole."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import UnsupportedFeature
from pims.processing.resize import resample, resize


def noise(height: int, width: int, samples: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    rng, shape = np.random.default_rng(7), (height, width, samples)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def gradient(height: int, width: int, dtype: str = "uint8") -> NDArray[Any]:
    """Rises along x and y; three samples that differ."""
    y, x = np.mgrid[0:height, 0:width]
    top = 255 if dtype == "uint8" else 4000
    ramp = (x / width + y / height) / 2
    pixels: NDArray[Any] = np.rint(np.stack([ramp, 1 - ramp, x / width], axis=2) * top).astype(dtype)
    return pixels


class Picture(Protocol):
    """gradient or noise."""

    def __call__(self, height: int, width: int, *, dtype: str) -> NDArray[Any]: ...


def covered(first: float, last: float, size: int) -> NDArray[np.float64]:
    """How much of each of `size` pixels lies between two bounds."""
    return np.array([max(min(last, i + 1) - max(first, i), 0) for i in range(size)])


def slow_average(
    pixels: NDArray[Any],
    left: float,
    top: float,
    width: float,
    height: float,
    out_width: int,
    out_height: int,
) -> NDArray[np.float64]:
    """Every output pixel as the weighed sum of all pixels."""
    out = np.zeros((out_height, out_width, pixels.shape[2]))
    step_x, step_y = width / out_width, height / out_height
    for row in range(out_height):
        down = covered(top + row * step_y, top + (row + 1) * step_y, pixels.shape[0])
        for column in range(out_width):
            across = covered(left + column * step_x, left + (column + 1) * step_x, pixels.shape[1])
            weights = down[:, np.newaxis] * across
            out[row, column] = (pixels * weights[:, :, np.newaxis]).sum(axis=(0, 1)) / (step_x * step_y)
    return out


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3, 5])
@pytest.mark.parametrize("size", [(10, 8), (3, 30), (40, 4), (31, 29), (64, 64), (1, 1), (20, 16)])
def test_size_type_and_samples_are_kept(dtype: str, samples: int, size: tuple[int, int]) -> None:
    result = resize(noise(16, 20, samples, dtype), *size)
    assert result.shape == (size[1], size[0], samples)
    assert result.dtype == dtype


def test_the_same_size_is_the_same_array() -> None:
    pixels = noise(5, 6)
    assert resize(pixels, 6, 5) is pixels


@pytest.mark.parametrize("samples", [1, 3, 6])
@pytest.mark.parametrize("size", [(10, 6), (7, 5), (19, 11), (1, 1)])
def test_shrinking_is_the_average_of_the_area(samples: int, size: tuple[int, int]) -> None:
    pixels = noise(12, 20, samples)
    expected = slow_average(pixels, 0, 0, 20, 12, *size)
    assert np.abs(resize(pixels, *size) - expected).max() <= 0.51


def test_shrinking_agrees_with_an_independent_library() -> None:
    pixels = gradient(100, 120)
    expected = np.asarray(Image.fromarray(pixels).resize((40, 25), Image.Resampling.BOX))
    assert np.abs(resize(pixels, 40, 25).astype(int) - expected).max() <= 1


def test_enlarging_agrees_with_an_independent_library() -> None:
    pixels = noise(12, 15)
    expected = np.asarray(Image.fromarray(pixels).resize((40, 29), Image.Resampling.BILINEAR))
    assert np.abs(resize(pixels, 40, 29).astype(int) - expected).max() <= 2


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    pixels = gradient(20, 60)
    result = resize(pixels, 30, 40)
    expected = resize(resize(pixels, 30, 20), 30, 40)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "float32", "float64", "bool", ">u2"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match=dtype):
        resize(np.zeros((4, 4, 1), dtype), 2, 2)
    with pytest.raises(UnsupportedFeature, match=dtype):
        resample(np.zeros((4, 4, 1), dtype), 0, 0, 2, 2, 2, 2)


@pytest.mark.parametrize(("shape", "size"), [((0, 4, 1), (2, 2)), ((4, 4), (2, 2)), ((4, 4, 1), (0, 2))])
def test_what_has_no_pixels_is_refused(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="can't become"):
        resize(np.zeros(shape, np.uint8), *size)


def test_whole_rectangles_of_the_same_size_are_cut_out() -> None:
    pixels = noise(30, 40)
    np.testing.assert_array_equal(resample(pixels, 3, 5, 10, 12, 10, 12), pixels[5:17, 3:13])


def test_rounding_errors_of_the_caller_do_not_make_a_rectangle_fractional() -> None:
    pixels = noise(30, 40)
    np.testing.assert_array_equal(resample(pixels, 3 - 1e-9, 5 + 1e-9, 10, 12, 10, 12), pixels[5:17, 3:13])


@pytest.mark.parametrize("size", [(5, 4), (20, 30), (7, 30), (30, 7)])
def test_whole_rectangles_are_resized(size: tuple[int, int]) -> None:
    pixels = noise(30, 40)
    np.testing.assert_array_equal(resample(pixels, 3, 5, 11, 13, *size), resize(pixels[5:18, 3:14], *size))


@given(
    left=st.floats(0, 20),
    top=st.floats(0, 15),
    width=st.floats(8, 20),
    height=st.floats(8, 15),
    out_width=st.integers(1, 7),
    out_height=st.integers(1, 7),
    samples=st.sampled_from([1, 3, 5]),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
@settings(max_examples=60, deadline=None)
def test_shrinking_fractional_rectangles_is_the_average_of_the_area(
    left: float,
    top: float,
    width: float,
    height: float,
    out_width: int,
    out_height: int,
    samples: int,
    dtype: str,
) -> None:
    pixels = noise(30, 40, samples, dtype)
    expected = slow_average(pixels, left, top, width, height, out_width, out_height)
    result = resample(pixels, left, top, width, height, out_width, out_height)
    assert result.dtype == dtype
    assert np.abs(result - expected).max() <= 0.51


def test_bands_of_rows_do_not_show() -> None:
    pixels = noise(900, 700, 1, "uint16")
    result = resample(pixels, 0.4, 0.3, 699.1, 899.2, 50, 61)
    for row in (0, 7, 30, 60):
        step = 899.2 / 61
        expected = slow_average(pixels, 0.4, 0.3 + row * step, 699.1, step, 50, 1)
        assert np.abs(result[row] - expected[0]).max() <= 0.6


def test_shifting_by_a_part_of_a_pixel_weighs_two_neighbours() -> None:
    pixels = noise(8, 10, 1)
    result = resample(pixels, 2.25, 3, 5, 4, 5, 4)
    expected = 0.75 * pixels[3:7, 2:7] + 0.25 * pixels[3:7, 3:8]
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("picture", [gradient, noise])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "scale", [(1.0003, 1.0003), (1.37, 1.37), (2.0002, 2.0007), (0.61, 0.61), (3.3, 0.7), (0.7, 3.3)]
)
def test_tiles_join_without_a_seam(picture: Picture, dtype: str, scale: tuple[float, float]) -> None:
    pixels = picture(300, 330, dtype=dtype)
    x, y = 0.3, 0.4
    width, height = int(329 / scale[0]), int(299 / scale[1])
    tile = 64
    whole = resample(pixels, x, y, width * scale[0], height * scale[1], width, height)
    joined = np.empty_like(whole)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            w, h = min(tile, width - left), min(tile, height - top)
            joined[top : top + h, left : left + w] = resample(
                pixels, x + left * scale[0], y + top * scale[1], w * scale[0], h * scale[1], w, h
            )
    tolerance = 1 if dtype == "uint8" else 4  # of 65,536: positions are float32 in the interpolation
    assert np.abs(joined.astype(int) - whole).max() <= tolerance


@pytest.mark.parametrize("size", [(8, 8), (3, 3), (20, 20), (20, 3), (3, 20)])
@pytest.mark.parametrize(
    "rectangle", [(-3, -2, 8, 9), (-2.5, -1.3, 8.1, 9.2), (6.5, 7.5, 5.2, 6.1), (-4, -4, 3, 3)]
)
def test_edges_replicate(rectangle: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    pixels = noise(9, 8)
    left, top, width, height = rectangle
    padded = np.pad(pixels, ((9, 9), (8, 8), (0, 0)), mode="edge")
    expected = resample(padded, left + 8, top + 9, width, height, *size)
    np.testing.assert_array_equal(resample(pixels, *rectangle, *size), expected)


@pytest.mark.parametrize(
    "rectangle",
    [
        (0, 0, 0, 5),
        (0, 0, -1, 5),
        (float("nan"), 0, 5, 5),
        (0, 0, float("inf"), 5),
        (0, 0, 1e12, 5),
        (-11, 0, 12, 5),
    ],
)
def test_rectangles_far_from_the_array_are_refused(rectangle: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="a rectangle from"):
        resample(noise(10, 10), *rectangle, 5, 5)


def test_a_flat_image_stays_flat() -> None:
    pixels = np.full((50, 60, 3), 65535, np.uint16)
    for out_width, out_height in ((7, 9), (100, 90), (7, 90), (40, 30)):
        assert (resample(pixels, 1.3, 2.7, 40.2, 30.1, out_width, out_height) == 65535).all()
