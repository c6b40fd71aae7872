"""Pictures decoded as a whole: how often, how much is kept, what regions show."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pims.errors import LimitExceeded
from pims.files.source import LocalSource
from pims.formats.abstract import (
    AbstractFormat,
    AbstractParser,
    ReadContext,
    SignatureChecker,
)
from pims.formats.engines.raster import RasterReader, check_size, raster_metadata, read_file
from pims.formats.engines.tile_cache import TileCache
from pims.model.geometry import Region
from pims.model.limits import Limits
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane

WIDTH, HEIGHT = 61, 37
PICTURE = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


class CountingReader(RasterReader):
    """Decodes PICTURE, and counts."""

    decoded = 0

    def decode(self) -> NDArray[Any]:
        self.decoded += 1
        return PICTURE.copy()


class PictureParser(AbstractParser):
    def parse_main_metadata(self) -> ImageMetadata:
        return raster_metadata(WIDTH, HEIGHT, 3, 8)


class PictureFormat(AbstractFormat):
    checker_class = SignatureChecker
    parser_class = PictureParser
    reader_class = CountingReader


class Exhausted(CountingReader):
    def decode(self) -> NDArray[Any]:
        raise MemoryError


class ExhaustedFormat(PictureFormat):
    reader_class = Exhausted


@pytest.fixture
def source(tmp_path: Path) -> LocalSource:
    (tmp_path / "picture").write_bytes(b"anything")
    return LocalSource(tmp_path / "picture")


def read(image: AbstractFormat, region: Region, reduction: int = 1) -> NDArray[Any]:
    return image.reader.read_region(image.pyramid.base, region, Plane(), reduction)


def counter(image: AbstractFormat) -> CountingReader:
    assert isinstance(image.reader, CountingReader)
    return image.reader


def slow_reduced(pixels: NDArray[Any], reduction: int) -> NDArray[Any]:
    """The mean of every block, edges repeated; obvious and slow."""
    down, right = -pixels.shape[0] % reduction, -pixels.shape[1] % reduction
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge").astype(float)
    rows = [
        [
            padded[y : y + reduction, x : x + reduction].mean(axis=(0, 1))
            for x in range(0, padded.shape[1], reduction)
        ]
        for y in range(0, padded.shape[0], reduction)
    ]
    return np.array(rows)


def test_regions_show_the_picture_and_it_is_decoded_once(source: LocalSource) -> None:
    with source, PictureFormat(source) as image:
        for region in (Region(0, 0, WIDTH, HEIGHT), Region(5, 7, 11, 13), Region(60, 36, 1, 1)):
            pixels = read(image, region)
            assert pixels.flags.c_contiguous
            expected = PICTURE[region.top : region.bottom, region.left : region.right]
            np.testing.assert_array_equal(pixels, expected)
        assert counter(image).decoded == 1


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_regions_are_means_of_blocks(source: LocalSource, reduction: int) -> None:
    with source, PictureFormat(source) as image:
        whole = read(image, Region(0, 0, WIDTH, HEIGHT), reduction)
        assert whole.shape == (-(-HEIGHT // reduction), -(-WIDTH // reduction), 3)
        np.testing.assert_allclose(whole, slow_reduced(PICTURE, reduction), atol=0.51)
        part = read(image, Region(16, 8, 20, 9), reduction)
        rows, columns = -(-9 // reduction), -(-20 // reduction)
        top, left = 8 // reduction, 16 // reduction
        np.testing.assert_array_equal(part, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_bands_read_one_after_the_other_cost_one_decoding(source: LocalSource, cache_bytes: int) -> None:
    with source, PictureFormat(source, context=ReadContext(tile_cache=TileCache(cache_bytes))) as image:
        bands = [read(image, Region(0, y, WIDTH, min(8, HEIGHT - y))) for y in range(0, HEIGHT, 8)]
        np.testing.assert_array_equal(np.concatenate(bands), PICTURE)
        assert counter(image).decoded == 1


def test_a_picture_the_cache_keeps_is_not_held_twice_and_a_held_one_is_released(source: LocalSource) -> None:
    with source:
        with PictureFormat(source) as image:
            read(image, Region(0, 0, 1, 1))
            assert counter(image)._held is None
        with PictureFormat(source, context=ReadContext(tile_cache=TileCache(0))) as image:
            read(image, Region(0, 0, 1, 1))
            assert counter(image)._held is not None
        assert counter(image)._held is None


def test_threads_share_one_decoding_of_a_heavy_picture(source: LocalSource) -> None:
    with source, PictureFormat(source, context=ReadContext(tile_cache=TileCache(0))) as image:
        results: list[NDArray[Any]] = []
        threads = [
            threading.Thread(target=lambda: results.append(read(image, Region(0, 0, WIDTH, HEIGHT))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter(image).decoded == 1
        assert all(np.array_equal(result, PICTURE) for result in results)


def test_pixels_handed_out_can_not_damage_the_cache(source: LocalSource) -> None:
    with source, PictureFormat(source) as image:
        pixels = read(image, Region(0, 0, WIDTH, HEIGHT))
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 0


def test_running_out_of_memory_is_a_limit(source: LocalSource) -> None:
    with source, ExhaustedFormat(source) as image, pytest.raises(LimitExceeded, match="memory"):
        read(image, Region(0, 0, 1, 1))


def test_sizes_beyond_the_limits_are_refused_with_their_numbers(source: LocalSource) -> None:
    limits = Limits(max_side=100, max_decode_pixels=1000, max_segment_bytes=4)
    check_size(100, 10, limits)
    with pytest.raises(LimitExceeded, match="101 x 1 px"):
        check_size(101, 1, limits)
    with pytest.raises(LimitExceeded, match="100 x 11 px"):
        check_size(100, 11, limits)
    with source, pytest.raises(LimitExceeded, match="8 bytes"):
        read_file(source, limits)
