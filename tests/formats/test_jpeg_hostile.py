"""Damaged and hostile JPEGs: refused with a reason, or read; never anything else, never slowly."""

from __future__ import annotations

import io
import re
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import ReadContext
from pims.formats.common.jpeg import JPEGFormat
from pims.model.limits import Limits
from pims.model.planes import Plane
from tests.formats.conftest import Opened

WIDTH, HEIGHT = 40, 24
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def jpeg(**options: Any) -> bytes:
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((WIDTH, HEIGHT)).save(stream, "JPEG", **options)
    return stream.getvalue()


BASELINE = jpeg()
PROGRESSIVE = jpeg(progressive=True)
SCAN = BASELINE.index(b"\xff\xda")
FRAME = BASELINE.index(b"\xff\xc0")


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def outcome(data: bytes, opened: Opened, limits: Limits | None = None) -> FileError | NDArray[Any]:
    """The pixels, or the refusal; anything else fails the test. All questions are asked."""
    start = time.thread_time()
    try:
        with opened(JPEGFormat, data, ReadContext(limits=limits or Limits())) as image:
            found, base = image.full_imd, image.pyramid.base
            assert dict(image.raw_metadata)
            pixels: NDArray[Any] = image.reader.read_region(base, base.region, Plane())
            assert pixels.shape == (found.height, found.width, found.n_samples)
            image.reader.read_region(base, base.region, Plane(), 8)
            image.reader.read_stored_tile(base, 0, 0, Plane())
            return pixels
    except FileError as error:
        assert str(error).endswith(".")
        return error
    finally:
        assert time.thread_time() - start < 1


@pytest.mark.parametrize("data", [BASELINE, PROGRESSIVE])
def test_a_file_cut_anywhere_is_refused_as_damaged(data: bytes, opened: Opened) -> None:
    assert isinstance(outcome(data, opened), np.ndarray)
    for length in range(len(data)):
        assert isinstance(outcome(data[:length], opened), CorruptFile), length


def test_a_scan_cut_anywhere_but_ended_properly_is_refused_as_damaged(opened: Opened) -> None:
    for length in range(SCAN + 14, len(BASELINE) - 12):
        if BASELINE[length - 1] != 0xFF:
            assert isinstance(outcome(BASELINE[:length] + EOI, opened), CorruptFile), length


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read(data: st.DataObject, opened: Opened) -> None:
    changed = bytearray(data.draw(st.sampled_from([BASELINE, PROGRESSIVE])))
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(changed), opened, Limits(max_decode_pixels=10_000_000))


@settings(max_examples=200, deadline=None)
@given(rest=st.binary(max_size=200))
def test_any_bytes_after_the_signature_are_refused_or_read(rest: bytes, opened: Opened) -> None:
    outcome(b"\xff\xd8\xff" + rest, opened)


@pytest.mark.parametrize(
    "junk",
    [
        b"\0\0\0",
        b"\xff" * 100,
        segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        segment(0xE1, b"Exif\0\0" + b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0"),
        segment(0xE2, b"ICC_PROFILE\0\5\1nonsense"),
        segment(0xFE, b"\xff\xfe\xfd"),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\x63"),
    ],
    ids=["junk", "fill", "EXIF out of range", "EXIF loop", "ICC", "comment", "Adobe transform 99"],
)
def test_harmless_oddities_in_the_header_change_no_pixel(junk: bytes, opened: Opened) -> None:
    expected = outcome(BASELINE, opened)
    pixels = outcome(BASELINE[:FRAME] + junk + BASELINE[FRAME:], opened)
    assert isinstance(pixels, np.ndarray), pixels
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("padding", [b"\0", b"\xff\xff", b"abc", bytes(5000)])
def test_padding_after_the_last_block_is_harmless(padding: bytes, opened: Opened) -> None:
    pixels = outcome(BASELINE[:-2] + padding + EOI, opened)
    assert isinstance(pixels, np.ndarray), pixels
    np.testing.assert_array_equal(pixels, outcome(BASELINE, opened))


def test_much_unread_data_is_a_sign_of_damage(opened: Opened) -> None:
    assert isinstance(outcome(BASELINE[:-2] + b"abc" * 100 + EOI, opened), CorruptFile)


def test_a_harmless_oddity_does_not_hide_damage_behind_it(opened: Opened) -> None:
    odd = BASELINE[:FRAME] + b"\0\0\0" + segment(0xE0, b"JFIF\0\x09\x09\0\0\1\0\1\0\0") + BASELINE[FRAME:]
    assert isinstance(outcome(odd, opened), np.ndarray)
    assert isinstance(outcome(odd[:-40] + EOI, opened), CorruptFile)


def test_bytes_after_the_image_are_ignored(opened: Opened) -> None:
    pixels = outcome(BASELINE + BASELINE[:100], opened)
    np.testing.assert_array_equal(pixels, outcome(BASELINE, opened))


def with_size(width: int, height: int) -> bytes:
    return BASELINE[: FRAME + 5] + struct.pack(">HH", height, width) + BASELINE[FRAME + 9 :]


def test_a_size_beyond_the_limits_is_refused_before_decoding(opened: Opened) -> None:
    assert isinstance(outcome(with_size(65500, 65500), opened), LimitExceeded)
    assert isinstance(outcome(with_size(200, 100), opened, Limits(max_side=150)), LimitExceeded)


def test_a_size_its_bytes_can_not_hold_is_refused_before_decoding(opened: Opened) -> None:
    found = outcome(with_size(30000, 30000), opened)
    assert isinstance(found, CorruptFile)
    assert "can't hold" in str(found)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(0, 10, CorruptFile), (10, 0, UnsupportedFeature), (65535, 1, UnsupportedFeature)],
)
def test_impossible_sizes_are_refused(
    width: int, height: int, expected: type[FileError], opened: Opened
) -> None:
    assert isinstance(outcome(with_size(width, height), opened), expected)


def frame(marker: int, *, precision: int = 8, components: int = 1, factor: int = 0x11) -> bytes:
    body = struct.pack(">BHHB", precision, HEIGHT, WIDTH, components)
    return segment(marker, body + b"".join(bytes((i + 1, factor, 0)) for i in range(components)))


@pytest.mark.parametrize(("marker", "precision"), [(0xC0, 10), (0xC1, 16), (0xC3, 17), (0xC3, 1)])
def test_bits_that_no_process_has_are_damage(marker: int, precision: int, opened: Opened) -> None:
    header = frame(marker, precision=precision)
    found = outcome(SOI + header + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0\0" + EOI, opened)
    assert isinstance(found, CorruptFile)
    assert f"{precision} bits" in str(found)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (frame(0xC9, precision=12), "arithmetic.* 12 bits"),
        (frame(0xC5), "hierarchical"),
        (frame(0xC0, components=2), "2 components"),
    ],
)
def test_valid_kinds_that_can_not_be_read_are_named(header: bytes, expected: str, opened: Opened) -> None:
    found = outcome(SOI + header + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0\0" + EOI, opened)
    assert isinstance(found, UnsupportedFeature)
    assert re.search(expected, str(found))


@pytest.mark.parametrize(
    "data",
    [
        SOI + EOI,
        SOI + b"\xff" + EOI,
        SOI + frame(0xC0) + EOI,
        SOI + frame(0xC0) + frame(0xC0) + b"\xff\xda",
        SOI + b"\xff\xda\0\4\0\0" + EOI,
        SOI + b"\xff\xe0\0\1",
        SOI + b"\xff\xe0\xff\xff",
        SOI + frame(0xC0, factor=0x05) + b"\xff\xda",
        SOI + frame(0xC0, factor=0x10) + b"\xff\xda",
        SOI + segment(0xC0, b"\x08") + b"\xff\xda",
        SOI + b"\xff\xd0" + BASELINE[2:],
        SOI + b"\xff\xe0\0\2" + bytes(70_000) + BASELINE[2:],
        BASELINE[:-2] + BASELINE,
    ],
)
def test_nonsense_is_refused_as_damaged(data: bytes, opened: Opened) -> None:
    assert isinstance(outcome(data, opened), CorruptFile)


def test_segments_without_end_are_a_limit(opened: Opened) -> None:
    assert isinstance(outcome(SOI + segment(0xFE, b"") * 20_000 + BASELINE[2:], opened), LimitExceeded)
    many = BASELINE[:-2] + segment(0xFE, b"") * 20_000 + EOI
    assert isinstance(outcome(many, opened), LimitExceeded)


def test_scans_without_end_are_a_limit(opened: Opened) -> None:
    scan = PROGRESSIVE.rindex(b"\xff\xda")
    many = PROGRESSIVE[:scan] + PROGRESSIVE[scan:-2] * 200 + EOI
    assert isinstance(outcome(many, opened), LimitExceeded)


@pytest.mark.parametrize("fill", [b"\xff" * 4_000_000, b"\xff\x00" * 2_000_000, b"\xff\xd0" * 2_000_000])
def test_long_runs_of_markers_take_no_time(fill: bytes, opened: Opened) -> None:
    outcome(BASELINE[:-2] + fill + b"\0" + EOI, opened)
    outcome(BASELINE[:FRAME] + fill + BASELINE[FRAME:], opened)


def test_comments_and_descriptions_are_bounded(opened: Opened) -> None:
    data = SOI + segment(0xFE, b"x" * 60_000) * 100 + BASELINE[2:]
    with opened(JPEGFormat, data) as image:
        assert len(image.full_imd.description or "") == 65_536
        assert len(image.raw_metadata["File.Comment"]) < 1_000_000
