"""The stored histogram: written, read back, damaged, and of the version before."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pims.errors import CorruptFile, RepresentationNotFound, StorageError
from pims.images.histogram import (
    HistogramType,
    StoredHistogram,
    read_channel_bounds,
    read_histogram,
    write_histogram,
)
from pims.processing.histogram import Bins


@pytest.fixture
def stored() -> StoredHistogram:
    rng = np.random.default_rng(3)
    plane_counts = rng.integers(0, 1000, (1, 2, 2, 256)).astype(np.uint64)
    bounds = np.array([[[[3, 200], [4, 90]], [[1, 100], [5, 80]]]], np.int64)
    return StoredHistogram(
        HistogramType.FAST,
        Bins(0, 256, 256),
        np.asarray(plane_counts.sum(axis=(0, 1)), np.uint64),
        bounds,
        plane_counts,
        np.zeros((1, 2, 2, 2), np.uint64),
        640,
        480,
        level=3,
    )


def of_real_numbers(bounds: Any) -> StoredHistogram:
    """Whose plane bounds are these: (t, z, channel, 2)."""
    plane_bounds = np.array(bounds, np.float64)
    counts = np.ones((plane_bounds.shape[2], 7), np.uint64)
    absent = np.arange(plane_bounds.size, dtype=np.uint64).reshape(plane_bounds.shape)
    return StoredHistogram(
        HistogramType.COMPLETE, Bins(-1e300, 1e300, 7), counts, plane_bounds, None, absent, 5, 6
    )


def test_what_is_written_is_read_back(stored: StoredHistogram, tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    write_histogram(path, stored)
    again = read_histogram(path)
    for field in dataclasses.fields(StoredHistogram):
        before, after = getattr(stored, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(after, before)
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    assert again.channel_bounds() == ((1, 200), (4, 90)) == read_channel_bounds(path)
    assert again.bounds_at(z=1, t=0) == ((1, 100), (5, 80))
    assert again.image_bounds() == (1, 200)
    assert (again.image_counts() == stored.channel_counts.sum(axis=0)).all()
    assert all(type(bound) is int for bounds in again.channel_bounds() for bound in bounds)
    assert [file.name for file in tmp_path.iterdir()] == ["histogram"]


def test_real_numbers_are_read_back_as_such(tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    bounds = [[[[-1e300, 0.5], [math.nan, math.nan]]], [[[0.25, 1e300], [math.nan, math.nan]]]]
    write_histogram(path, of_real_numbers(bounds))
    again = read_histogram(path)
    assert again.channel_bounds() == ((-1e300, 1e300), (0.0, 1.0)) == read_channel_bounds(path)
    assert again.bounds_at(z=0, t=1) == ((0.25, 1e300), (0.0, 1.0))
    assert again.image_bounds() == (-1e300, 1e300)
    assert (again.plane_counts, again.level) == (None, None)
    assert again.absent.ravel().tolist() == list(range(8))
    assert again.bins.edges()[[0, -1]].tolist() == [-1e300, 1e300]


def test_an_image_without_any_number_has_bounds_that_can_be_shown() -> None:
    nothing = of_real_numbers([[[[math.nan, math.nan]]]])
    assert nothing.channel_bounds() == ((0.0, 1.0),)
    assert nothing.image_bounds() == (0.0, 1.0)


def test_counts_of_the_only_plane_are_those_of_its_channels(stored: StoredHistogram, tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    assert stored.plane_counts is not None
    one = dataclasses.replace(
        stored,
        plane_bounds=stored.plane_bounds[:, :1],
        plane_counts=stored.channel_counts[np.newaxis, np.newaxis],
        absent=stored.absent[:, :1],
    )
    write_histogram(path, one)
    with np.load(path) as arrays:
        assert "plane_counts" not in arrays.files
    again = read_histogram(path).plane_counts
    assert again is not None
    np.testing.assert_array_equal(again[0, 0], stored.channel_counts)


def test_a_file_of_version_1_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    counts = np.arange(2 * 4096, dtype=np.uint64).reshape(2, 4096)
    bounds = np.array([[[[3, 4000], [4, 90]], [[1, 100], [5, 80]]]], np.uint32)
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            version=np.uint32(1),
            type=np.str_("FAST"),
            size=np.array([640, 480], np.uint32),
            plane_bounds=bounds,
            channel_counts=counts,
        )
    assert read_channel_bounds(path) == ((1, 4000), (4, 90))
    old = read_histogram(path)
    assert (old.bins, old.level, old.plane_counts) == (Bins(0, 4096, 4096), None, None)
    assert (old.type, old.width, old.height) == (HistogramType.FAST, 640, 480)
    np.testing.assert_array_equal(old.channel_counts, counts)
    assert old.channel_bounds() == ((1, 4000), (4, 90))
    assert old.absent.shape == (1, 2, 2, 2) and not old.absent.any()


def test_every_damage_is_said_to_be_damage(stored: StoredHistogram, tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    write_histogram(path, stored)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(whole) + 1)]))
        try:
            read_histogram(path)
        except CorruptFile as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"version": np.uint32(3)},
        {"version": np.array([1, 2])},
        {"type": np.str_("SLOW")},
        {"size": np.array([1], np.uint32)},
        {"level": np.array([1, 2])},
        {"bins": np.array([0, math.nan, 256])},
        {"bins": np.array([0, math.inf, 256])},
        {"bins": np.array([0, 256, math.inf])},
        {"bins": np.array([0, 256, -1])},
        {"bins": np.array([0, 256])},
        {"plane_bounds": np.zeros((1, 2, 2, 2), np.float32)},
        {"plane_bounds": np.zeros((1, 2, 2), np.int64)},
        {"plane_bounds": np.full((1, 2, 2, 2), math.inf)},
        {"plane_bounds": np.array([[[[2, 1]] * 2] * 2])},
        {"channel_counts": np.zeros((3, 256), np.uint64)},
        {"channel_counts": np.zeros((2, 256), np.int64)},
        {"plane_counts": np.zeros((1, 2, 2, 255), np.uint64)},
        {"absent": np.zeros((1, 2, 2), np.uint64)},
    ],
    ids=str,
)
def test_what_contradicts_itself_is_said_to_be_damage(
    stored: StoredHistogram, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "histogram"
    write_histogram(path, stored)
    with np.load(path) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    with path.open("wb") as file:
        np.savez(file, **{**values, **change})
    with pytest.raises(CorruptFile, match="damaged"):
        read_histogram(path)


def test_what_is_no_histogram_is_said_to_be_damage(tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    for content in (b"", b"text", pickle.dumps({"version": 1})):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="damaged"):
            read_histogram(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_pickle_is_never_loaded(tmp_path: Path, version: int) -> None:
    path = tmp_path / "histogram"
    with path.open("wb") as file:
        np.savez(file, version=np.uint32(version), plane_bounds=np.array([{}], object))
    with pytest.raises(CorruptFile, match="damaged"):
        read_channel_bounds(path)


def test_no_histogram_and_that_of_an_older_server_are_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(RepresentationNotFound):
        read_histogram(tmp_path / "none")
    (tmp_path / "histogram").mkdir()
    with pytest.raises(RepresentationNotFound):
        read_histogram(tmp_path / "histogram")


def test_a_histogram_that_can_t_be_written_leaves_nothing(stored: StoredHistogram, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_histogram(tmp_path / "missing" / "histogram", stored)
    (tmp_path / "histogram").mkdir()
    with pytest.raises(StorageError):
        write_histogram(tmp_path / "histogram", stored)
    assert [file.name for file in tmp_path.iterdir()] == ["histogram"]
