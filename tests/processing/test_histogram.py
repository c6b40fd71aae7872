"""Counts against numpy's and against one value at a time, and the bounds read from them."""

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
from pims.model.metadata import ImageMetadata
from pims.processing import histogram
from pims.processing.histogram import (
    INTERVALS,
    Bins,
    bounds,
    channel_counts,
    finite_bounds,
    whole_numbers,
)


def bins_of(dtype: str, bits: int) -> Bins:
    bins = whole_numbers(ImageMetadata(9, 9, dtype, bits, 1))
    assert bins is not None
    return bins


BYTES = bins_of("uint8", 8)


def noise(shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    limits = np.iinfo(dtype)
    return np.random.default_rng(5).integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 7, 1), (31, 64, 3), (5, 6, 5)])
@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        *(("uint8", bits) for bits in range(1, 9)),
        ("uint16", 16),
        ("uint16", 12),
        ("int8", 8),
        ("int8", 5),
        ("int16", 16),
        ("int16", 10),
    ],
)
def test_every_pixel_is_counted_once(shape: tuple[int, int, int], dtype: str, bits: int) -> None:
    pixels, bins = noise(shape, dtype), bins_of(dtype, bits)
    counts = channel_counts(pixels, bins)
    assert counts.shape == (shape[2], 2**bits)
    assert counts.dtype == np.uint64
    first = -(2 ** (bits - 1)) if dtype.startswith("i") else 0
    assert bins.edges().tolist() == list(range(first, first + 2**bits + 1))
    for sample in range(shape[2]):
        inside = np.clip(pixels[:, :, sample].ravel().astype(int), first, first + 2**bits - 1)
        np.testing.assert_array_equal(counts[sample], np.bincount(inside - first, minlength=2**bits))


def test_layout_does_not_matter() -> None:
    for dtype in ("uint8", "int16"):
        pixels, bins = noise((40, 30, 3), dtype), bins_of(dtype, 8 * np.dtype(dtype).itemsize)
        np.testing.assert_array_equal(
            channel_counts(pixels[::2, ::-1], bins), channel_counts(pixels[::2, ::-1].copy(), bins)
        )


def test_what_is_above_the_significant_bits_counts_as_the_highest() -> None:
    pixels = np.array([0, 1, 4095, 4096, 65535], np.uint16).reshape(1, 5, 1)
    counts = channel_counts(pixels, bins_of("uint16", 12))[0]
    assert (counts[0], counts[1], counts[4095]) == (1, 1, 3)
    assert counts.sum() == 5


def test_large_images_are_counted_exactly_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, wide = noise((100, 70, 2), "uint8"), noise((100, 70, 2), "int32")
    bins = Bins.between(-(2**31), 2**31 - 1, whole=True)
    expected = channel_counts(pixels, BYTES), channel_counts(wide, bins)
    monkeypatch.setattr(histogram, "EXACT_PIXELS", 999)
    monkeypatch.setattr(histogram, "REAL_PIXELS", 999)
    np.testing.assert_array_equal(channel_counts(pixels, BYTES), expected[0])
    np.testing.assert_array_equal(channel_counts(wide, bins), expected[1])


def test_counts_beyond_the_precision_of_float32_are_exact() -> None:
    counts = channel_counts(np.zeros((4097, 4097, 1), np.uint8), BYTES)
    assert counts[0, 0] == 4097 * 4097


def test_no_pixels_are_no_counts() -> None:
    for dtype in ("uint8", "float32", "uint32"):
        assert channel_counts(np.zeros((0, 5, 2), dtype), BYTES).sum() == 0


@pytest.mark.parametrize("dtype", ["float16", "int64", "bool", ">f4"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match="can't be counted"):
        channel_counts(np.zeros((2, 2, 1), dtype), BYTES)


def test_bins_that_do_not_fit_are_refused() -> None:
    for lowest, highest, count in ((0, 1, 0), (2, 1, 1), (0, math.inf, 1), (math.nan, 1, 1)):
        with pytest.raises(ValueError, match=r"no .* bins"):
            Bins(lowest, highest, count)
    for bins in (Bins(0, 256, 100), Bins(-1, 255, 256)):
        with pytest.raises(ValueError, match=r"Bins.*uint8"):
            channel_counts(np.zeros((2, 2, 1), np.uint8), bins)


def test_types_with_too_many_values_have_no_bin_for_each() -> None:
    for name in ("uint32", "int32", "float32", "float64"):
        assert whole_numbers(ImageMetadata(9, 9, name, 17, 1)) is None


@given(st.sampled_from(["uint32", "int32"]), st.data())
@settings(max_examples=80, deadline=None)
def test_wide_integers_are_counted_as_in_fractions(dtype: str, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    low, high = sorted(
        data.draw(st.lists(st.integers(limits.min, limits.max), min_size=2, max_size=2))
        if data.draw(st.booleans())
        else [9, 9 + data.draw(st.integers(0, 2000))]
    )
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=20))
    bins = Bins.between(low, high, whole=True)
    assert bins.count == min(INTERVALS, high - low + 1)
    expected = np.zeros(bins.count, int)
    for value in values:
        expected[int(Fraction(value - low, high + 1 - low) * bins.count)] += 1
    pixels = np.array(values, dtype).reshape(1, -1, 1)
    np.testing.assert_array_equal(channel_counts(pixels, bins)[0], expected)


def stands_for_a_number(value: float) -> bool:
    return math.isfinite(value) and not 3.4028218e38 < abs(value) < 3.4028251e38


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=30),
    st.sampled_from([1.0, 1e-30, 1e250]),
)
@settings(max_examples=100, deadline=None)
def test_real_numbers_are_counted_between_their_bounds(values: list[float], scale: float) -> None:
    pixels = np.array(values).reshape(1, -1, 1) * scale
    nans = np.isnan(pixels).sum()
    finite = pixels[[[[stands_for_a_number(value)] for value in pixels.flat]]]
    limits, absent = finite_bounds(pixels)
    assert absent.tolist() == [[nans, pixels.size - nans - finite.size]]
    if finite.size == 0:
        assert np.isnan(limits).all()
        return
    assert limits.tolist() == [[finite.min(), finite.max()]]
    bins = Bins.between(*limits[0].tolist(), whole=False)
    counts, edges = channel_counts(pixels, bins)[0], bins.edges()
    assert counts.sum() == finite.size
    assert (edges[0], edges[-1], len(edges)) == (finite.min(), finite.max(), bins.count + 1)
    tolerance = 1e-9 * (edges[-1] / 2 - edges[0] / 2)
    for index in np.flatnonzero(counts):
        inside = (finite >= edges[index] - tolerance) & (finite <= edges[index + 1] + tolerance)
        assert inside.sum() >= counts[index]


def test_real_numbers_agree_with_numpy() -> None:
    pixels = np.random.default_rng(4).integers(0, 4097, (60, 50, 3)) / 4096
    pixels[0, 0], pixels[0, 1] = 0, 1
    counts = channel_counts(pixels.astype(np.float32), Bins.between(0.0, 1.0, whole=False))
    for sample in range(3):
        expected, edges = np.histogram(pixels[:, :, sample], INTERVALS, (0, 1))
        np.testing.assert_array_equal(counts[sample], expected)
    np.testing.assert_allclose(Bins(0.0, 1.0, INTERVALS).edges(), edges)


def test_nothing_overflows_and_nothing_raises() -> None:
    huge = np.array([-1.7e308, 0, 1.7e308, math.nan, math.inf, -math.inf]).reshape(1, 6, 1)
    limits, absent = finite_bounds(huge)
    bins = Bins.between(*limits[0].tolist(), whole=False)
    counts = channel_counts(huge, bins)
    assert (counts[0, 0], counts[0, 512], counts[0, 1023], counts.sum()) == (1, 1, 1, 3)
    assert np.isfinite(bins.edges()).all()
    assert absent.tolist() == [[1, 2]]
    top = np.full((2, 2, 1), 2**32 - 1, np.uint32)
    assert finite_bounds(top)[0].tolist() == [[2**32 - 1, 2**32 - 1]]
    assert channel_counts(top, Bins.between(0, 2**32 - 1, whole=True))[0, -1] == 4
    constant = np.full((2, 2, 1), 1e300)
    assert channel_counts(constant, Bins.between(1e300, 1e300, whole=False)).tolist() == [[4]]
    assert channel_counts(np.full((2, 2, 1), math.nan), Bins(0, 1, 3)).tolist() == [[0, 0, 0]]


def test_bounds_are_the_first_and_last_intensity_that_occurs() -> None:
    counts = np.zeros((4, 256), np.uint64)
    counts[0, [3, 9, 200]] = 1
    counts[1, 17] = 5
    counts[2, [0, 255]] = 2**40
    assert bounds(counts, BYTES).tolist() == [[3, 200], [17, 17], [0, 255], [0, 255]]
    assert bounds(counts, bins_of("int8", 8)).tolist()[0] == [-125, 72]


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_bounds_of_counted_pixels_are_their_range(dtype: str) -> None:
    pixels = np.random.default_rng(5).integers(-300, 1000, (50, 50, 2)).astype(np.int16)
    pixels = pixels if dtype == "int16" else np.abs(pixels).astype(np.uint16)
    expected = [[pixels[..., c].min(), pixels[..., c].max()] for c in range(2)]
    assert bounds(channel_counts(pixels, bins_of(dtype, 12)), bins_of(dtype, 12)).tolist() == expected
    assert finite_bounds(pixels)[0].tolist() == expected
