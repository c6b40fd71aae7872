"""Netpbm: every kind, decimal and binary, and headers that try to do harm."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, LimitExceeded, UnsupportedFeature
from pims.formats.common.ppm import PPMFormat
from pims.formats.engines import pnm_codec
from pims.formats.probe import Probe
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import FormatTests
from tests.formats.conftest import Opened
from tests.formats.tiff_files import noise

WIDTH, HEIGHT = 13, 7


def read(data: bytes, opened: Opened) -> NDArray[Any]:
    with opened(PPMFormat, data) as image:
        assert PPMFormat.match(Probe(image.source))
        base = image.pyramid.base
        pixels: NDArray[Any] = image.reader.read_region(base, base.region, FIRST_PLANE)
        assert pixels.dtype == image.full_imd.pixel_type
        return pixels


def values(highest: int, samples: int) -> NDArray[Any]:
    return np.random.default_rng(highest).integers(0, highest + 1, (HEIGHT, WIDTH, samples))


def binary(stored: NDArray[Any], highest: int) -> bytes:
    return stored.astype(np.uint8 if highest < 256 else ">u2").tobytes()


def plain(stored: NDArray[Any]) -> bytes:
    return b"\n".join(b" ".join(b"%d" % value for value in row.reshape(-1)) for row in stored) + b"\n"


class TestPpm(FormatTests):
    format_class = PPMFormat

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.ppm"
        Image.fromarray(self.expected()).save(path)
        return path

    def expected(self) -> NDArray[Any]:
        return noise(333, 210)


class TestPlainPgmOf16Bits(FormatTests):
    format_class = PPMFormat

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.pgm"
        path.write_bytes(b"P2\n# by hand\n90 70\n65535\n" + plain(self.expected()))
        return path

    def expected(self) -> NDArray[Any]:
        return noise(90, 70, 1, "uint16")


@pytest.mark.parametrize("highest", [1, 3, 15, 100, 255, 1000, 4095, 65_535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6", b"P7"])
def test_stored_values_are_kept_with_their_significant_bits(
    kind: bytes, highest: int, opened: Opened
) -> None:
    samples = 3 if kind in (b"P3", b"P6", b"P7") else 1
    stored = values(highest, samples)
    body = plain(stored) if kind in (b"P2", b"P3") else binary(stored, highest)
    head = b"%s\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, highest)
    if kind == b"P7":
        sizes = (WIDTH, HEIGHT, samples, highest)
        head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nTUPLTYPE RGB\nENDHDR\n" % sizes
    np.testing.assert_array_equal(read(head + body, opened), stored)
    with opened(PPMFormat, head + body) as image:
        assert image.main_imd.significant_bits == highest.bit_length()
        assert image.main_imd.pixel_type == ("uint8" if highest < 256 else "uint16")


@pytest.mark.parametrize("kind", [b"P1", b"P4"])
def test_ones_of_a_bitmap_are_black(kind: bytes, opened: Opened) -> None:
    bits = values(1, 1)
    if kind == b"P1":
        body = b"\n".join(b"".join(b"%d" % bit for bit in row.reshape(-1)) for row in bits)
    else:
        body = np.packbits(bits[..., 0], axis=1).tobytes()
    data = b"%s %d %d\n" % (kind, WIDTH, HEIGHT) + body
    pixels = read(data, opened)
    np.testing.assert_array_equal(pixels, 1 - bits)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(image))
    with opened(PPMFormat, data) as opened_image:
        assert opened_image.main_imd.significant_bits == 1


@pytest.mark.parametrize(("kind", "samples"), [(b"Pf", 1), (b"PF", 3)])
@pytest.mark.parametrize(("scale", "order"), [(b"-1.0", "<"), (b"2.5", ">")])
def test_floating_point_rows_go_from_the_bottom_to_the_top(
    kind: bytes, samples: int, scale: bytes, order: str, opened: Opened
) -> None:
    stored = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, samples)).astype(np.float32)
    body = stored[::-1].astype(f"{order}f4").tobytes()
    pixels = read(b"%s\n%d %d\n%s\n" % (kind, WIDTH, HEIGHT, scale) + body, opened)
    np.testing.assert_array_equal(pixels, stored)


@pytest.mark.parametrize(("depth", "ground"), [(2, 0), (4, 255)])
def test_alpha_of_a_pam_is_composited(depth: int, ground: int, opened: Opened) -> None:
    stored = values(255, depth)
    head = b"P7\n# c\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL 255\nENDHDR\n" % (WIDTH, HEIGHT, depth)
    alpha = stored[..., -1:] / 255
    expected = stored[..., :-1] * alpha + ground * (1 - alpha)
    np.testing.assert_allclose(read(head + binary(stored, 255), opened), expected, atol=0.51)


def test_comments_are_told_and_may_stand_among_the_values(opened: Opened) -> None:
    data = b"P2 # first\n#second\n2 2 # third\n9\n1 2 # 7 7 7\n3\n4"
    assert read(data, opened).reshape(-1).tolist() == [1, 2, 3, 4]
    with opened(PPMFormat, data) as image:
        assert image.full_imd.description == "first\nsecond\nthird"


@given(chunk=st.integers(8, 64), seed=st.integers(0, 99))
def test_decimal_values_are_read_alike_whatever_the_chunks(chunk: int, seed: int, opened: Opened) -> None:
    stored = np.random.default_rng(seed).integers(0, 999, (HEIGHT, WIDTH, 1))
    space = (b" ", b"\n", b"\t", b"  \r\n")[seed % 4]
    data = b"P2 %d %d 999\n" % (WIDTH, HEIGHT) + space.join(b"%d" % value for value in stored.reshape(-1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pnm_codec, "PLAIN_CHUNK", chunk)
        np.testing.assert_array_equal(read(data, opened), stored)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"P5 -3 5 255\n", CorruptFile, "no number"),
        (b"P5 0 5 255\n", CorruptFile, "0 x 5"),
        (b"P5 3 5 70000\n" + bytes(30), CorruptFile, "70000"),
        (b"P5 3 5 0\n" + bytes(15), CorruptFile, "brightest"),
        (b"P5 " + b"9" * 1000 + b" 5 255\n", CorruptFile, "no number"),
        (b"P5 " + b"9" * 200_000, CorruptFile, "header"),
        (b"P5 #" + b"c" * 200_000 + b"\n3 5 255\n", CorruptFile, "header"),
        (b"P5 90000 90000 255\n", LimitExceeded, "90000"),
        (b"P5 3 5 255\n" + bytes(14), CorruptFile, "ends too early"),
        (b"P2 3 5 255\n" + b"1 " * 14, CorruptFile, "ends too early"),
        (b"P2 2 1 255\n1 300", CorruptFile, "exceeds 255"),
        (b"P2 2 1 255\n1 -3", CorruptFile, "no number"),
        (b"P2 2 1 255\n1 " + b"1" * 1_000_000, CorruptFile, "no number"),
        (b"P1 2 1\n02", CorruptFile, "neither 0 nor 1"),
        (b"Pf 1 1\nnan\n" + bytes(4), CorruptFile, "scale"),
        (b"P7\nWIDTH 3\nENDHDR\n", CorruptFile, "does not give its depth"),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 9\nMAXVAL 1\nENDHDR\n", UnsupportedFeature, "9 samples"),
        (b"P7\nWIDTH 3\n", CorruptFile, "header"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_can_not_be_is_refused_with_the_reason(
    data: bytes, error: type[FileError], words: str, opened: Opened
) -> None:
    began = time.perf_counter()
    with pytest.raises(error, match=words):
        read(data, opened)
    assert time.perf_counter() - began < 5


def test_text_that_starts_alike_is_no_image(opened: Opened) -> None:
    for text in (b"P1", b"P5", b"P5x 3 4", b"P2P audio", b"P8 3 4 255\n", b"P6 - the letter"):
        with opened(PPMFormat, text) as image:
            assert not PPMFormat.match(Probe(image.source)) or text == b"P6 - the letter"
