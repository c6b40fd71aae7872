"""WebP: lossy, lossless, transparent and animated files, as an independent reader shows them."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, LimitExceeded
from pims.formats.abstract import ReadContext
from pims.formats.common.webp import WebPFormat
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import FormatTests
from tests.formats.conftest import Opened
from tests.formats.tiff_files import smooth

WIDTH, HEIGHT = 61, 43


def webp(picture: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "WEBP", **options)
    return out.getvalue()


def by_pillow(data: bytes) -> NDArray[Any]:
    """The first frame, on white."""
    with Image.open(io.BytesIO(data)) as image:
        ground = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")).astype(int)


def read(data: bytes, opened: Opened) -> NDArray[Any]:
    with opened(WebPFormat, data) as image:
        base = image.pyramid.base
        pixels: NDArray[Any] = image.reader.read_region(base, base.region, FIRST_PLANE)
        return pixels


@pytest.fixture(scope="module")
def transparent() -> NDArray[Any]:
    alpha = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    return np.concatenate([smooth(WIDTH, HEIGHT), alpha], axis=2)


class TestWebp(FormatTests):
    format_class = WebPFormat
    family = frozenset({"WebP"})

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.webp"
        path.write_bytes(webp(self.expected(), lossless=True))
        return path

    def expected(self) -> NDArray[Any]:
        return smooth(333, 210)


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}, {"quality": 20, "method": 6}])
def test_pixels_are_those_another_reader_shows(options: dict[str, Any], opened: Opened) -> None:
    data = webp(smooth(WIDTH, HEIGHT), **options)
    np.testing.assert_array_equal(read(data, opened), by_pillow(data))
    with opened(WebPFormat, data) as image:
        assert image.main_imd.lossy is ("lossless" not in options)
        assert not image.main_imd.warnings


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True, "exact": True}])
def test_alpha_is_composited_on_white(
    transparent: NDArray[Any], options: dict[str, Any], opened: Opened
) -> None:
    data = webp(transparent, **options)
    np.testing.assert_allclose(read(data, opened), by_pillow(data), atol=1)


def test_of_an_animation_the_first_frame_is_shown_and_a_warning_says_so(opened: Opened) -> None:
    frames = [smooth(WIDTH, HEIGHT), np.zeros((HEIGHT, WIDTH, 3), np.uint8)]
    rest = [Image.fromarray(frames[1])]
    data = webp(frames[0], save_all=True, append_images=rest, lossless=True)
    np.testing.assert_array_equal(read(data, opened), frames[0])
    with opened(WebPFormat, data) as image:
        assert "first frame" in image.full_imd.warnings[0]
        assert image.raw_metadata["WEBP.Animation"]


def test_exif_gives_the_description_and_the_orientation(opened: Opened) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a slide", 6
    data = webp(smooth(WIDTH, HEIGHT), exif=exif.tobytes())
    with opened(WebPFormat, data) as image:
        assert image.full_imd.description == "a slide" and image.full_imd.orientation == 6


def test_a_large_claim_is_refused_before_decoding(opened: Opened) -> None:
    data = bytearray(webp(smooth(WIDTH, HEIGHT)))
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    limited = ReadContext(limits=Limits(max_decode_pixels=1 << 20))
    with pytest.raises(LimitExceeded, match="16383"), opened(WebPFormat, bytes(data), limited) as image:
        _ = image.main_imd
    with pytest.raises(CorruptFile):
        read(bytes(data), opened)


def test_sizes_that_contradict_each_other_are_refused(transparent: NDArray[Any], opened: Opened) -> None:
    data = bytearray(webp(transparent, quality=80))
    assert data[12:16] == b"VP8X"
    data[24:27] = (99).to_bytes(3, "little")
    with pytest.raises(CorruptFile, match="contradicts"):
        read(bytes(data), opened)


@given(at=st.integers(12, 400), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(at: int, value: int, opened: Opened) -> None:
    data = bytearray(webp(smooth(WIDTH, HEIGHT), quality=50))
    data[at % len(data)] = value
    try:
        with opened(WebPFormat, bytes(data), ReadContext(limits=Limits(max_decode_pixels=1 << 20))) as image:
            _ = image.full_imd
            image.reader.read_thumb(9, 9)
    except FileError as error:
        assert str(error).endswith(".")
