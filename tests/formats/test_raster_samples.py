"""JPEG and PNG files found in the wild, against an independent reader."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.common.jpeg import JPEGFormat
from pims.formats.common.png import PNGFormat
from pims.model.limits import Limits
from pims.model.planes import Plane
from tests.formats.conftest import Opened

LIMITS = Limits(max_decode_pixels=50_000_000)


def files(folder: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(path for path in folder.glob(pattern) if path.is_file())


def read(path: Path, opened: Opened) -> NDArray[Any] | FileError:
    """What we read, whose shape is checked for every reduction, or why we refuse."""
    kind: type[AbstractFormat] = PNGFormat if path.read_bytes()[:4] == b"\x89PNG" else JPEGFormat
    try:
        with opened(kind, path, ReadContext(limits=LIMITS)) as image:
            found, base = image.full_imd, image.pyramid.base
            _ = image.raw_metadata
            for reduction in (2, 4, 8):
                small = image.reader.read_region(base, base.region, Plane(), reduction)
                assert small.shape[:2] == (-(-found.height // reduction), -(-found.width // reduction))
            pixels: NDArray[Any] = image.reader.read_region(base, base.region, Plane())
            assert pixels.dtype.name == found.pixel_type
            stored = image.reader.read_stored_tile(base, 0, 0, Plane())
            if stored is not None:
                np.testing.assert_array_equal(by_pillow(stored.data, pixels.shape[2]), pixels)
            return pixels
    except FileError as error:
        return error


def by_pillow(data: bytes, samples: int) -> NDArray[Any]:
    """What an independent reader shows, on a white background (colour) or a black one (grey)."""
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter("ignore")
        image.load()
        shown: Image.Image = image
        if "A" in image.mode or "transparency" in image.info:
            ground = Image.new("RGBA", image.size, "white" if samples == 3 else "black")
            shown = Image.alpha_composite(ground, image.convert("RGBA"))
        pixels = np.asarray(shown.convert("RGB" if samples == 3 else "L"))
    return pixels.reshape(*pixels.shape[:2], -1).astype(int)


def declares_background(data: bytes) -> bool:
    return b"bKGD" in data[:4096]


def assert_shows_the_same(pixels: NDArray[Any], data: bytes) -> None:
    if pixels.dtype == np.uint16:
        decode = imagecodecs.png_decode if data.startswith(b"\x89PNG") else imagecodecs.jpeg8_decode
        stored = decode(data).reshape(*pixels.shape[:2], -1)
        if stored.shape == pixels.shape:
            np.testing.assert_array_equal(pixels, stored)
    elif not (data.startswith(b"\x89PNG") and declares_background(data)):
        np.testing.assert_allclose(pixels, by_pillow(data, pixels.shape[2]), atol=1)


@pytest.mark.parametrize("folder", ["real/jpeg", "real/png"])
def test_real_files_are_read_alike_or_refused_by_name(folder: str, samples: Path, opened: Opened) -> None:
    paths = list(files(samples / folder, "*"))
    assert paths
    refused = {}
    for path in paths:
        found = read(path, opened)
        if isinstance(found, FileError):
            refused[path.name] = found
        else:
            assert_shows_the_same(found, path.read_bytes())
    assert all(isinstance(error, UnsupportedFeature | CorruptFile) for error in refused.values()), refused
    assert len(refused) <= len(paths) // 20, refused


@pytest.mark.parametrize("folder", ["bad/jpeg", "bad/png", "bad/crafted"])
def test_bad_files_are_refused_or_read_alike(
    folder: str, samples: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that damage in chunks that hold no pixels does not stop the other reader.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    paths = list(files(samples / folder, *(["*.png", "*.jpg"] if folder.endswith("crafted") else ["*"])))
    assert paths
    for path in paths:
        found = read(path, opened)
        if not isinstance(found, FileError):
            assert_shows_the_same(found, path.read_bytes())
