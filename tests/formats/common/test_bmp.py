"""BMP: every depth and compression against an independent reader, and files that contradict themselves."""

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
from pims.formats.common.bmp import BMPFormat
from pims.formats.engines.bmp_codec import decode_bmp
from pims.formats.engines.bmp_header import BmpCompression, BmpHeader
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import FormatTests
from tests.formats.conftest import Opened

WIDTH, HEIGHT = 37, 21
RGB, RLE8, RLE4, BITFIELDS = 0, 1, 2, 3
COLOURS = tuple((i * 37 % 256, i * 101 % 256, i * 11 % 256) for i in range(256))


def bmp(
    width: int,
    height: int,
    bits: int,
    pixels: bytes,
    *,
    compression: int = RGB,
    extra: bytes = b"",
    colours: tuple[tuple[int, int, int], ...] = (),
    density: int = 0,
) -> bytes:
    """A BMP of version 3; `extra` follows the header (masks), then comes the palette."""
    table = b"".join(bytes((blue, green, red, 0)) for red, green, blue in colours)
    info = struct.pack(
        "<IiiHHIIiiII",
        40,
        width,
        height,
        1,
        bits,
        compression,
        len(pixels),
        density,
        density,
        len(colours),
        0,
    )
    offset = 14 + len(info) + len(extra) + len(table)
    head = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    return head + info + extra + table + pixels


def rows_of(stored: NDArray[Any], bits: int) -> bytes:
    """Indices (height, width) packed to `bits`, rows from bottom to top, padded to 4 bytes."""
    unpacked = np.unpackbits(stored.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    rows = [np.packbits(row.reshape(-1)).tobytes() for row in unpacked[::-1]]
    return b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") for row in rows)


def read(data: bytes, opened: Opened) -> NDArray[Any]:
    with opened(BMPFormat, data) as image:
        base = image.pyramid.base
        pixels: NDArray[Any] = image.reader.read_region(base, base.region, FIRST_PLANE)
        assert pixels.dtype == image.full_imd.pixel_type
        return pixels


def by_pillow(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


class TestBmp(FormatTests):
    format_class = BMPFormat

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.bmp"
        Image.fromarray(self.expected()).save(path)
        return path

    def expected(self) -> NDArray[Any]:
        return np.random.default_rng(1).integers(0, 256, (210, 333, 3), dtype=np.uint8)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_every_depth_become_rgb(bits: int, opened: Opened) -> None:
    stored = np.random.default_rng(bits).integers(0, 1 << bits, (HEIGHT, WIDTH))
    colours = COLOURS[: 1 << bits]
    data = bmp(WIDTH, HEIGHT, bits, rows_of(stored, bits), colours=colours)
    pixels = read(data, opened)
    np.testing.assert_array_equal(pixels, np.array(colours, np.uint8)[stored])
    if bits != 2:
        np.testing.assert_array_equal(pixels, by_pillow(data))


def test_a_palette_of_greys_is_grey(opened: Opened) -> None:
    stored = np.random.default_rng(0).integers(0, 16, (HEIGHT, WIDTH))
    greys = tuple((i * 17, i * 17, i * 17) for i in range(16))
    pixels = read(bmp(WIDTH, HEIGHT, 4, rows_of(stored, 4), colours=greys), opened)
    np.testing.assert_array_equal(pixels[..., 0], stored * 17)


def test_an_index_the_palette_does_not_have_is_black(opened: Opened) -> None:
    stored = np.full((HEIGHT, WIDTH), 200)
    pixels = read(bmp(WIDTH, HEIGHT, 8, rows_of(stored, 8), colours=COLOURS[1:5]), opened)
    assert not pixels.any()


@pytest.mark.parametrize(
    "masks",
    [
        (0x7C00, 0x3E0, 0x1F),
        (0xF800, 0x7E0, 0x1F),
        (0xF00, 0xF0, 0xF),
        (0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000),
        (0x3FF00000, 0xFFC00, 0x3FF),
    ],
)
def test_fields_are_scaled_to_eight_or_sixteen_bits(masks: tuple[int, int, int], opened: Opened) -> None:
    bits = 16 if max(masks) < 1 << 16 and masks[1] != 0xFF00 else 32
    stored = np.random.default_rng(3).integers(0, 1 << bits, (HEIGHT, WIDTH), dtype=np.uint32)
    packed = [row.astype(f"<u{bits // 8}").tobytes() for row in stored[::-1]]
    padded = b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") for row in packed)
    data = bmp(WIDTH, HEIGHT, bits, padded, compression=BITFIELDS, extra=struct.pack("<3I", *masks))
    pixels = read(data, opened)
    highest = 255 if max(mask.bit_count() for mask in masks) <= 8 else 65_535
    assert pixels.dtype == (np.uint8 if highest == 255 else np.uint16)
    for sample, mask in enumerate(masks):
        shift, top = (mask & -mask).bit_length() - 1, (1 << mask.bit_count()) - 1
        exact = ((stored & mask) >> shift) / top * highest
        np.testing.assert_allclose(pixels[..., sample], exact, atol=0.5)


def run_lengths(rows: NDArray[Any], *, nibbles: bool = False) -> bytes:
    """Every row (from the bottom) as runs of equal indices and an end of line; then the end."""
    out = bytearray()
    for row in rows[::-1]:
        start = 0
        while start < len(row):
            end = start
            while end < len(row) and row[end] == row[start] and end - start < 255:
                end += 1
            value = int(row[start])
            out += bytes((end - start, value * 17 if nibbles else value))
            start = end
        out += b"\0\0"
    return bytes(out + b"\0\1")


@pytest.mark.parametrize("bits", [4, 8])
@given(data=st.data())
def test_run_lengths_are_undone(bits: int, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 5))
    choice = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = np.repeat(choice.integers(0, 1 << bits, (height, width)), 3, axis=1)[:, :width]
    kind = BmpCompression.RLE4 if bits == 4 else BmpCompression.RLE8
    header = BmpHeader(width, height, False, bits, kind, 0, 40, palette=COLOURS[: 1 << bits])
    pixels = decode_bmp(run_lengths(rows, nibbles=bits == 4), header)
    np.testing.assert_array_equal(pixels, np.array(header.palette, np.uint8)[rows])


def test_literals_jumps_and_runs_beyond_the_edge(opened: Opened) -> None:
    stored = b"\0\3\1\2\3\0" + b"\0\2\1\1" + b"\xff\4" + b"\0\1"
    pixels = read(bmp(6, 3, 8, stored, compression=RLE8, colours=COLOURS[:8]), opened)
    indices = [[0] * 6, [0, 0, 0, 0, 4, 4], [1, 2, 3, 0, 0, 0]]
    np.testing.assert_array_equal(pixels, np.array(COLOURS, np.uint8)[indices])


@pytest.mark.parametrize(
    "stored",
    [b"", b"\5", b"\5\1", b"\0\xff\1\2", b"\0\2\1", b"\5\1\0\0" * 2],
    ids=lambda stored: stored.hex(),
)
def test_run_lengths_that_end_too_early_are_refused(stored: bytes, opened: Opened) -> None:
    with pytest.raises(CorruptFile, match="ends"):
        read(bmp(5, 3, 8, stored, compression=RLE8, colours=COLOURS[:8]), opened)


def test_run_lengths_that_draw_nothing_end(opened: Opened) -> None:
    began = time.perf_counter()
    read(bmp(5, 3, 8, b"\0\2\0\0" * 100_000 + b"\0\1", compression=RLE8, colours=COLOURS[:8]), opened)
    assert time.perf_counter() - began < 5
    with pytest.raises(CorruptFile, match="can't hold"):
        read(bmp(30_000, 30_000, 8, b"\0\1", compression=RLE8, colours=COLOURS[:8]), opened)


def test_alpha_is_composited_on_white_unless_it_is_zero_everywhere(opened: Opened) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    data = bytes(imagecodecs.bmp_encode(picture))
    with Image.open(io.BytesIO(data)) as image:
        front = image.convert("RGBA")
        ground = Image.new("RGBA", front.size, "white")
        expected = np.asarray(Image.alpha_composite(ground, front).convert("RGB")).astype(int)
    np.testing.assert_allclose(read(data, opened), expected, atol=1)
    picture[..., 3] = 0
    np.testing.assert_array_equal(read(bytes(imagecodecs.bmp_encode(picture)), opened), picture[..., :3])


def test_os2_and_top_down_files(opened: Opened) -> None:
    picture = np.random.default_rng(6).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    rows = picture[..., ::-1].tobytes()
    np.testing.assert_array_equal(read(bmp(4, -3, 24, rows), opened), picture)
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 4, 3, 1, 24)
    np.testing.assert_array_equal(read(head + rows, opened), picture[::-1])


def test_density_is_a_pixel_size(opened: Opened) -> None:
    with opened(BMPFormat, bmp(4, 1, 24, bytes(12), density=2_000_000)) as image:
        assert image.full_imd.physical_size_x_um == pytest.approx(0.5)
        assert image.raw_metadata["BMP.BitsPerPixel"] == 24


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (bmp(0, 5, 24, b""), CorruptFile, "0 x 5 px"),
        (bmp(-4, 5, 24, b""), CorruptFile, "-4 x 5 px"),
        (bmp(4, 5, 24, bytes(10)), CorruptFile, "ends too early"),
        (bmp(4, 5, 7, bytes(80)), CorruptFile, "7 bits"),
        (bmp(4, -5, 8, bytes(80), compression=RLE8, colours=COLOURS), CorruptFile, "top to bottom"),
        (bmp(4, 5, 24, b"", compression=4), UnsupportedFeature, "JPEG"),
        (bmp(4, 5, 24, b"", compression=77), UnsupportedFeature, "method 77"),
        (bmp(65_000, 65_000, 24, b""), LimitExceeded, "65000 x 65000"),
        (bmp(4, 5, 32, bytes(80), compression=3, extra=bytes(12)), CorruptFile, "mask"),
        (bmp(4, 5, 32, bytes(80), compression=3, extra=b"\5" * 12), CorruptFile, "mask"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(
    data: bytes, error: type[FileError], words: str, opened: Opened
) -> None:
    with pytest.raises(error, match=words):
        read(data, opened)
