"""Regions composed from tiles, against slices of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.files.source import LocalSource
from pims.formats.engines.tiff.compose import TiffImage
from pims.formats.engines.tiff.directory import parse_tiff
from pims.formats.engines.tile_cache import TileCache
from pims.model.geometry import Region
from pims.model.limits import Limits
from pims.testing.format_tests import block_means
from tests.formats.tiff_files import build, jpeg_of, noise, page_of, smooth, split_tables, tiles_of

WIDTH, HEIGHT = 83, 70


@pytest.fixture
def image_of(tmp_path: Path) -> Iterator[Any]:
    """`image_of(data)`: the first directory, opened until the test ends."""
    sources: list[LocalSource] = []

    def run(data: bytes, cache: TileCache | None = None) -> TiffImage:
        path = tmp_path / f"{len(sources)}.tif"
        path.write_bytes(data)
        sources.append(LocalSource(path))
        return TiffImage(parse_tiff(sources[-1], Limits()).directories[0], cache or TileCache())

    yield run
    for source in sources:
        source.close()


def tiled(pixels: NDArray[Any], tile: tuple[int, int]) -> bytes:
    return build([page_of(pixels, [part.tobytes() for part in tiles_of(pixels, *tile)], tile)])


def in_strips(pixels: NDArray[Any], rows: int) -> bytes:
    strips = [pixels[top : top + rows].tobytes() for top in range(0, len(pixels), rows)]
    return build([page_of(pixels, list(strips), rows=rows)])


def jpeg_tiled(pixels: NDArray[Any], side: int) -> bytes:
    coded = [split_tables(jpeg_of(part, rgb=True)) for part in tiles_of(pixels, side, side)]
    streams = [stream for _, stream in coded]
    page = page_of(pixels, list(streams), (side, side), compression=7, tags={347: (7, coded[0][0])})
    return build([page])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_region_is_the_slice_of_the_whole(data: st.DataObject, image_of: Any) -> None:
    width, height = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    pixels = noise(width, height, data.draw(st.sampled_from([1, 3])))
    layout = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.integers(1, 70))
    image = image_of(in_strips(pixels, layout) if isinstance(layout, int) else tiled(pixels, layout))
    for reduction in (1, 2, 4, 8):
        whole = np.rint(block_means(pixels, reduction))
        left = data.draw(st.integers(0, (width - 1) // reduction)) * reduction
        top = data.draw(st.integers(0, (height - 1) // reduction)) * reduction
        region = Region(
            left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
        )
        found = image.read(region, reduction)
        assert found.shape[:2] == (-(-region.height // reduction), -(-region.width // reduction))
        assert found.flags.c_contiguous and found.dtype == np.uint8
        # The last row and column may stand for pixels after the region, or repeat its own.
        right, bottom = region.right // reduction, region.bottom // reduction
        expected = whole[top // reduction : bottom, left // reduction : right]
        assert np.abs(found[: expected.shape[0], : expected.shape[1]] - expected).max(initial=0) <= 1


@pytest.mark.parametrize("tile", [(16, 16), (24, 40), (25, 9), (100, 100)])
def test_at_the_edges_of_the_image_the_last_pixels_count_as_often_as_it_takes(
    tile: tuple[int, int], image_of: Any
) -> None:
    pixels = noise(WIDTH, HEIGHT)
    image = image_of(tiled(pixels, tile))
    for reduction in (2, 4, 8):
        found = image.read(Region(0, 0, WIDTH, HEIGHT), reduction)
        assert np.abs(found - block_means(pixels, reduction)).max() <= 0.5


def test_the_padding_of_edge_tiles_does_not_leak_in(image_of: Any) -> None:
    pixels = np.full((30, 30, 3), 200, np.uint8)
    parts = []
    for part in tiles_of(np.pad(pixels, ((0, 2), (0, 2), (0, 0)), constant_values=7), 16, 16):
        parts.append(part.tobytes())
    image = image_of(build([page_of(pixels, list(parts), (16, 16))]))
    for reduction in (1, 2, 4, 8):
        assert (image.read(Region(0, 0, 30, 30), reduction) == 200).all()


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_jpeg_tiles_make_the_picture(reduction: int, image_of: Any) -> None:
    pixels = smooth(WIDTH, HEIGHT)
    found = image_of(jpeg_tiled(pixels, 32)).read(Region(0, 0, WIDTH, HEIGHT), reduction)
    assert np.abs(found - block_means(pixels, reduction)).max() <= 8


def test_large_regions_of_odd_tiles_are_shrunk_in_bands(
    image_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pims.formats.engines.tiff.compose.BAND_PIXELS", 100)
    pixels = noise(WIDTH, 333)
    image = image_of(tiled(pixels, (25, 9)))
    for reduction in (2, 4, 8):
        found = image.read(Region(0, 0, WIDTH, 333), reduction)
        assert np.abs(found - block_means(pixels, reduction)).max() <= 0.5


def test_tiles_come_from_the_cache_and_can_not_be_written(image_of: Any) -> None:
    cache = TileCache()
    image = image_of(tiled(noise(64, 64), (32, 32)), cache)
    whole = Region(0, 0, 32, 32)
    assert image.read(whole).flags.writeable
    assert cache.bytes_used == 0  # who asks every tile once need not pay for keeping them
    kept = image.read(whole)
    assert cache.bytes_used == kept.nbytes
    assert not kept.flags.writeable
    assert np.shares_memory(image.read(whole), kept)
    image.read(Region(0, 0, 33, 33))
    assert cache.bytes_used == 4 * kept.nbytes  # the neighbours of a part will be asked for the rest


def test_two_files_do_not_share_tiles(image_of: Any) -> None:
    cache = TileCache()
    one, other = noise(32, 32), noise(32, 32, seed=1)
    region = Region(0, 0, 32, 32)
    assert np.array_equal(image_of(tiled(one, (32, 32)), cache).read(region), one)
    assert np.array_equal(image_of(tiled(other, (32, 32)), cache).read(region), other)


def test_only_whole_tiles_of_jpeg_are_given_as_stored(image_of: Any) -> None:
    image = image_of(jpeg_tiled(smooth(WIDTH, HEIGHT), 32))
    given_as_stored = {
        (column, row)
        for column in range(3)
        for row in range(3)
        if image.stored(column, row, may_block=True) is not None
    }
    assert given_as_stored == {(0, 0), (1, 0), (0, 1), (1, 1)}
    assert image_of(tiled(noise(64, 64), (32, 32))).stored(0, 0, may_block=True) is None


def test_a_stored_tile_that_is_no_jpeg_is_damage(image_of: Any) -> None:
    page = page_of(noise(16, 16, 1), [b"no JPEG"], (16, 16), compression=7)
    with pytest.raises(CorruptFile):
        image_of(build([page])).stored(0, 0, may_block=True)
