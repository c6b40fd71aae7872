"""The histogram computed at import, written and read back."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pims.errors import CorruptFile, RepresentationNotFound, StorageError
from pims.files.source import LocalSource
from pims.images.histogram import (
    HistogramType,
    StoredHistogram,
    read_channel_bounds,
    read_histogram,
    write_histogram,
)
from pims.importer.histogram import compute_histogram


@pytest.fixture
def stored() -> StoredHistogram:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 1000, (2, 256)).astype(np.uint64)
    bounds = np.array([[[[3, 200], [4, 90]], [[1, 100], [5, 80]]]], np.uint32)
    return StoredHistogram(HistogramType.FAST, counts, bounds, 640, 480)


def test_what_is_written_is_read_back(stored: StoredHistogram, tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    write_histogram(path, stored)
    again = read_histogram(path)
    assert (again.channel_counts == stored.channel_counts).all()
    assert (again.plane_bounds == stored.plane_bounds).all()
    assert (again.type, again.width, again.height) == (HistogramType.FAST, 640, 480)
    assert again.channel_bounds() == ((1, 200), (4, 90)) == read_channel_bounds(path)
    assert [file.name for file in tmp_path.iterdir()] == ["histogram"]


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


def test_what_is_no_histogram_is_said_to_be_damage(tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    for content in (b"", b"text", pickle.dumps({"version": 1})):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="damaged"):
            read_histogram(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "histogram"
    with path.open("wb") as file:
        np.savez(file, version=np.uint32(1), plane_bounds=np.array([{}], object))
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


@pytest.mark.parametrize(("length", "kind"), [(300, HistogramType.COMPLETE), (64, HistogramType.FAST)])
def test_no_more_is_counted_than_the_length_allows(
    toys: Any, tmp_path: Path, length: int, kind: HistogramType
) -> None:
    (tmp_path / "a.toy").write_bytes(toys.Toy().as_bytes())
    with LocalSource(tmp_path / "a.toy") as source:
        histogram = compute_histogram(toys.ToyFormat(source), length, lambda fraction: None)
    assert histogram.type is kind
    assert max(histogram.width, histogram.height) <= length
    assert (histogram.channel_counts.sum(axis=1) == histogram.width * histogram.height).all()
    assert histogram.channel_counts.dtype == np.uint64
