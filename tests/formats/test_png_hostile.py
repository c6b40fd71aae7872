"""Damaged and hostile PNGs: refused with a reason, or read; never anything else, never slowly."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import ReadContext
from pims.formats.common.png import PNGFormat
from pims.model.limits import Limits
from pims.model.planes import Plane
from tests.formats.conftest import Opened

WIDTH, HEIGHT = 24, 16
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(
    width: int = WIDTH, height: int = HEIGHT, depth: int = 8, color: int = 2, rest: bytes = bytes(3)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, color) + rest)


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def data_chunk(rows: bytes = ROWS) -> bytes:
    return chunk(b"IDAT", zlib.compress(rows))


GOOD = png(header(), data_chunk())


def by_pillow() -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(PIXELS).quantize(16)
    image.save(stream, "PNG", transparency=bytes(range(16)), dpi=(300, 300))
    return stream.getvalue()


PALETTE = by_pillow()


def outcome(data: bytes, opened: Opened, limits: Limits | None = None) -> FileError | NDArray[Any]:
    """The pixels, or the refusal; anything else fails the test. All questions are asked."""
    start = time.thread_time()
    try:
        with opened(PNGFormat, data, ReadContext(limits=limits or Limits())) as image:
            found, base = image.full_imd, image.pyramid.base
            assert dict(image.raw_metadata)
            pixels: NDArray[Any] = image.reader.read_region(base, base.region, Plane())
            assert pixels.shape == (found.height, found.width, found.n_samples)
            image.reader.read_region(base, base.region, Plane(), 8)
            assert image.reader.read_stored_tile(base, 0, 0, Plane()) is None
            return pixels
    except FileError as error:
        assert str(error).endswith(".")
        return error
    finally:
        assert time.thread_time() - start < 1


@pytest.mark.parametrize("data", [GOOD, PALETTE])
def test_a_file_cut_anywhere_is_refused_as_damaged(data: bytes, opened: Opened) -> None:
    assert isinstance(outcome(data, opened), np.ndarray)
    for length in range(len(data)):
        assert isinstance(outcome(data[:length], opened), CorruptFile), length


@pytest.mark.parametrize("interlaced", [0, 1])
def test_image_data_that_end_too_early_are_refused_as_damaged(interlaced: int, opened: Opened) -> None:
    start = header(rest=bytes((0, 0, interlaced)))
    stream = zlib.compress(ROWS)
    for data in (
        zlib.compress(b""),
        zlib.compress(ROWS[:100]),
        zlib.compress(ROWS[: len(ROWS) // 2]),
        stream[:20],
        stream[: len(stream) // 2],
        stream[:-5],
    ):
        assert isinstance(outcome(png(start, chunk(b"IDAT", data)), opened), CorruptFile)
    assert isinstance(outcome(png(header(), data_chunk(ROWS[:-1])), opened), CorruptFile)


def test_any_changed_byte_of_the_image_data_is_noticed(opened: Opened) -> None:
    start = GOOD.index(b"IDAT")
    for position in range(start, len(GOOD) - 12):
        changed = bytearray(GOOD)
        changed[position] ^= 0x10
        assert isinstance(outcome(bytes(changed), opened), FileError), position


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read(data: st.DataObject, opened: Opened) -> None:
    changed = bytearray(data.draw(st.sampled_from([GOOD, PALETTE])))
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(changed), opened)


@settings(max_examples=300, deadline=None)
@given(
    kinds=st.lists(
        st.sampled_from(
            [
                b"PLTE",
                b"tRNS",
                b"bKGD",
                b"pHYs",
                b"tIME",
                b"eXIf",
                b"tEXt",
                b"zTXt",
                b"iTXt",
                b"iCCP",
                b"IDAT",
            ]
        ),
        max_size=6,
    ),
    color=st.sampled_from([(8, 0), (2, 0), (16, 2), (8, 2), (8, 3), (1, 3), (8, 4), (8, 6)]),
    data=st.data(),
)
def test_well_formed_chunks_of_any_content_are_refused_or_read(
    kinds: list[bytes], color: tuple[int, int], data: st.DataObject, opened: Opened
) -> None:
    start = header(4, 4, *color)
    chunks = [chunk(kind, data.draw(st.binary(max_size=40))) for kind in kinds]
    chunks.insert(data.draw(st.integers(0, len(chunks))), data_chunk(bytes(4 * 4 * 8 + 4)))
    outcome(png(start, *chunks), opened)


def test_a_size_beyond_the_limits_is_refused_before_decoding(opened: Opened) -> None:
    for width, height in ((0x7FFFFFFF, 0x7FFFFFFF), (100_000, 100_000), (5_000_000, 1)):
        assert isinstance(outcome(png(header(width, height), data_chunk()), opened), LimitExceeded)
    limits = Limits(max_decode_pixels=WIDTH * HEIGHT - 1)
    assert isinstance(outcome(GOOD, opened, limits), LimitExceeded)


def test_a_size_its_bytes_can_not_hold_is_refused_before_decoding(opened: Opened) -> None:
    found = outcome(png(header(30_000, 30_000), data_chunk()), opened)
    assert isinstance(found, CorruptFile)
    assert "can't hold" in str(found)


def test_a_side_the_decoder_does_not_take_is_named(opened: Opened) -> None:
    rows = b"\0" + bytes(1_000_001)
    assert isinstance(outcome(png(header(1_000_001, 1, 8, 0), data_chunk(rows)), opened), UnsupportedFeature)


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE,
        png(),
        png(data_chunk()),
        png(header()),
        png(header(), chunk(b"IDAT")),
        png(header(0, 1), data_chunk()),
        png(header(1, 0x80000000), data_chunk()),
        png(header(depth=3), data_chunk()),
        png(header(color=1), data_chunk()),
        png(header(color=7), data_chunk()),
        png(header(depth=16, color=3), data_chunk()),
        png(header(rest=b"\1\0\0"), data_chunk()),
        png(header(rest=b"\0\1\0"), data_chunk()),
        png(header(rest=b"\0\0\2"), data_chunk()),
        png(header(color=3), data_chunk()),
        png(header(color=3), chunk(b"PLTE", b"\0\0"), data_chunk()),
        png(header(color=3), chunk(b"PLTE", bytes(771)), data_chunk()),
        png(header(), data_chunk(b"\7" * len(ROWS))),
        png(header(), chunk(b"IDAT", b"no deflate stream")),
        png(header(), b"\xff\xff\xff\xffIDAT"),
        png(header(), b"\x7f\xff\xff\xffIDAT"),
        png(header(), b"\0\0\0\0\0\0\0\0\0\0\0\0"),
        png(chunk(b"IHDR", bytes(12)), data_chunk()),
    ],
)
def test_nonsense_is_refused_as_damaged(data: bytes, opened: Opened) -> None:
    assert isinstance(outcome(data, opened), CorruptFile)


def test_variants_that_can_not_be_read_are_named(opened: Opened) -> None:
    found = outcome(png(chunk(b"CgBI", bytes(4)), header(), data_chunk()), opened)
    assert isinstance(found, UnsupportedFeature)
    assert "Apple" in str(found)
    found = outcome(png(header(), chunk(b"WhAT"), data_chunk()), opened)
    assert isinstance(found, UnsupportedFeature)
    assert "WhAT" in str(found)


def test_chunks_without_end_are_a_limit(opened: Opened) -> None:
    data = png(header(), chunk(b"teSt") * 200_001, data_chunk())
    with opened(PNGFormat, data) as image, pytest.raises(LimitExceeded, match="chunks"):
        _ = image.main_imd


def test_texts_are_bounded_in_number(opened: Opened) -> None:
    texts = [chunk(b"tEXt", b"key %d\0value" % number) for number in range(1000)]
    with opened(PNGFormat, png(header(), *texts, data_chunk())) as image:
        assert len([key for key in image.raw_metadata if key.startswith("PNG.key")]) == 64


def test_a_profile_that_inflates_without_end_is_not_inflated(opened: Opened) -> None:
    bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(50_000_000)))
    np.testing.assert_array_equal(outcome(png(header(), bomb, data_chunk()), opened), PIXELS)
