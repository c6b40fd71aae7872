"""Intensities computed, against the formula one value at a time."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.processing import stretch
from pims.processing.request import ChannelDisplay
from pims.processing.stretch import STRETCHED_TYPES, IntensityStretch, positions

MARK = 3.4028234663852886e38
"""The largest float32, which stands for no data."""
REALS = {"float32": 3.4e38, "float64": 1.7e308}


def exact_position(value: float, low: float, high: float) -> float:
    """In fractions, which neither round nor overflow; what is absent is 0."""
    if not math.isfinite(value):
        return 0.0
    if low == high:
        return 0.0 if value < high else 1.0
    x = (Fraction(value) - Fraction(low)) / (Fraction(high) - Fraction(low))
    return float(min(max(x, Fraction(0)), Fraction(1)))


def shown(value: float, display: ChannelDisplay, output_bits: int) -> float:
    x = exact_position(value, display.minimum, display.maximum)
    return (0.0 if x == 0 else x**display.gamma) * ((1 << output_bits) - 1)


@st.composite
def values_of(draw: st.DrawFn, dtype: str, *, finite: bool = False) -> st.SearchStrategy[Any]:
    """A strategy of values of the type, all of one scale."""
    if dtype in REALS:
        scale = draw(st.sampled_from([1e-30, 1.0, 1e5, REALS[dtype]]))
        kind = np.dtype(dtype).type
        numbers: st.SearchStrategy[Any] = st.floats(-scale, scale).map(lambda x: float(kind(x)))
        return numbers if finite else numbers | st.sampled_from([math.nan, math.inf, -math.inf])
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


@given(st.sampled_from(STRETCHED_TYPES), st.sampled_from([8, 12, 16]), st.sampled_from([1, 3]), st.data())
@settings(max_examples=80, deadline=None)
def test_every_value_follows_the_formula(
    dtype: str, output_bits: int, samples: int, data: st.DataObject
) -> None:
    values = data.draw(values_of(dtype))
    bound = data.draw(values_of(dtype, finite=True))
    channels = []
    for _ in range(samples):
        low, high = sorted((data.draw(bound), data.draw(bound)))
        channels.append(ChannelDisplay(low, high, data.draw(st.sampled_from([0, 0.5, 1, 2.2, 10]))))
    drawn = data.draw(st.lists(values, min_size=6 * samples, max_size=6 * samples))
    pixels = np.array(drawn).astype(dtype).reshape(2, 3, samples)
    result = IntensityStretch(channels, output_bits).apply(pixels)
    assert result.dtype == (np.uint8 if output_bits == 8 else np.uint16)
    for sample, channel in enumerate(channels):
        for value, found in zip(pixels[..., sample].flat, result[..., sample].flat, strict=True):
            expected = shown(value.item(), channel, output_bits)
            assert abs(int(found) - expected) <= 0.5 + 1e-4, (value, channel)


@pytest.mark.parametrize("dtype", STRETCHED_TYPES)
def test_layout_and_parts_do_not_matter(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = (np.random.default_rng(3).random((40, 31, 3)) * 1000).astype(dtype)
    channels = [ChannelDisplay(10, 900, gamma) for gamma in (0.5, 1, 2)]
    expected = IntensityStretch(channels, 16).apply(pixels)
    assert expected.flags.c_contiguous
    for source in (pixels[::-1, ::-1], np.asfortranarray(pixels)[::-1, ::-1]):
        np.testing.assert_array_equal(IntensityStretch(channels, 16).apply(source), expected[::-1, ::-1])
    monkeypatch.setattr(stretch, "SAMPLES_AT_ONCE", 50)
    np.testing.assert_array_equal(IntensityStretch(channels, 16).apply(pixels), expected)


def test_equal_channels_are_each_as_if_alone() -> None:
    pixels = np.random.default_rng(3).random((9, 8, 3)).astype(np.float32)
    channel = ChannelDisplay(0.1, 0.8, 0.7)
    alone = [IntensityStretch([channel], 8).apply(pixels[:, :, c : c + 1]) for c in range(3)]
    together = IntensityStretch([channel] * 3, 8).apply(pixels)
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=2))


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_absent_is_black(gamma: float, dtype: str) -> None:
    for display in (ChannelDisplay(-1.0, 2.0, gamma), ChannelDisplay(1.0, 1.0, gamma)):
        for absent in (math.nan, -math.inf, math.inf, MARK, -MARK):
            pixels = np.array([absent, 2.0, 1e30, absent], dtype).reshape(1, 4, 1)
            assert IntensityStretch([display], 8).apply(pixels).ravel().tolist() == [0, 255, 255, 0]


def test_a_constant_image_is_full() -> None:
    for value in (0.0, -5.5, 1e300):
        pixels = np.full((3, 3, 1), value)
        assert (IntensityStretch([ChannelDisplay(value, value)], 8).apply(pixels) == 255).all()


def test_ranges_wider_than_the_type_can_say_do_not_overflow() -> None:
    x = positions(np.array([-1.7e308, 0, 1.7e308]), -1.7e308, 1.7e308)
    np.testing.assert_allclose(x, [0, 0.5, 1])
    assert positions(np.array([5e-324]), 0, 5e-324)[0] == 1
    assert positions(np.array([1e308]), 0, 5e-324)[0] == math.inf


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "bool", ">f4", "complex64"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match="can't be adjusted"):
        IntensityStretch([ChannelDisplay(0, 1)], 8).apply(np.zeros((2, 2, 1), dtype))


def test_what_does_not_fit_is_refused() -> None:
    for channels, bits in (((), 8), ((ChannelDisplay(0, 1),), 17), ((ChannelDisplay(0, 1),), 0)):
        with pytest.raises(ValueError, match="no stretch"):
            IntensityStretch(channels, bits)
    with pytest.raises(ValueError, match="1 channels"):
        IntensityStretch([ChannelDisplay(0, 1)], 8).apply(np.zeros((2, 2, 3), np.float32))


def test_no_pixels_are_no_work() -> None:
    none: NDArray[Any] = np.zeros((0, 5, 1), np.float32)
    assert IntensityStretch([ChannelDisplay(0, 1)], 8).apply(none).shape == (0, 5, 1)
