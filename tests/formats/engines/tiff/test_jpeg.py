"""JPEG streams of tiles: made complete, decoded, refused."""

from __future__ import annotations

import io
import time
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile
from pims.formats.engines.tiff.jpeg import JpegSplicer, decode_jpeg, is_common
from pims.testing.format_tests import block_means
from tests.formats.tiff_files import jpeg_of, noise, smooth, split_tables

WIDTH, HEIGHT = 64, 48
PIXELS = smooth(WIDTH, HEIGHT)
RGB = jpeg_of(PIXELS, rgb=True)
YCBCR = jpeg_of(PIXELS, subsampling=2)
GREY = jpeg_of(PIXELS[..., :1])
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"


def pillow(jpeg: bytes) -> NDArray[Any]:
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)))
    return pixels.reshape(*pixels.shape[:2], -1)


def decoded(jpeg: bytes, samples: int = 3, reduction: int = 1) -> NDArray[np.uint8]:
    return decode_jpeg(jpeg, WIDTH, HEIGHT, samples, reduction)


@pytest.mark.parametrize(
    ("jpeg", "rgb", "grey"), [(RGB, True, False), (YCBCR, False, False), (GREY, False, True)]
)
def test_tables_and_stream_make_the_picture_again(jpeg: bytes, rgb: bool, grey: bool) -> None:
    tables, stream = split_tables(jpeg)
    complete = JpegSplicer(tables, rgb=rgb, grey=grey).complete(stream)
    assert np.array_equal(pillow(complete), pillow(jpeg))
    assert np.array_equal(decoded(complete, 1 if grey else 3), pillow(jpeg))


@pytest.mark.parametrize("marker", [JFIF, ADOBE + b"\0", ADOBE + b"\1", ADOBE + b"\2", JFIF + ADOBE + b"\1"])
@pytest.mark.parametrize("where", ["tables", "stream"])
@pytest.mark.parametrize(("jpeg", "rgb"), [(RGB, True), (YCBCR, False)])
def test_the_tiff_and_not_a_marker_says_what_the_colours_are(
    jpeg: bytes, rgb: bool, where: str, marker: bytes
) -> None:
    tables, stream = split_tables(jpeg)
    if where == "tables":
        tables = tables[:2] + marker + tables[2:]
    else:
        stream = stream[:2] + marker + stream[2:]
    complete = JpegSplicer(tables, rgb=rgb, grey=False).complete(stream)
    assert np.array_equal(pillow(complete), pillow(jpeg))


def test_component_names_of_rgb_do_not_overrule_ycbcr() -> None:
    tables, stream = split_tables(YCBCR)
    frame, scan = stream.index(b"\xff\xc0"), stream.index(b"\xff\xda")
    named = bytearray(stream)
    for index, name in enumerate(b"RGB"):
        named[frame + 10 + 3 * index] = name
        named[scan + 5 + 2 * index] = name
    complete = JpegSplicer(tables, rgb=False, grey=False).complete(bytes(named))
    assert np.array_equal(pillow(complete), pillow(YCBCR))


def test_a_whole_jpeg_needs_no_tables() -> None:
    assert np.array_equal(decoded(JpegSplicer(b"", rgb=False, grey=False).complete(YCBCR)), pillow(YCBCR))


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduction_is_about_the_mean(reduction: int) -> None:
    for jpeg, samples in ((RGB, 3), (YCBCR, 3), (GREY, 1)):
        found = decoded(jpeg, samples, reduction)
        assert found.shape == (HEIGHT // reduction, WIDTH // reduction, samples)
        assert np.abs(found - block_means(pillow(jpeg), reduction)).max() <= 4


@pytest.mark.parametrize(
    "size", [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT + 1), (WIDTH - 8, HEIGHT), (8, 8), (640, 480)]
)
@pytest.mark.parametrize("reduction", [1, 2, 8])
def test_another_size_is_refused(size: tuple[int, int], reduction: int) -> None:
    with pytest.raises(CorruptFile):
        decode_jpeg(YCBCR, *size, 3, reduction)


def test_other_data_is_refused() -> None:
    splicer = JpegSplicer(b"", rgb=True, grey=False)
    for data in (
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\0\0",
        b"\x89PNG\r\n\x1a\n",
        YCBCR[2:],
    ):
        with pytest.raises(CorruptFile):
            decoded(splicer.complete(data))


def test_a_few_bytes_before_the_end_are_no_damage_but_many_are() -> None:
    for extra in (b"\0" * 9, b"\0" * 5000, b"abc"):
        assert np.array_equal(decoded(YCBCR[:-2] + extra + YCBCR[-2:]), pillow(YCBCR))
    with pytest.raises(CorruptFile, match="extraneous"):
        decoded(YCBCR[:-2] + b"abc" * 50 + YCBCR[-2:])


def test_a_jpeg_of_too_few_bytes_for_its_pixels_is_refused_quickly() -> None:
    small = bytes(imagecodecs.jpeg8_encode(np.zeros((16, 16), np.uint8)))
    frame = small.index(b"\xff\xc0")
    bomb = small[: frame + 5] + b"\x7f\xf0\x7f\xf0" + small[frame + 9 :]
    start = time.perf_counter()
    with pytest.raises(CorruptFile, match="can't hold"):
        decode_jpeg(bomb, 0x7FF0, 0x7FF0, 1)
    assert time.perf_counter() - start < 9


def test_a_jpeg_of_many_scans_is_refused() -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG", progressive=True)
    progressive = stream.getvalue()
    assert np.array_equal(decoded(progressive), pillow(progressive))
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    with pytest.raises(CorruptFile, match="scans"):
        decoded(progressive[:-2] + last * 5000 + b"\xff\xd9")


def test_a_lossless_jpeg_is_decoded_and_not_called_common() -> None:
    pixels = noise(WIDTH, HEIGHT, 1)
    lossless = bytes(imagecodecs.jpeg8_encode(pixels[..., 0], lossless=True))
    assert np.array_equal(decoded(lossless, 1), pixels)
    assert not is_common(lossless)
    assert all(is_common(jpeg) for jpeg in (RGB, YCBCR, GREY))


@settings(max_examples=300, deadline=2000)
@given(st.data())
def test_changed_bytes_are_decoded_or_refused(data: st.DataObject) -> None:
    tables, stream = (bytearray(part) for part in split_tables(YCBCR))
    for part in data.draw(st.sampled_from([(tables,), (stream,), (tables, stream)])):
        for _ in range(data.draw(st.integers(1, 4))):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            del part[data.draw(st.integers(0, len(part))) :]
    try:
        complete = JpegSplicer(bytes(tables), rgb=data.draw(st.booleans()), grey=False).complete(
            bytes(stream)
        )
        assert decoded(complete, 3, data.draw(st.sampled_from([1, 2, 8]))).dtype == np.uint8
    except CorruptFile as error:
        assert str(error).endswith(".")
