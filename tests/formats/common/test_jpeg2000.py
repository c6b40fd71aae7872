"""JPEG 2000: depths, colours, tiles and steps, as an independent reader shows them, and hostile headers."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import ReadContext
from pims.formats.common.jpeg2000 import JPEG2000Format
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import FormatTests
from tests.formats.conftest import Opened
from tests.formats.tiff_files import noise, smooth

WIDTH, HEIGHT = 75, 50
SIZ = 2
"""Offset of the marker in a codestream; sizes follow 6 bytes later."""


def jp2(picture: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG2000", **options)
    return out.getvalue()


def j2k(pixels: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k", **options))


def read(data: bytes, opened: Opened, context: ReadContext | None = None) -> NDArray[Any]:
    with opened(JPEG2000Format, data, context) as image:
        base = image.pyramid.base
        pixels: NDArray[Any] = image.reader.read_region(base, base.region, FIRST_PLANE)
        assert pixels.dtype == image.full_imd.pixel_type
        return pixels


def with_sizes(data: bytes, *sizes: int) -> bytes:
    """Xsiz, Ysiz, XOsiz, YOsiz, XTsiz, YTsiz, XTOsiz, YTOsiz of a codestream, replaced."""
    at = data.index(b"\xff\x51") + 6
    return data[:at] + struct.pack(f">{len(sizes)}I", *sizes) + data[at + 4 * len(sizes) :]


class TestJpeg2000(FormatTests):
    format_class = JPEG2000Format
    family = frozenset({"JPEG 2000"})

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.jp2"
        path.write_bytes(jp2(self.expected(), tile_size=(128, 96)))
        return path

    def expected(self) -> NDArray[Any]:
        return smooth(333, 210)


class TestCodestreamOf16Bits(FormatTests):
    format_class = JPEG2000Format
    family = frozenset({"JPEG 2000"})

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.j2k"
        path.write_bytes(j2k(self.expected()[..., 0]))
        return path

    def expected(self) -> NDArray[Any]:
        return noise(133, 110, 1, "uint16")


@pytest.mark.parametrize("bits", [1, 4, 8, 9, 12, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_stored_values_are_kept_with_their_significant_bits(bits: int, samples: int, opened: Opened) -> None:
    dtype = np.uint8 if bits <= 8 else np.uint16
    stored = np.random.default_rng(bits).integers(0, 1 << bits, (HEIGHT, WIDTH, samples), dtype=dtype)
    data = j2k(stored if samples == 3 else stored[..., 0], bitspersample=bits)
    np.testing.assert_array_equal(read(data, opened), stored)
    with opened(JPEG2000Format, data) as image:
        assert image.main_imd.significant_bits == bits and not image.main_imd.lossy


@pytest.mark.parametrize("kind", ["lossy", "tiled", "offset"])
def test_pixels_are_those_another_reader_shows(kind: str, opened: Opened) -> None:
    every: dict[str, dict[str, Any]] = {
        "lossy": {"irreversible": True, "quality_layers": [20]},
        "tiled": {"tile_size": (32, 16)},
        "offset": {"offset": (5, 3), "tile_offset": (2, 1), "tile_size": (32, 32)},
    }
    data = jp2(smooth(WIDTH, HEIGHT), **every[kind])
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(read(data, opened), np.asarray(image))
    with opened(JPEG2000Format, data) as opened_image:
        assert opened_image.main_imd.lossy is (kind == "lossy")


@pytest.mark.parametrize(("samples", "ground"), [(2, 0), (4, 255)])
def test_alpha_is_composited(samples: int, ground: int, opened: Opened) -> None:
    stored = noise(WIDTH, HEIGHT, samples)
    alpha = stored[..., -1:] / 255
    expected = stored[..., :-1] * alpha + ground * (1 - alpha)
    np.testing.assert_allclose(read(jp2(stored), opened), expected, atol=0.51)


def test_an_image_all_of_which_skips_samples_is_that_of_its_samples(opened: Opened) -> None:
    stored = smooth(WIDTH, HEIGHT)
    for data in (j2k(stored), jp2(stored)):
        changed = bytearray(with_sizes(data, 2 * WIDTH, 3 * HEIGHT, 0, 0, 2 * WIDTH, 3 * HEIGHT))
        at = changed.index(b"\xff\x51") + 6 + 34
        for component in range(3):
            changed[at + 3 * component + 1 : at + 3 * component + 3] = bytes((2, 3))
        np.testing.assert_array_equal(read(bytes(changed), opened), stored)


def test_a_colour_profile_changes_no_pixel(opened: Opened) -> None:
    stored = smooth(WIDTH, HEIGHT)
    data = jp2(stored)
    at = data.index(b"colr") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    profile = bytes(40)
    box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    head = data.index(b"jp2h") - 4
    grown = int.from_bytes(data[head : head + 4], "big") + len(box) - length
    changed = data[:head] + struct.pack(">I", grown) + data[head + 4 : at] + box + data[at + length :]
    np.testing.assert_array_equal(read(changed, opened), stored)
    with opened(JPEG2000Format, changed) as image:
        assert image.raw_metadata["ICC_Profile.Present"]


@pytest.mark.parametrize(
    ("sizes", "error", "words"),
    [
        ((0, HEIGHT), CorruptFile, "sizes are impossible"),
        ((WIDTH, HEIGHT, 80, 0), CorruptFile, "sizes are impossible"),
        ((WIDTH, HEIGHT, 0, 0, 0, 5), CorruptFile, "sizes are impossible"),
        ((WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT, 9, 9), CorruptFile, "sizes are impossible"),
        ((100_000, 100_000, 0, 0, 100_000, 100_000), CorruptFile, "can't hold"),
        ((100_000, 100_000, 0, 0, 1, 1), CorruptFile, "tiles"),
    ],
)
def test_sizes_that_can_not_be_are_refused_before_decoding(
    sizes: tuple[int, ...], error: type[FileError], words: str, opened: Opened
) -> None:
    began = time.perf_counter()
    with pytest.raises(error, match=words):
        read(with_sizes(j2k(smooth(WIDTH, HEIGHT)), *sizes), opened)
    assert time.perf_counter() - began < 1


def test_limits_are_looked_at_before_decoding(opened: Opened) -> None:
    with pytest.raises(LimitExceeded, match="75 x 50"):
        read(j2k(smooth(WIDTH, HEIGHT)), opened, ReadContext(limits=Limits(max_decode_pixels=999)))


def test_components_of_different_steps_or_bits_are_named(opened: Opened) -> None:
    data = bytearray(j2k(smooth(WIDTH, HEIGHT)))
    at = data.index(b"\xff\x51") + 6 + 34
    mixed = bytes((*data[: at + 3], 3, *data[at + 4 :]))
    with pytest.raises(UnsupportedFeature, match="different numbers of bits"):
        read(mixed, opened)
    data[at + 4] = 2
    with pytest.raises(UnsupportedFeature, match="lower resolution"):
        read(bytes(data), opened)


def test_an_unreasonable_number_of_layers_is_refused(opened: Opened) -> None:
    data = bytearray(jp2(smooth(WIDTH, HEIGHT), tile_size=(4, 4)))
    at = data.index(b"\xff\x52") + 6
    data[at : at + 2] = b"\xff\xff"
    with pytest.raises(LimitExceeded, match="65535 layers"):
        read(bytes(data), opened)


@given(at=st.integers(0, 220), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(at: int, value: int, opened: Opened) -> None:
    data = bytearray(jp2(smooth(16, 16)))
    data[at] = value
    context = ReadContext(limits=Limits(max_decode_pixels=1 << 20))
    try:
        with opened(JPEG2000Format, bytes(data), context) as image:
            _ = image.full_imd, image.raw_metadata
            image.reader.read_thumb(9, 9)
    except FileError as error:
        assert str(error).endswith(".")
