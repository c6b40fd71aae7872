"""Pixels shrunk by whole numbers, against means computed slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pims.formats.engines.reduce import block_means, box_reduce

INTEGERS = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32]


def slow_means(pixels: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Of what is a number in every block."""
    height, width, samples = pixels.shape
    found = np.full((height // size, width // size, samples), np.nan)
    for y, x, sample in np.ndindex(*found.shape):
        block = pixels[y * size : (y + 1) * size, x * size : (x + 1) * size, sample].astype(float)
        numbers = block[~np.isnan(block)]
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
def test_means_of_integers_are_rounded_to_the_nearest(pixels: NDArray[Any], size: int) -> None:
    found = block_means(pixels, size)
    assert found.dtype == pixels.dtype
    assert np.abs(found - slow_means(pixels, size)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_what_is_no_number_does_not_count(dtype: str, size: int) -> None:
    pixels = np.random.default_rng(0).normal(0, 10, (32, 24, 3)).astype(dtype)
    pixels[np.random.default_rng(1).random(pixels.shape) < 0.3] = np.nan
    pixels[:8, :8, 1] = np.nan
    found, expected = block_means(pixels, size), slow_means(pixels, size)
    assert found.dtype == dtype
    assert np.isnan(expected).any()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_infinite_values_stay_infinite() -> None:
    pixels = np.ones((4, 4, 1), np.float32)
    pixels[0, 0], pixels[0, 2], pixels[2, 2], pixels[3, 3] = np.inf, -np.inf, np.inf, np.nan
    assert block_means(pixels, 2)[..., 0].tolist() == [[np.inf, -np.inf], [1, np.inf]]


def test_edges_are_repeated_to_fill_a_block() -> None:
    pixels = np.array([[[1], [3], [10]], [[1], [3], [20]], [[5], [7], [40]]], np.int16)
    assert box_reduce(pixels, 2)[..., 0].tolist() == [[2, 15], [6, 40]]
    assert box_reduce(pixels, 1) is pixels
