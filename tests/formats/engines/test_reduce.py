"""Pixels shrunk by whole numbers, against means computed slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pims.formats.engines.reduce import block_means, box_reduce

MARK = 3.4028234663852886e38
"""The largest float32, which stands for no data."""
INTEGERS = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32]


def slow_means(pixels: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Of what is present in every block."""
    height, width, samples = pixels.shape
    found = np.full((height // size, width // size, samples), np.nan)
    for y, x, sample in np.ndindex(*found.shape):
        block = pixels[y * size : (y + 1) * size, x * size : (x + 1) * size, sample].astype(float)
        numbers = block[np.isfinite(block) & (np.abs(block) < 3.4e38)]
        if numbers.size:
            found[y, x, sample] = numbers.mean()
    return found


@given(
    arrays.arrays(
        st.sampled_from(INTEGERS),
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3])).map(
            lambda shape: (shape[0] * 8, shape[1] * 8, shape[2])
        ),
    ),
    st.sampled_from([2, 4, 8]),
)
@settings(deadline=None)
def test_means_of_integers_are_rounded_to_the_nearest(pixels: NDArray[Any], size: int) -> None:
    found = block_means(pixels, size)
    assert found.dtype == pixels.dtype
    assert np.abs(found - slow_means(pixels, size)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("absent", [np.nan, np.inf, -np.inf, MARK, -MARK])
def test_what_is_absent_does_not_count(dtype: str, size: int, absent: float) -> None:
    pixels = np.random.default_rng(0).normal(0, 10, (32, 24, 3)).astype(dtype)
    pixels[np.random.default_rng(1).random(pixels.shape) < 0.3] = absent
    pixels[:8, :8, 1] = absent
    found, expected = block_means(pixels, size), slow_means(pixels, size)
    assert found.dtype == dtype
    assert np.isnan(expected).any()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("value", [1e300, -1.7976931348623157e308, 3.4e38, 5e-320, 7.5])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_means_of_one_value_are_that_value(value: float, size: int) -> None:
    pixels = np.full((24, 24, 1), value)
    pixels[::size, 1::size] = np.nan
    np.testing.assert_allclose(block_means(pixels, size), value, rtol=1e-14, atol=1e-321)
    if abs(value) < 3.41e38:
        found = block_means(np.full((24, 24, 1), value, np.float32), size)
        np.testing.assert_allclose(found, np.float32(value), rtol=1e-7, atol=0)


def test_edges_are_repeated_to_fill_a_block() -> None:
    pixels = np.array([[[1], [3], [10]], [[1], [3], [20]], [[5], [7], [40]]], np.int16)
    assert box_reduce(pixels, 2)[..., 0].tolist() == [[2, 15], [6, 40]]
    assert box_reduce(pixels, 1) is pixels
