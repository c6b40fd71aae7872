"""Images with overviews look as without, and low zooms of them cost little."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pims.files.manifest import Manifest
from pims.formats.engines.tiff.metadata import TiffReader
from pims.images.image import OpenedImage
from pims.images.opener import Opener
from pims.images.overviews import overviews_size
from pims.images.render import ThumbRequest, TileRequest, render, stored_tile
from pims.model.pyramid import Pyramid
from pims.processing.request import DisplaySettings
from tests.images.conftest import ImportSlide, box_mean, smooth, write_levels

PLAIN = DisplaySettings()
WIDTH, HEIGHT = 2222, 1111


@pytest.fixture
def pixels() -> NDArray[Any]:
    return smooth(WIDTH, HEIGHT)


@pytest.fixture
def slide(tmp_path: Path, pixels: NDArray[Any], import_slide: ImportSlide) -> str:
    """Two levels, 2222 x 1111 and half of it, in JPEG tiles of 256 px; 278 x 139 is larger than a tile."""
    half = box_mean(pixels, 2).astype(np.uint8)
    options = {"compression": "jpeg", "compressionargs": {"level": 95}}
    return import_slide(write_levels(tmp_path / "two.tif", [pixels, half], (256, 256), **options))


@pytest.fixture
def opened(opener: Opener, slide: str) -> Callable[[], OpenedImage]:
    def open_it() -> OpenedImage:
        directory, manifest, _, _ = opener.resolve(slide)
        return opener.open(directory, manifest)

    return open_it


def decoded(data: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def sizes(image: OpenedImage) -> list[tuple[int, int]]:
    return [(tier.width, tier.height) for tier in image.reading_pyramid.tiers]


def test_the_first_missing_tier_is_half_of_the_coarsest_unless_that_is_one_tile() -> None:
    assert overviews_size(Pyramid.of([(1000, 257, 256, 256)])) == (500, 129)
    assert overviews_size(Pyramid.of([(5000, 5000, 240, 240), (256, 200, 240, 240)])) is None
    assert overviews_size(Pyramid.of([(257, 1, 512, 512)])) == (129, 1)


def test_the_pyramid_goes_on_to_one_tile(opened: Callable[[], OpenedImage]) -> None:
    image = opened()
    assert sizes(image) == [(2222, 1111), (1111, 556), (556, 278), (278, 139), (139, 70)]
    assert [tier.level for tier in image.reading_pyramid.tiers] == [0, 1, 2, 3, 4]
    assert len(image.pyramid.tiers) == 2  # what clients count stays as it is in the file
    assert [tier.scale_x for tier in image.reading_pyramid.tiers] == [1, 2, 4, 8, 16]
    image.close()


def test_tiles_of_the_overviews_are_sent_as_they_are_stored(opened: Callable[[], OpenedImage]) -> None:
    image = opened()
    request = TileRequest(True, 2, 0, 0, PLAIN, "image/jpeg")
    stored = stored_tile(image, request)
    assert stored is not None
    expected = decoded(render(image, TileRequest(True, 2, 0, 0, PLAIN, "image/png")))
    assert np.abs(decoded(stored.data).astype(int) - expected).max() <= 2
    image.close()


@pytest.mark.parametrize("level", [2, 3, 4])
def test_their_pixels_are_means_of_the_base(
    opened: Callable[[], OpenedImage], pixels: NDArray[Any], level: int
) -> None:
    image = opened()
    tile = decoded(render(image, TileRequest(True, level, 0, 0, PLAIN, "image/png"))).astype(float)
    expected = box_mean(pixels, 2**level)[:256, :256]
    assert tile.shape == expected.shape
    difference = np.abs(tile - expected)[:-1, :-1]  # rounding of sizes shows in the last row and column
    assert difference.mean() < level
    image.close()


def test_a_thumb_decodes_nothing_of_the_image_itself(
    opened: Callable[[], OpenedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = opened()
    read: list[object] = []
    original = TiffReader.read_region

    def counting(self: TiffReader, *arguments: Any) -> NDArray[Any]:
        read.append(self.format)
        return original(self, *arguments)

    monkeypatch.setattr(TiffReader, "read_region", counting)
    render(image, ThumbRequest(256, 128, PLAIN, "image/jpeg"))
    assert read
    assert image.spatial not in read
    image.close()


def _missing(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _other(path: Path) -> None:
    path.unlink()
    tifffile.imwrite(path, smooth(300, 300), tile=(256, 256), metadata=None)


def _link(path: Path) -> None:
    outside = path.parents[2] / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def _noise(path: Path) -> None:
    path.write_bytes(b"II*\0" + bytes(100))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_missing, _cut, _other, _link, _noise, _folder])
def test_without_usable_overviews_the_image_opens_as_before(
    opened: Callable[[], OpenedImage],
    root: Path,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (overviews,) = root.glob("upload-*/processed/overviews")
    damage(overviews)
    before = len(os.listdir("/proc/self/fd"))
    with caplog.at_level(logging.WARNING):
        image = opened()
    assert "overviews" in caplog.text
    assert "pims check --repair" in caplog.text
    assert sizes(image) == [(2222, 1111), (1111, 556)]
    assert decoded(render(image, ThumbRequest(256, 128, PLAIN, "image/png"))).shape == (128, 256, 3)
    image.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_upload_of_an_older_server_has_none(
    opened: Callable[[], OpenedImage], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = root.glob("upload-*/processed/manifest.json")
    values = json.loads(path.read_text())
    del values["digests"]["processed/overviews"]
    path.write_text(json.dumps(values))
    Manifest.read(path)
    image = opened()
    assert len(image.reading_pyramid.tiers) == 2
    assert not caplog.text
    image.close()
