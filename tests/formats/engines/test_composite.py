"""Alpha laid over a background, against the formula in floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.formats.engines import composite
from pims.formats.engines.composite import default_background, over


@given(
    bits=st.integers(1, 16),
    samples=st.sampled_from([1, 3]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_every_value_is_the_nearest_to_the_formula(
    bits: int, samples: int, height: int, width: int, seed: int
) -> None:
    highest = (1 << bits) - 1
    random = np.random.default_rng(seed)
    dtype = np.uint8 if bits <= 8 else np.uint16
    pixels: NDArray[Any] = random.integers(0, highest + 1, (height, width, samples + 1)).astype(dtype)
    background = tuple(int(value) for value in random.integers(0, highest + 1, samples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composite, "BAND_PIXELS", 16)
        result = over(pixels, background, highest)
    alpha = pixels[..., -1:] / highest
    exact = pixels[..., :-1] * alpha + np.array(background) * (1 - alpha)
    assert result.dtype == dtype and result.flags.c_contiguous
    np.testing.assert_allclose(result, exact, atol=0.5 + 1e-6)


def test_rgb_of_eight_bits_is_laid_on_white_anything_else_on_black() -> None:
    assert default_background(3, 8) == (255, 255, 255)
    assert default_background(1, 8) == (0,)
    assert default_background(3, 16) == (0, 0, 0)
