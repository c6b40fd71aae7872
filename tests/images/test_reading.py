"""Reading what is much in bands: the same pixels, no more at once than a band, and it can stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pims.images import reading
from pims.images.image import OpenedImage
from pims.images.pool import ImagePool
from pims.images.reading import Abandoned, Reading, View
from pims.images.render import ThumbRequest, WindowRequest, needed_bytes, render
from pims.model.geometry import Region
from pims.processing.request import DisplaySettings
from tests.images.conftest import ImportSlide, smooth, write_levels

WIDTH, HEIGHT = 700, 900


@pytest.fixture(scope="module", params=[(256, 256), (48, 112)])
def tile_size(request: pytest.FixtureRequest) -> tuple[int, int]:
    size: tuple[int, int] = request.param
    return size


@pytest.fixture
def image(import_slide: ImportSlide, pool: ImagePool, tmp_path: Path, tile_size: Any) -> Any:
    pixels = smooth(WIDTH, HEIGHT)
    path = write_levels(tmp_path / "slide.tif", [pixels, pixels[::2, ::2].copy()], tile_size)
    with pool.lease(import_slide(path)) as opened:
        yield opened


def never() -> bool:
    return False


@st.composite
def views(draw: st.DrawFn) -> Callable[[OpenedImage], View]:
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    width, height = draw(st.integers(1, WIDTH - left)), draw(st.integers(1, HEIGHT - top))
    shrink = draw(st.sampled_from([1, 1.5, 2, 4, 7, 8, 20]))
    region = Region(left, top, width, height)
    size = max(1, int(width / shrink)), max(1, int(height / shrink))
    return lambda image: View.sized(image.pyramid.base, region, *size)


@given(views(), st.integers(1, 200_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bands_are_the_whole(
    image: OpenedImage, view: Callable[[OpenedImage], View], band_bytes: int
) -> None:
    of = Reading.of(image, view(image))
    whole = of.pixels(image, never)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BAND_BYTES", band_bytes)
        banded = of.pixels(image, never)
    np.testing.assert_array_equal(banded, whole)
    assert (whole.shape[1], whole.shape[0]) == of.size
    assert whole.nbytes == of.byte_size(image)


def test_reading_stops_between_bands(image: OpenedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BAND_BYTES", WIDTH * 3 * 256)
    of = Reading.of(image, View.sized(image.pyramid.base, image.pyramid.base.region, WIDTH, HEIGHT))
    answers = iter([False, True])
    with pytest.raises(Abandoned):
        of.pixels(image, lambda: next(answers))
    with pytest.raises(Abandoned):
        render(image, ThumbRequest(50, 50, DisplaySettings(), "image/png"), stop=lambda: True)


def test_what_is_needed_is_what_is_read_and_made(image: OpenedImage) -> None:
    base = image.pyramid.base
    for width, height in ((WIDTH, HEIGHT), (WIDTH * 3, HEIGHT * 3), (70, 90)):
        request = WindowRequest(base.region, base, width, height, DisplaySettings(), "image/jpeg")
        of = Reading.of(image, View.sized(base, base.region, width, height))
        needed = needed_bytes(image, request)
        assert needed >= of.pixels(image, never).nbytes
        assert needed >= width * height * 3
        assert needed <= 3 * (of.byte_size(image) + width * height * 3)
