"""Images of every type, imported and shown: what the stored histogram makes of them by default."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from pims.formats.abstract import ReadContext
from pims.formats.registry import FormatRegistry
from pims.images.image import OpenedImage
from pims.images.opener import Opener
from pims.images.pool import ImagePool
from pims.images.render import RenderRequest, ThumbRequest, TileRequest, WindowRequest, render
from pims.importer.events import StdoutListener
from pims.importer.flow import ImportOptions, import_file
from pims.model.geometry import Region
from pims.model.shown import PIXEL_TYPES
from pims.processing.request import AutoBound, DisplaySettings

PLAIN = DisplaySettings()
PNG = "image/png"
Open = Callable[..., OpenedImage]


@pytest.fixture
def open_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Open:
    """Import an image of these pixels (height, width, samples), as raw numbers, and lease it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "toy_plugin"))
    toys = importlib.import_module("pims_plugin_format_toy")
    registry = FormatRegistry(toys.FORMATS)
    root = tmp_path / "root"

    def run(pixels: NDArray[Any], bits: int | None = None, *, histogram: bool = True) -> OpenedImage:
        height, width, samples = pixels.shape
        toy = toys.Toy(width, height, samples, pixels.dtype.name, bits or 8 * pixels.itemsize, tiers=1)
        path = tmp_path / "image.toy"
        path.write_bytes(toys.MAGIC + json.dumps(dataclasses.asdict(toy)).encode() + b"\n" + pixels.tobytes())
        listener = StdoutListener(io.StringIO())
        result = import_file(path, ImportOptions(root, root / ".pending"), registry, listener)
        assert result.path is not None, result.error
        if not histogram:
            (root / result.path).parent.joinpath("processed", "histogram").unlink()
        pool = ImagePool(Opener(root, registry, ReadContext()), 3)
        request.addfinalizer(pool.close)
        lease = pool.lease(result.path)
        request.addfinalizer(lambda: lease.__exit__(None, None, None))
        return lease.__enter__()

    return run


def shown(image: OpenedImage, request: RenderRequest) -> NDArray[Any]:
    pixels: NDArray[Any] = imagecodecs.png_decode(render(image, request))
    return pixels.reshape(*pixels.shape[:2], -1)


def tile(image: OpenedImage, display: DisplaySettings = PLAIN) -> NDArray[Any]:
    return shown(image, TileRequest(True, 0, 0, 0, display, PNG))


def window(image: OpenedImage, display: DisplaySettings = PLAIN) -> NDArray[Any]:
    base = image.pyramid.base
    return shown(image, WindowRequest(Region(0, 0, 90, 70), base, 90, 70, display, PNG))


def ramp(dtype: str, low: float, high: float, samples: int = 1) -> NDArray[Any]:
    """(70, 90, samples) pixels that rise from low to high."""
    part = np.linspace(0, 1, 70 * 90).reshape(70, 90, 1)
    values = low * (1 - part) + high * part
    values = values if dtype.startswith("float") else np.rint(values)
    return np.repeat(values, samples, axis=2).astype(dtype)


def stretched(pixels: NDArray[Any], low: float, high: float, top: int) -> NDArray[np.float64]:
    values = pixels.astype(np.float64)
    return np.clip((values / 2 - low / 2) / (high / 2 - low / 2), 0, 1) * top


RANGES = {
    "int8": (-100, 50),
    "int16": (-1000, 3000),
    "uint16": (300, 4000),
    "uint32": (100_000, 4_294_967_295),
    "int32": (-70_000, 5),
    "float32": (0.0, 1.0),
    "float64": (-1e308, 1.5e308),
}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("dtype", "limits"), RANGES.items())
def test_tiles_show_what_there_is_from_black_to_full(
    open_pixels: Open, dtype: str, limits: tuple[float, float], samples: int
) -> None:
    pixels = ramp(dtype, *limits, samples)
    image = open_pixels(pixels)
    found = tile(image)
    assert found.dtype == np.uint8
    assert found.shape == pixels.shape
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found - stretched(pixels, *limits, 255)).max() <= 0.501


@pytest.mark.parametrize(("dtype", "limits"), RANGES.items())
def test_windows_hold_the_stored_value_or_what_is_stretched(
    open_pixels: Open, dtype: str, limits: tuple[float, float]
) -> None:
    pixels = ramp(dtype, *limits)
    found = window(open_pixels(pixels))
    assert found.dtype == (np.uint8 if dtype == "int8" else np.uint16)
    if dtype == "uint16":
        np.testing.assert_array_equal(found, pixels)
    else:
        top = np.iinfo(found.dtype).max
        assert np.abs(found - stretched(pixels, *limits, top)).max() <= 0.501


@pytest.mark.parametrize("bits", range(9, 16))
def test_windows_of_9_to_15_bits_are_stretched_over_what_the_bits_can_hold(
    open_pixels: Open, bits: int
) -> None:
    pixels = ramp("uint16", 3, 2**bits - 5)
    found = window(open_pixels(pixels, bits))
    assert np.abs(found - stretched(pixels, 0, 2**bits - 1, 65535)).max() <= 0.501


@pytest.mark.parametrize("bits", range(1, 8))
def test_few_bits_reach_from_black_to_full(open_pixels: Open, bits: int) -> None:
    pixels = ramp("uint8", 0, 2**bits - 1)
    image = open_pixels(pixels, bits)
    for found in (tile(image), window(image)):
        np.testing.assert_array_equal(found, np.rint(pixels * (255 / (2**bits - 1))))


@pytest.mark.parametrize("dtype", PIXEL_TYPES)
@pytest.mark.parametrize("value", [0, 100])
def test_a_constant_image_is_black_where_nothing_is_and_never_undefined(
    open_pixels: Open, dtype: str, value: int
) -> None:
    image = open_pixels(np.full((70, 90, 3), value, dtype))
    expected = value if dtype == "uint8" else 255 if value else 0
    assert (tile(image) == expected).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_absent_is_black_and_darkens_nothing_else(open_pixels: Open, dtype: str) -> None:
    pixels = ramp(dtype, 5, 6)
    pixels[10:20, 10:20] = math.nan
    pixels[30, 30], pixels[31, 31] = math.inf, -math.inf
    found = tile(open_pixels(pixels))
    assert (found[10:20, 10:20] == 0).all()
    assert (found[30, 30], found[31, 31]) == (0, 0)
    finite = np.isfinite(pixels)
    assert np.abs(found - stretched(pixels, 5, 6, 255))[finite].max() <= 0.51
    nothing = open_pixels(np.full((70, 90, 1), math.nan, dtype))
    assert (tile(nothing) == 0).all()


def test_intensities_asked_for_may_be_negative_and_decimal(open_pixels: Open) -> None:
    for dtype, low, high, asked in (
        ("float32", -2.0, 2.0, (-0.5, 0.25)),
        ("float64", -2e300, 2e300, (-1e300, 1.5e300)),
        ("int16", -3000, 3000, (-999.6, 1000.4)),
        ("int32", -100_000, 100_000, (-99_999.0, 3)),
        ("int8", -128, 127, (-1e9, 1e9)),
    ):
        pixels = ramp(dtype, low, high)
        display = DisplaySettings((asked[0],), (asked[1],), (2.0,))
        bounds = (
            asked if dtype.startswith("float") else (max(round(asked[0]), low), min(round(asked[1]), high))
        )
        expected = (stretched(pixels, *bounds, 1) ** 2) * 255
        assert np.abs(tile(open_pixels(pixels), display) - expected).max() <= 0.51, dtype


@pytest.mark.parametrize("dtype", PIXEL_TYPES)
def test_thumbs_and_stretching_work_for_every_type(open_pixels: Open, dtype: str) -> None:
    image = open_pixels(ramp(dtype, 0, 100, 3))
    both = (AutoBound.STRETCH_IMAGE,)
    thumb = shown(image, ThumbRequest(31, 24, DisplaySettings(both, both, (0.5, 1.0, 2.0)), PNG))
    assert thumb.shape == (24, 31, 3)
    darkness = thumb.reshape(-1, 3).mean(axis=0)
    assert darkness[0] > darkness[1] > darkness[2]


@pytest.mark.parametrize("dtype", PIXEL_TYPES)
def test_an_upload_that_lost_its_histogram_is_shown_over_its_full_range(
    open_pixels: Open, dtype: str
) -> None:
    pixels = ramp(dtype, 0, 1, 1)
    image = open_pixels(pixels, histogram=False)
    full = image.metadata.full_range or (0, 1)
    assert np.abs(tile(image) - stretched(pixels, *full, 255)).max() <= 0.51
