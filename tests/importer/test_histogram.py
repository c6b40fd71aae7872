"""The histogram computed at import, against counts of all pixels that should be in it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.files.source import LocalSource
from pims.images.histogram import HistogramType, StoredHistogram, read_histogram
from pims.importer import histogram
from pims.importer.histogram import compute_histogram, import_histogram
from pims.model.shown import PIXEL_TYPES

Count = Callable[..., StoredHistogram]


def silent(fraction: float) -> None:
    pass


@pytest.fixture
def count(toys: Any, tmp_path: Path) -> Count:
    """The histogram of an image of these pixels: (t, z, c, height, width, samples)."""

    def run(
        pixels: NDArray[Any], bits: int | None = None, *, length: int = 1024, tile: int = 32, **options: Any
    ) -> StoredHistogram:
        t, z, c, height, width, samples = pixels.shape
        toy = toys.Toy(
            width,
            height,
            samples,
            pixels.dtype.name,
            bits or 8 * pixels.itemsize,
            depth=z,
            duration=t,
            channels=c,
            tile=tile,
        )
        path = tmp_path / "image.toy"
        path.write_bytes(toys.MAGIC + json.dumps(dataclasses.asdict(toy)).encode() + b"\n" + pixels.tobytes())
        with LocalSource(path) as source, toys.ToyFormat(source) as image:
            return compute_histogram(image, length, silent, **options)

    return run


def noise(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(8)
    if dtype.startswith("float"):
        return (rng.random(shape) * 3 - 1).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def assert_is_of(found: StoredHistogram, pixels: NDArray[Any]) -> None:
    """Bounds and counts of every plane, channel and of the image follow from (t, z, c, h, w, samples)."""
    by_channel = np.moveaxis(pixels, 5, 3)  # (t, z, c, samples, height, width)
    by_channel = by_channel.reshape(*pixels.shape[:2], -1, *pixels.shape[3:5])
    assert found.plane_bounds.shape == (*by_channel.shape[:3], 2)
    np.testing.assert_array_equal(found.plane_bounds[..., 0], by_channel.min(axis=(3, 4)))
    np.testing.assert_array_equal(found.plane_bounds[..., 1], by_channel.max(axis=(3, 4)))
    assert found.image_bounds() == (pixels.min(), pixels.max())
    assert [low for low, _ in found.channel_bounds()] == by_channel.min(axis=(0, 1, 3, 4)).tolist()
    assert found.plane_counts is not None
    edges = found.bins.edges()
    for place in np.ndindex(*by_channel.shape[:3]):
        # np.histogram counts what is outside nowhere; all values are inside.
        expected, _ = np.histogram(by_channel[place].astype(np.float64), edges)
        counts = found.plane_counts[place].astype(int)
        if pixels.dtype.kind == "f":  # an edge and its value may be rounded apart
            assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= 1
        else:
            np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(found.channel_counts, found.plane_counts.sum(axis=(0, 1)))
    assert found.image_counts().sum() == pixels.size


@pytest.mark.parametrize("dtype", PIXEL_TYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 40, 50, 3), (2, 3, 2, 9, 70, 1), (1, 2, 2, 33, 31, 3)])
def test_every_pixel_of_a_small_image_is_counted(
    count: Count, dtype: str, shape: tuple[int, int, int, int, int, int]
) -> None:
    pixels = noise(shape, dtype)
    found = count(pixels)
    assert found.type is HistogramType.COMPLETE
    assert (found.level, found.width, found.height) == (0, shape[4], shape[3])
    assert not found.absent.any()
    assert_is_of(found, pixels)
    kind = np.float64 if dtype.startswith("float") else np.int64
    assert found.plane_bounds.dtype == kind


@pytest.mark.parametrize(
    ("dtype", "bits", "bins"),
    [
        ("uint8", 1, (0, 2, 2)),
        ("uint8", 8, (0, 256, 256)),
        ("uint16", 12, (0, 4096, 4096)),
        ("int8", 8, (-128, 128, 256)),
        ("int16", 16, (-32768, 32768, 65536)),
        ("uint32", 20, (5, 5 + 100 * 99 + 1, 1024)),
        ("int32", 32, (5, 5 + 100 * 99 + 1, 1024)),
        ("float32", 32, (5.0, 5.0 + 100 * 99, 1024)),
    ],
)
def test_bins_are_whole_numbers_or_intervals_of_what_is_there(
    count: Count, dtype: str, bits: int, bins: tuple[float, float, int]
) -> None:
    step = 100 if np.dtype(dtype).itemsize >= 4 else 1
    values = (np.arange(100) * step + 5) if step > 1 else np.arange(100) % 2
    found = count(values.astype(dtype).reshape(1, 1, 1, 10, 10, 1), bits)
    assert (found.bins.lowest, found.bins.highest, found.bins.count) == bins


def test_few_wide_integers_have_a_bin_each(count: Count) -> None:
    pixels = (np.arange(100) + 2**32 - 100).astype(np.uint32).reshape(1, 1, 1, 10, 10, 1)
    found = count(pixels)
    assert (found.channel_counts == 1).all() and found.bins.count == 100
    assert found.channel_bounds() == ((2**32 - 100, 2**32 - 1),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_number_is_counted_apart_and_widens_no_bounds(count: Count, dtype: str) -> None:
    pixels = noise((2, 1, 1, 20, 30, 3), dtype)
    pixels[0, 0, 0, 3, 4:7, 1] = math.nan
    pixels[0, 0, 0, 5, 4, 1] = math.inf
    pixels[0, 0, 0, 6, 4, 2] = -math.inf
    pixels[1, ..., 0] = math.nan
    found = count(pixels)
    assert found.absent.tolist() == [[[[0, 0], [3, 1], [0, 1]]], [[[600, 0], [0, 0], [0, 0]]]]
    assert np.isnan(found.plane_bounds[1, 0, 0]).all()
    finite = pixels[np.isfinite(pixels)]
    assert found.image_bounds() == (finite.min(), finite.max())
    assert found.image_counts().sum() == finite.size
    assert found.bounds_at(z=0, t=1)[0] == (0.0, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1e300, -1.7e308, 5e-324, 3.4e38, -0.0])
def test_an_image_of_one_value_is_counted_whatever_it_is(count: Count, value: float) -> None:
    found = count(np.full((1, 2, 1, 8, 9, 1), value))
    present = 144 if math.isfinite(value) else 0
    assert (found.image_counts().sum(), found.absent.sum()) == (present, 144 - present)
    assert found.channel_bounds() == (((value, value) if present else (0.0, 1.0)),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mark", [-3.4028234663852886e38, -3.40282265508890445e38, 3.4028234663852886e38])
def test_marks_of_pixels_without_data_widen_no_bounds(count: Count, dtype: str, mark: float) -> None:
    pixels = noise((1, 1, 1, 20, 30, 1), dtype)
    expected = count(pixels[:, :, :, 10:])
    pixels[0, 0, 0, :10] = mark
    found = count(pixels)
    assert found.channel_bounds() == expected.channel_bounds()
    assert found.absent.tolist() == [[[[0, 300]]]]
    np.testing.assert_array_equal(found.channel_counts, expected.channel_counts)


def test_a_mark_rounded_up_in_float64_is_one_too(count: Count) -> None:
    pixels = np.array([1.5, -3.4028235e38, 2.5, 1e39]).reshape(1, 1, 1, 2, 2, 1)
    found = count(pixels)
    assert found.channel_bounds() == ((1.5, 1e39),)
    assert found.absent.tolist() == [[[[0, 1]]]]


def test_ranges_wider_than_float64_can_say_do_not_overflow(count: Count) -> None:
    pixels = np.array([-1.7e308, 1.7e308, 0, 0]).reshape(1, 1, 1, 2, 2, 1)
    found = count(pixels)
    assert found.channel_bounds() == ((-1.7e308, 1.7e308),)
    assert (found.channel_counts[0, [0, 512, -1]] == [1, 2, 1]).all()


@pytest.mark.parametrize(
    ("max_pixels", "length", "kind"),
    [
        (60_000, 64, HistogramType.COMPLETE),
        (59_999, 300, HistogramType.COMPLETE),
        (59_999, 299, HistogramType.FAST),
        (1, 64, HistogramType.FAST),
        (1, 1, HistogramType.FAST),
    ],
)
def test_no_more_is_counted_than_the_settings_allow(
    count: Count, max_pixels: int, length: int, kind: HistogramType
) -> None:
    pixels = noise((1, 1, 1, 200, 300, 3), "uint8")
    found = count(pixels, length=length, max_pixels=max_pixels)
    assert found.type is kind
    assert kind is HistogramType.COMPLETE or max(found.width, found.height) <= length
    assert (found.channel_counts.sum(axis=1) == found.width * found.height).all()
    assert found.channel_counts.dtype == np.uint64


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_thumb_is_that_of_the_tier_that_is_named(count: Count, dtype: str) -> None:
    pixels = noise((1, 2, 1, 230, 310, 3), dtype)
    for length, level, step in ((150, 1, 2), (200, 0, 2), (30, 1, 8)):
        found = count(pixels, length=length, max_pixels=1)
        tier = pixels[:, :, :, :: 2**level, :: 2**level]
        expected = tier[:, :, :, ::step, ::step]
        assert found.level == level
        assert (found.height, found.width) == expected.shape[3:5]
        assert_is_of(found, expected)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 100),
    st.sampled_from([1, 7, 16, 64]),
    st.sampled_from([1, 2000, 1 << 20]),
    st.sampled_from(["uint8", "int16", "int32", "float64"]),
)
def test_bands_and_second_looks_do_not_show(
    count: Count, width: int, height: int, length: int, tile: int, band_bytes: int, dtype: str
) -> None:
    pixels = noise((1, 2, 1, height, width, 1), dtype)
    expected = count(pixels, length=length, tile=128, max_pixels=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histogram, "BAND_BYTES", band_bytes)
        patch.setattr(histogram, "KEPT_BYTES", 0)
        found = count(pixels, length=length, tile=tile, max_pixels=1)
    assert (found.width, found.height, found.level) == (expected.width, expected.height, expected.level)
    assert found.bins == expected.bins
    np.testing.assert_array_equal(found.channel_counts, expected.channel_counts)
    np.testing.assert_array_equal(found.plane_bounds, expected.plane_bounds)


def test_counts_of_planes_are_left_out_when_they_are_many(
    count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise((3, 4, 1, 10, 10, 1), "uint8")
    whole = count(pixels)
    monkeypatch.setattr(histogram, "MAX_PLANE_BINS", 12 * 256 - 1)
    found = count(pixels)
    assert whole.plane_counts is not None and found.plane_counts is None
    np.testing.assert_array_equal(found.channel_counts, whole.channel_counts)
    np.testing.assert_array_equal(found.plane_bounds, whole.plane_bounds)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_progress_rises_to_one_and_the_file_is_written(toys: Any, tmp_path: Path, dtype: str) -> None:
    (tmp_path / "a.toy").write_bytes(toys.Toy(dtype=dtype, depth=3).as_bytes())
    told: list[float] = []
    with LocalSource(tmp_path / "a.toy") as source, toys.ToyFormat(source) as image:
        import_histogram(image, tmp_path / "histogram", 64, told.append, max_pixels=1000)
    assert told == sorted(told) and told[-1] == 1.0 and len(told) >= 3
    assert read_histogram(tmp_path / "histogram").type is HistogramType.FAST
