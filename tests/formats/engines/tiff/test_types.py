"""Samples of every number of bits, signed and floating-point, in every layout that tifffile can write."""

from __future__ import annotations

import io
import zlib
from typing import Any, Literal

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.engines.tiff.bits import SampleKind, SampleType
from tests.formats.conftest import Opened
from tests.formats.engines.tiff.reading import read, written
from tests.formats.tiff_files import SHORT, build, noise, page_of

WIDTH, HEIGHT = 37, 23
FLOATS, SIGNED = 3, 2
LAYOUTS: list[dict[str, Any]] = [{"rowsperstrip": 7}, {"tile": (16, 16)}]
CODECS = [None, "zlib", "lzw", "packbits", "zstd"]


def random_values(samples: int, dtype: str, bits: int | None = None) -> NDArray[Any]:
    random = np.random.default_rng(1)
    shape = (HEIGHT, WIDTH, samples)
    if dtype.startswith("float"):
        values = random.normal(0, 1000, shape).astype(dtype)
        values[3, 4] = np.nan
        values[5, 6] = np.inf
        return values
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if bits is None else (0, (1 << bits) - 1)
    return random.integers(low, high, shape, dtype, endpoint=True)


def bits_of(data: bytes, opened: Opened) -> tuple[str, int]:
    with opened(PlanarTIFFFormat, data) as image:
        return image.main_imd.pixel_type, image.main_imd.significant_bits


@pytest.mark.parametrize("bits", [*range(1, 16), *range(17, 32)])
@pytest.mark.parametrize("samples", [1, 3])
def test_packed_bits_come_in_the_next_wider_type(bits: int, samples: int, opened: Opened) -> None:
    dtype = "uint8" if bits <= 8 else "uint16" if bits <= 16 else "uint32"
    pixels = random_values(samples, dtype, bits)
    flat = pixels.reshape(HEIGHT, -1)
    packed = bytes(imagecodecs.packints_encode(flat, bits, runlen=flat.shape[1]))
    for order in "<>":
        for compression, stored in ((1, packed), (8, zlib.compress(packed))):
            page = page_of(pixels, [stored], compression=compression, tags={258: (SHORT, [bits] * samples)})
            data = build([page], order=order)
            assert bits_of(data, opened) == (dtype, bits)
            assert np.array_equal(read(data, opened), pixels)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["uint32", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("samples", [1, 3])
def test_wide_signed_and_floating_samples_are_those_that_were_written(
    samples: int, dtype: str, codec: str | None, opened: Opened
) -> None:
    pixels = random_values(samples, dtype)
    predictors = [1] if codec in (None, "packbits") else [1, 2] if dtype[0] != "f" else [1, 3]
    for predictor in predictors:
        for options in LAYOUTS:
            for order in "<>":
                data = written(pixels, compression=codec, predictor=predictor, byteorder=order, **options)
                assert bits_of(data, opened) == (dtype, np.dtype(dtype).itemsize * 8)
                assert np.array_equal(read(data, opened), pixels, equal_nan=dtype[0] == "f")


@pytest.mark.parametrize("predictor", [1, 3])
def test_half_floats_become_floats(predictor: int, opened: Opened) -> None:
    pixels = random_values(1, "float16")
    data = written(pixels, compression="zlib", predictor=predictor)
    assert bits_of(data, opened) == ("float32", 32)
    assert np.array_equal(read(data, opened), pixels.astype(np.float32), equal_nan=True)


def test_differences_of_floats_are_those_of_their_bits(opened: Opened) -> None:
    pixels = random_values(1, "float32")
    differences = np.diff(pixels.view(np.uint32), axis=1, prepend=np.uint32(0))
    tags = {317: (SHORT, [2]), 339: (SHORT, [FLOATS])}
    page = page_of(pixels, [zlib.compress(differences.tobytes())], compression=8, tags=tags)
    assert np.array_equal(read(build([page]), opened), pixels, equal_nan=True)


def test_floats_of_24_bits_become_floats_of_32(opened: Opened) -> None:
    pixels = np.array([[[0.0], [1.5], [-2.25], [1e18], [np.inf], [-np.inf], [65504], [2.0**-60]]], np.float32)
    orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
    for order in orders:
        stored = bytes(imagecodecs.float24_encode(pixels, byteorder=order))
        tags = {258: (SHORT, [24]), 339: (SHORT, [FLOATS])}
        found = read(build([page_of(pixels, [stored], tags=tags)], order=order), opened)
        assert np.allclose(found, pixels, rtol=2**-16)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 24])
def test_signed_samples_of_odd_bits_keep_their_sign(bits: int, opened: Opened) -> None:
    dtype = "int8" if bits <= 8 else "int16" if bits <= 16 else "int32"
    half = 1 << (bits - 1)
    pixels = np.random.default_rng(0).integers(-half, half, (HEIGHT, WIDTH, 1)).astype(dtype)
    unsigned = (pixels.astype(np.int64) & ((1 << bits) - 1)).astype(dtype.replace("int", "uint"))
    stored = bytes(imagecodecs.packints_encode(unsigned[..., 0], bits, runlen=WIDTH))
    tags = {258: (SHORT, [bits]), 339: (SHORT, [SIGNED])}
    assert np.array_equal(read(build([page_of(pixels, [stored], tags=tags)]), opened), pixels)


def test_differences_of_odd_bits_add_up_within_them(opened: Opened) -> None:
    pixels = random_values(3, "uint16", 12)
    differences = np.diff(pixels, axis=1, prepend=np.zeros((HEIGHT, 1, 3), np.uint16)) & 0xFFF
    packed = bytes(imagecodecs.packints_encode(differences.reshape(HEIGHT, -1), 12, runlen=WIDTH * 3))
    tags = {258: (SHORT, [12] * 3), 317: (SHORT, [2])}
    page = page_of(pixels, [zlib.compress(packed)], compression=8, tags=tags)
    assert np.array_equal(read(build([page]), opened), pixels)


def test_a_bilevel_image_holds_zeros_and_ones(opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT, 1) > 99
    for photometric in ("minisblack", "miniswhite"):
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels[..., 0], photometric=photometric, metadata=None)
        assert bits_of(stream.getvalue(), opened) == ("uint8", 1)
        expected = pixels if photometric == "minisblack" else ~pixels
        assert np.array_equal(read(stream.getvalue(), opened), expected.astype(np.uint8))


@pytest.mark.parametrize("bits", [1, 3, 8, 12, 16, 24])
def test_white_is_zero_within_the_bits_that_are_stored(bits: int, opened: Opened) -> None:
    dtype = "uint8" if bits <= 8 else "uint16" if bits <= 16 else "uint32"
    pixels = random_values(1, dtype, bits)
    if bits in (8, 16):
        stored = pixels.astype(f"<u{bits // 8}").tobytes()
    else:
        stored = bytes(imagecodecs.packints_encode(pixels[..., 0], bits, runlen=WIDTH))
    page = page_of(pixels, [stored], photometric=0, tags={258: (SHORT, [bits])})
    assert np.array_equal(read(build([page]), opened), (1 << bits) - 1 - pixels)


def test_bytes_whose_bits_are_reversed_are_turned(opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT)
    for compression, stored in ((1, pixels.tobytes()), (8, zlib.compress(pixels.tobytes()))):
        turned = bytes(imagecodecs.bitorder_decode(stored))
        page = page_of(pixels, [turned], compression=compression, tags={266: (SHORT, [2])})
        assert np.array_equal(read(build([page]), opened), pixels)


def test_transparency_of_floats_is_a_fraction(opened: Opened) -> None:
    pixels = np.random.default_rng(0).random((5, 4, 2)).astype(np.float32)
    tags = {338: (SHORT, [2]), 339: (SHORT, [FLOATS] * 2)}
    found = read(build([page_of(pixels, [pixels.tobytes()], tags=tags)]), opened)
    assert np.allclose(found, pixels[..., :1] * pixels[..., 1:])


def test_a_type_knows_its_size_and_its_highest_value() -> None:
    assert SampleType(SampleKind.UNSIGNED, 12).highest == 4095
    assert SampleType(SampleKind.SIGNED, 16).highest == 32767
    assert SampleType(SampleKind.FLOAT, 16).highest == 1
    assert SampleType(SampleKind.UNSIGNED, 12).stored_bytes(2, 3) == 10
    assert SampleType(SampleKind.FLOAT, 24).dtype == np.float32
