"""Counts against numpy's, and the bounds read from them."""

from __future__ import annotations

import numpy as np
import pytest

from pims.errors import UnsupportedFeature
from pims.processing import histogram
from pims.processing.histogram import bounds, channel_counts


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 7, 1), (31, 64, 3), (5, 6, 5)])
@pytest.mark.parametrize(
    ("dtype", "bits"), [("uint8", 8), ("uint8", 4), ("uint16", 16), ("uint16", 12), ("uint8", 10)]
)
def test_every_pixel_is_counted_once(shape: tuple[int, int, int], dtype: str, bits: int) -> None:
    top = min(bits, 8 if dtype == "uint8" else 16)
    pixels = np.random.default_rng(5).integers(0, 2**top, shape).astype(dtype)
    counts = channel_counts(pixels, bits)
    assert counts.shape == (shape[2], 2**bits)
    assert counts.dtype == np.uint64
    for sample in range(shape[2]):
        expected = np.bincount(pixels[:, :, sample].ravel(), minlength=2**bits)
        np.testing.assert_array_equal(counts[sample], expected)


def test_layout_does_not_matter() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(
        channel_counts(pixels[::2, ::-1], 8), channel_counts(pixels[::2, ::-1].copy(), 8)
    )


def test_what_is_above_the_significant_bits_counts_as_the_highest() -> None:
    pixels = np.array([0, 1, 4095, 4096, 65535], np.uint16).reshape(1, 5, 1)
    counts = channel_counts(pixels, 12)[0]
    assert (counts[0], counts[1], counts[4095]) == (1, 1, 3)
    assert counts.sum() == 5


def test_large_images_are_counted_exactly_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (100, 70, 2)).astype(np.uint8)
    expected = channel_counts(pixels, 8)
    monkeypatch.setattr(histogram, "EXACT_PIXELS", 999)
    np.testing.assert_array_equal(channel_counts(pixels, 8), expected)


def test_counts_beyond_the_precision_of_float32_are_exact() -> None:
    counts = channel_counts(np.zeros((4097, 4097, 1), np.uint8), 8)
    assert counts[0, 0] == 4097 * 4097


def test_no_pixels_are_no_counts() -> None:
    assert channel_counts(np.zeros((0, 5, 2), np.uint8), 8).sum() == 0


@pytest.mark.parametrize("dtype", ["int16", "float32", "uint32"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match=dtype):
        channel_counts(np.zeros((2, 2, 1), dtype), 8)


@pytest.mark.parametrize("bits", [0, 17])
def test_other_depths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="no histogram"):
        channel_counts(np.zeros((2, 2, 1), np.uint8), bits)


def test_bounds_are_the_first_and_last_intensity_that_occurs() -> None:
    counts = np.zeros((4, 256), np.uint64)
    counts[0, [3, 9, 200]] = 1
    counts[1, 17] = 5
    counts[2, [0, 255]] = 2**40
    assert bounds(counts) == [(3, 200), (17, 17), (0, 255), (0, 255)]


def test_bounds_of_counted_pixels_are_their_range() -> None:
    pixels = np.random.default_rng(5).integers(300, 3000, (50, 50, 2)).astype(np.uint16)
    expected = [(int(pixels[..., c].min()), int(pixels[..., c].max())) for c in range(2)]
    assert bounds(channel_counts(pixels, 12)) == expected
