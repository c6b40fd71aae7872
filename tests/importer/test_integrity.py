"""The check before an image is accepted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.importer import integrity
from pims.importer.integrity import check_integrity
from pims.model.planes import Plane


class Watched:
    """Notes what is read of a toy."""

    def __init__(self, image: Any) -> None:
        self.read: list[tuple[int, int, int, Plane]] = []
        original = image.reader.read_region

        def read_region(tier: Any, region: Any, plane: Plane, reduction: int = 1) -> Any:
            self.read.append((tier.level, region.left, region.top, plane))
            return original(tier, region, plane, reduction)

        image.reader.read_region = read_region


@pytest.fixture
def opened(toys: Any, tmp_path: Path) -> Any:
    sources: list[LocalSource] = []

    def open_toy(**fields: Any) -> Any:
        path = tmp_path / f"{len(sources)}.toy"
        path.write_bytes(toys.Toy(**fields).as_bytes())
        sources.append(LocalSource(path))
        return toys.ToyFormat(sources[-1])

    yield open_toy
    for source in sources:
        source.close()


def check(image: Any) -> list[float]:
    fractions: list[float] = []
    check_integrity(image, fractions.append)
    return fractions


def test_the_corners_of_every_tier_and_a_tile_of_every_plane_are_read(opened: Any) -> None:
    image = opened(width=1000, height=600, samples=1, depth=2, duration=2, tiers=3)
    watched = Watched(image)
    fractions = check(image)
    for tier in image.pyramid.tiers:
        right, bottom = (tier.columns - 1) * tier.tile_width, (tier.rows - 1) * tier.tile_height
        for left, top in ((0, 0), (right, 0), (0, bottom), (right, bottom)):
            assert (tier.level, left, top, Plane()) in watched.read
    planes = {plane for _, _, _, plane in watched.read}
    assert planes == {Plane(0, z, t) for z in range(2) for t in range(2)}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_of_a_tile_of_any_size_only_the_last_rows_are_read(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "LARGE_TILE", 10_000)
    monkeypatch.setattr(integrity, "PART", 64)
    image = opened(width=900, height=700, tile=1024, tiers=1)
    watched = Watched(image)
    check(image)
    assert watched.read[0] == (0, 900 - 64, 700 - 64, Plane())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"width": 0}, CorruptFile),
        ({"pixel_type": "float32"}, CorruptFile),
        ({"significant_bits": 9}, CorruptFile),
        ({"significant_bits": 0}, CorruptFile),
        ({"width": 301}, CorruptFile),
        ({"n_samples": 4}, UnsupportedFeature),
        ({"n_samples": 1}, CorruptFile),
        ({"n_concrete_channels": 2}, UnsupportedFeature),
        ({"depth": 0}, CorruptFile),
    ],
)
def test_metadata_that_contradict_are_refused(opened: Any, change: Any, error: type[FileError]) -> None:
    image = opened()
    changed = dataclasses.replace(image.main_imd, **change)
    image.clear_cache()
    image.parser.parse_main_metadata = lambda: changed
    with pytest.raises(error):
        check(image)


def test_a_label_that_is_listed_has_to_be_there(opened: Any) -> None:
    check(opened(associated="label"))
    with pytest.raises(CorruptFile, match="macro"):
        check(opened(associated="macro"))


def test_raw_metadata_are_evaluated(opened: Any) -> None:
    image = opened()

    def fail() -> Any:
        raise CorruptFile("The raw metadata are damaged.")

    image.parser.parse_raw_metadata = fail
    with pytest.raises(CorruptFile, match="raw metadata"):
        check(image)


def test_a_thumb_that_is_smaller_than_asked_is_refused(opened: Any) -> None:
    image = opened()
    original = image.reader.read_thumb
    image.reader.read_thumb = lambda width, height: original(width, height)[::2, ::2].copy()
    with pytest.raises(CorruptFile, match="the thumb"):
        check(image)
