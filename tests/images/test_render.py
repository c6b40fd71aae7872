"""Pixels of tiles, thumbs and windows against the obvious."""

from __future__ import annotations

import io
import math
import uuid
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.images.image import OpenedImage
from pims.images.pool import ImagePool
from pims.images.render import ThumbRequest, TileRequest, WindowRequest, render, stored_tile
from pims.model.geometry import Region
from pims.processing.request import AutoBound, DisplaySettings
from pims.testing.slides import coded_pixels, decoded_positions, write_pyramid
from tests.images.conftest import ImportSlide, box_mean, smooth, write_levels

PLAIN = DisplaySettings()


def decoded(png: bytes) -> NDArray[Any]:
    pixels: NDArray[Any] = imagecodecs.png_decode(png)
    return pixels.reshape(*pixels.shape[:2], -1)


def tile(image: OpenedImage, level: int, column: int, row: int, **given: Any) -> NDArray[Any]:
    request = {"normalized": True, "display": PLAIN, "media_type": "image/png", **given}
    return decoded(render(image, TileRequest(level=level, column=column, row=row, **request)))


def joined(image: OpenedImage, level: int, *, normalized: bool = True) -> NDArray[Any]:
    """A whole tier put together from its tiles."""
    tier = (image.normalized_pyramid if normalized else image.pyramid).tiers[level]
    rows = [
        np.hstack([tile(image, level, column, row, normalized=normalized) for column in range(tier.columns)])
        for row in range(tier.rows)
    ]
    return np.vstack(rows)


@pytest.fixture
def open_slide(import_slide: ImportSlide, pool: ImagePool, request: pytest.FixtureRequest) -> Any:
    """Import a file and lease it until the test ends."""

    def run(path: Path) -> OpenedImage:
        lease = pool.lease(import_slide(path))
        request.addfinalizer(lambda: lease.__exit__(None, None, None))
        return lease.__enter__()

    return run


def test_tiles_are_where_they_say(tmp_path: Path, open_slide: Any) -> None:
    image = open_slide(write_pyramid(tmp_path / "coded.tif", coded_pixels(1000, 700)))
    for column, row in ((0, 0), (3, 0), (0, 2), (3, 2), (1, 1)):
        positions = decoded_positions(tile(image, 0, column, row))
        assert tuple(positions[0, 0]) == (256 * column, 256 * row)
        assert tuple(positions[-1, -1]) == (min(256 * column + 255, 999), min(256 * row + 255, 699))


@pytest.mark.parametrize("size", [(1000, 700), (513, 1025), (256, 256), (300, 40)])
def test_every_normalized_tier_of_a_normalized_pyramid_is_stored(
    tmp_path: Path, open_slide: Any, size: tuple[int, int]
) -> None:
    pixels = smooth(*size)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    for level, tier in enumerate(image.normalized_pyramid.tiers):
        whole = joined(image, level)
        assert whole.shape == (tier.height, tier.width, 3)
        assert np.abs(whole - box_mean(pixels, 2**level)).max() <= 1 + level
        assert np.array_equal(joined(image, level, normalized=False), whole)
    assert np.array_equal(joined(image, 0), pixels)


@pytest.mark.parametrize(("tile_side", "size"), [(240, (777, 1001)), (512, (1100, 900)), (64, (999, 513))])
def test_normalized_tiles_are_cut_from_any_grid(
    tmp_path: Path, open_slide: Any, tile_side: int, size: tuple[int, int]
) -> None:
    pixels = smooth(*size)
    halved = np.rint(box_mean(pixels, 2)).astype(np.uint8)
    path = write_levels(tmp_path / "foreign.tif", [pixels, halved], (tile_side, tile_side))
    image = open_slide(path)
    assert np.array_equal(joined(image, 0), pixels)
    assert np.array_equal(joined(image, 1), halved)
    assert np.array_equal(joined(image, 0, normalized=False), pixels)


@pytest.mark.parametrize("factor", [3, 4, 16])
def test_missing_tiers_are_made_from_the_next_finer_one_without_seams(
    tmp_path: Path, open_slide: Any, factor: int
) -> None:
    pixels = smooth(2100, 1500)
    coarse = np.rint(box_mean(pixels, factor)).astype(np.uint8)
    image = open_slide(write_levels(tmp_path / "gaps.tif", [pixels, coarse], (256, 256)))
    for level, tier in enumerate(image.normalized_pyramid.tiers):
        whole = joined(image, level).astype(int)
        assert whole.shape == (tier.height, tier.width, 3)
        expected = box_mean(pixels, 2**level)
        assert np.abs(whole - expected).max() <= 3 + 4 * level  # a coarse pixel covers several slopes
        assert np.abs(whole - expected).mean() <= 1 + level / 2


def test_an_edge_pixel_is_not_mixed_with_the_padding_of_its_tile(tmp_path: Path, open_slide: Any) -> None:
    white = np.full((301, 301, 3), 255, np.uint8)
    small = np.full((76, 76, 3), 255, np.uint8)
    path = write_levels(tmp_path / "white.tif", [white, small], (256, 256), compression="jpeg")
    image = open_slide(path)
    assert joined(image, 1).min() >= 254


def test_stored_tiles_are_given_only_when_nothing_is_to_be_done(tmp_path: Path, open_slide: Any) -> None:
    pixels = smooth(700, 600)
    halved = np.rint(box_mean(pixels, 2)).astype(np.uint8)
    path = write_levels(tmp_path / "jpeg.tif", [pixels, halved], (256, 256), compression="jpeg")
    image = open_slide(path)

    def ask(**given: Any) -> bytes | None:
        values = {"normalized": True, "level": 0, "column": 1, "row": 1, "display": PLAIN}
        encoded = stored_tile(image, TileRequest(**{**values, "media_type": "image/jpeg", **given}))
        return encoded.data if encoded else None

    sent = ask()
    assert sent is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent))), tile(image, 0, 1, 1))
    assert ask(normalized=False) == sent
    assert ask(display=DisplaySettings(gammas=(1.0,))) == sent
    assert ask(display=DisplaySettings((0,), (255,))) == sent
    assert ask(media_type="image/png") is None
    assert ask(display=DisplaySettings(gammas=(1.1,))) is None
    assert ask(display=DisplaySettings(max_intensities=(254,))) is None
    assert ask(column=2) is None  # padded at the right edge
    assert ask(row=2) is None
    assert ask(level=1, column=0, row=0) is not None


def test_lossless_tiles_are_never_passed_through(tmp_path: Path, open_slide: Any) -> None:
    image = open_slide(write_pyramid(tmp_path / "slide.tif", smooth(600, 600)))
    assert stored_tile(image, TileRequest(True, 0, 0, 0, PLAIN, "image/jpeg")) is None


def test_a_window_at_full_resolution_has_the_stored_pixels(tmp_path: Path, open_slide: Any) -> None:
    pixels = smooth(900, 800)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    for left, top, width, height in (
        (0, 0, 900, 800),
        (13, 255, 300, 2),
        (899, 799, 1, 1),
        (250, 0, 20, 800),
    ):
        region = Region(left, top, width, height)
        request = WindowRequest(region, image.pyramid.base, width, height, PLAIN, "image/png")
        expected = pixels[top : top + height, left : left + width]
        assert np.array_equal(decoded(render(image, request)), expected)


def test_a_window_of_a_coarse_tier_is_counted_in_its_pixels(tmp_path: Path, open_slide: Any) -> None:
    image = open_slide(write_pyramid(tmp_path / "slide.tif", smooth(901, 801)))
    tier = image.pyramid.tiers[1]
    request = WindowRequest(Region(10, 20, 100, 90), tier, 100, 90, PLAIN, "image/png")
    assert np.array_equal(decoded(render(image, request)), joined(image, 1)[20:110, 10:110])


@pytest.mark.parametrize("factor", [1.7, 2, 3, 5.5])
def test_a_shrunk_window_is_close_to_the_mean_of_what_it_covers(
    tmp_path: Path, open_slide: Any, factor: float
) -> None:
    pixels = smooth(1200, 1100)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    width, height = round(1000 / factor), round(900 / factor)
    request = WindowRequest(Region(100, 50, 1000, 900), image.pyramid.base, width, height, PLAIN, "image/png")
    expected = Image.fromarray(pixels[50:950, 100:1100]).resize((width, height), Image.Resampling.BOX)
    assert np.abs(decoded(render(image, request)).astype(int) - np.asarray(expected)).max() <= 4


def test_a_window_can_be_enlarged(tmp_path: Path, open_slide: Any) -> None:
    pixels = smooth(600, 500)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    request = WindowRequest(Region(100, 100, 50, 40), image.pyramid.base, 200, 160, PLAIN, "image/png")
    large = decoded(render(image, request))
    assert large.shape == (160, 200, 3)
    assert np.abs(box_mean(large, 4) - pixels[100:140, 100:150]).max() <= 2


@pytest.mark.parametrize("length", [1, 2, 100, 256, 257, 700])
def test_thumbs_show_the_whole_image(tmp_path: Path, open_slide: Any, length: int) -> None:
    pixels = smooth(700, 350)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    height = max(1, round(length / 2))
    thumb = decoded(render(image, ThumbRequest(length, height, PLAIN, "image/png")))
    assert thumb.shape == (height, length, 3)
    expected = Image.fromarray(pixels).resize((length, height), Image.Resampling.BOX)
    assert np.abs(thumb.astype(int) - np.asarray(expected)).max() <= 6


def test_16_bit_windows_keep_their_bits_as_png_and_only_there(tmp_path: Path, open_slide: Any) -> None:
    pixels = smooth(400, 300, "uint16")
    image = open_slide(write_levels(tmp_path / "deep.tif", [pixels], (256, 256)))
    request = WindowRequest(Region(5, 6, 70, 80), image.pyramid.base, 70, 80, PLAIN, "image/png")
    deep = decoded(render(image, request))
    assert deep.dtype == np.uint16
    assert np.array_equal(deep, pixels[6:86, 5:75])
    jpeg = render(image, WindowRequest(Region(5, 6, 70, 80), image.pyramid.base, 70, 80, PLAIN, "image/jpeg"))
    shown = np.asarray(Image.open(io.BytesIO(jpeg))).astype(float)
    assert np.abs(shown - pixels[6:86, 5:75] / 257).mean() < 6


def test_16_bit_tiles_are_stretched_to_what_the_image_holds(tmp_path: Path, open_slide: Any) -> None:
    grey = (smooth(400, 300)[..., :1].astype(np.uint16) * 4 + 3000).squeeze()
    image = open_slide(write_levels(tmp_path / "dim.tif", [grey], (256, 256)))
    shown = tile(image, 0, 0, 0)
    low, high = int(grey.min()), int(grey.max())
    expected = np.rint((grey[:256, :256] - low) / (high - low) * 255)
    assert np.array_equal(shown[..., 0], expected)


def test_contrast_and_gamma_follow_the_formula(tmp_path: Path, open_slide: Any) -> None:
    pixels = smooth(300, 300)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    display = DisplaySettings((10, 20, 30), (200, 210, 255), (0.5, 1.0, 2.0))
    shown = tile(image, 0, 0, 0, display=display)
    low, high = np.array([10, 20, 30]), np.array([200, 210, 255])
    intensity = np.clip((pixels[:256, :256] - low) / (high - low), 0, 1)
    assert np.abs(shown - np.rint(intensity ** np.array([0.5, 1.0, 2.0]) * 255)).max() == 0


def test_stretching_uses_the_histogram(tmp_path: Path, open_slide: Any) -> None:
    pixels = np.clip(smooth(300, 300), 60, 180)
    image = open_slide(write_pyramid(tmp_path / "slide.tif", pixels))
    display = DisplaySettings((AutoBound.STRETCH_IMAGE,), (AutoBound.STRETCH_PLANE,))
    shown = tile(image, 0, 0, 0, display=display)
    assert (shown.min(), shown.max()) == (0, 255)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    st.integers(257, 1100),
    st.integers(1, 600),
    st.sampled_from([1.5, 2, 2.5, 3, 4, 8]),
    st.sampled_from([math.floor, round, math.ceil]),
)
def test_every_tile_of_every_tier_of_any_pyramid_can_be_made(
    tmp_path: Path, open_slide: Any, width: int, height: int, factor: float, rounding: Any
) -> None:
    pixels = smooth(width, height)
    size = max(1, rounding(width / factor)), max(1, rounding(height / factor))
    coarse = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    path = tmp_path / f"{uuid.uuid4()}.tif"
    image = open_slide(write_levels(path, [pixels, coarse], (256, 256)))
    for normalized in (True, False):
        pyramid = image.normalized_pyramid if normalized else image.pyramid
        for level, tier in enumerate(pyramid.tiers):
            whole = joined(image, level, normalized=normalized)
            assert whole.shape == (tier.height, tier.width, 3)
    length = max(size) + 3
    render(
        image,
        WindowRequest(
            image.pyramid.tiers[1].region, image.pyramid.tiers[1], length, length, PLAIN, "image/png"
        ),
    )
