"""Every codec, fed by encoders of other libraries; and what each makes of damage and of bombs."""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.engines.tiff.codecs import decompress
from pims.formats.engines.tiff.jpeg2000 import read_codestream_header
from pims.formats.engines.tiff.tags import Compression
from pims.model.planes import FIRST_PLANE
from tests.formats.conftest import Opened
from tests.formats.engines.tiff.reading import read, written
from tests.formats.tiff_files import LONG, SHORT, build, noise, page_of, smooth, tiles_of

WIDTH, HEIGHT = 75, 61
FLOATS = 3
Encoder = Callable[[NDArray[Any]], bytes]


def tiled(pixels: NDArray[Any], encode: Encoder, compression: int, **options: Any) -> bytes:
    """The tiles of a picture, each encoded on its own, padded at the edges."""
    segments: list[bytes | None] = [
        encode(np.ascontiguousarray(tile if tile.shape[2] > 1 else tile[..., 0]))
        for tile in tiles_of(pixels, 32, 32)
    ]
    return build([page_of(pixels, segments, (32, 32), compression=compression, **options)])


def jpeg2000(pixels: NDArray[Any], **options: Any) -> bytes:
    form = options.pop("codecformat", "j2k")
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=form, **options))


@pytest.mark.parametrize("codec", ["packbits", "lzma", "zstd", "lzw", "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (16, 16)}], ids=str)
def test_codecs_of_bytes_give_what_was_written(
    options: dict[str, Any], dtype: str, codec: str, opened: Opened
) -> None:
    pixels = noise(WIDTH, HEIGHT, 3, dtype)
    pixels[10:30] = 7  # something to compress
    assert np.array_equal(read(written(pixels, compression=codec, **options), opened), pixels)


def test_zstd_had_another_number(opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT)
    page = page_of(pixels, [bytes(imagecodecs.zstd_encode(pixels.tobytes()))], compression=34926)
    assert np.array_equal(read(build([page]), opened), pixels)


@pytest.mark.parametrize("compression", [34712, 33005])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_jpeg2000_is_what_was_encoded(samples: int, dtype: str, compression: int, opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT, samples, dtype)
    found = read(tiled(pixels, jpeg2000, compression), opened)
    assert np.array_equal(found, pixels[..., : found.shape[2]])


def test_jpeg2000_of_ycbcr_becomes_rgb(opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT)
    found = read(tiled(pixels, partial(jpeg2000, mct=False), 33003), opened)
    theirs = np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    assert np.abs(found.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("mixed", [True, False])
def test_ycbcr_in_jpeg2000_is_converted_once(mixed: bool, opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT)
    found = read(tiled(pixels, partial(jpeg2000, mct=mixed), 34712, photometric=6), opened)
    expected = pixels if mixed else np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    assert np.abs(found.astype(int) - expected).max() <= (0 if mixed else 1)


def test_jpeg2000_may_be_in_boxes_and_of_odd_bits(opened: Opened) -> None:
    pixels = smooth(32, 32, 1, "uint16") >> 4
    for form in ("jp2", "j2k"):
        data = jpeg2000(pixels[..., 0], codecformat=form, bitspersample=12)
        page = page_of(pixels, [data], (32, 32), compression=34712, tags={258: (SHORT, [12])})
        assert np.array_equal(read(build([page]), opened), pixels)


def test_the_header_of_a_codestream_is_read_in_boxes_and_bare() -> None:
    for form in ("jp2", "j2k"):
        header = read_codestream_header(jpeg2000(smooth(70, 50), codecformat=form, mct=True))
        assert (header.width, header.height, header.components, header.tiles) == (70, 50, 3, 1)
        assert header.becomes_rgb


def claimed(data: bytes, offset: int, *values: int) -> bytes:
    """A codestream with other sizes: Xsiz is at 8, Xtsiz at 24."""
    return data[:offset] + struct.pack(f">{len(values)}I", *values) + data[offset + 4 * len(values) :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: claimed(data, 8, 100_000, 100_000),
        lambda data: claimed(data, 24, 1, 1),
        lambda data: claimed(data, 24, 0, 0),
        lambda data: data[:40],
        lambda data: data[:60],
        lambda data: data[: len(data) // 2],
        lambda data: b"\0\0\0\x0cjP  \r\n\x87\n" + data,
        lambda data: data.replace(b"\xff\x52", b"\xff\x53", 1),
        lambda data: data.replace(b"\xff\x52\0\x0c\0\0\0\1", b"\xff\x52\0\x0c\0\0\xff\xff", 1)[:300],
        lambda data: b"",
    ],
)
def test_a_jpeg2000_tile_that_lies_is_refused_before_it_is_decoded(
    damage: Callable[[bytes], bytes], opened: Opened
) -> None:
    pixels = noise(64, 64)
    page = page_of(pixels, [damage(jpeg2000(pixels)) or b"\0"], (64, 64), compression=34712)
    with pytest.raises(CorruptFile):
        read(build([page]), opened)


@pytest.mark.parametrize("samples", [3, 4])
def test_webp_is_what_was_encoded(samples: int, opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT, samples)
    if samples == 4:
        pixels[..., 3] = 255
    encode = partial(imagecodecs.webp_encode, lossless=True)
    tags = {338: (SHORT, [2])} if samples == 4 else {}
    found = read(tiled(pixels, lambda tile: bytes(encode(tile)), 50001, tags=tags), opened)
    assert np.array_equal(found, pixels[..., :3])


@pytest.mark.parametrize("codec", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_lerc_is_what_was_encoded(dtype: str, codec: int, opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT, 3, "uint16").astype(dtype)

    def encode(tile: NDArray[Any]) -> bytes:
        data = bytes(imagecodecs.lerc_encode(tile))
        return (
            data if not codec else bytes((imagecodecs.zlib_encode, imagecodecs.zstd_encode)[codec - 1](data))
        )

    formats = {"u": 1, "i": 2, "f": FLOATS}[np.dtype(dtype).kind]
    tags = {339: (SHORT, [formats] * 3), 50674: (LONG, [4, codec])}
    assert np.array_equal(read(tiled(pixels, encode, 34887, tags=tags), opened), pixels)


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_fax_is_what_libtiff_wrote(compression: str, opened: Opened) -> None:
    bits = smooth(WIDTH, HEIGHT, 1) > 128
    stream = io.BytesIO()
    Image.fromarray(bits[..., 0]).save(stream, "TIFF", compression=compression)
    assert np.array_equal(read(stream.getvalue(), opened), bits.astype(np.uint8))
    with tifffile.TiffFile(io.BytesIO(stream.getvalue())) as tiff:
        page = tiff.pages.first
        assert isinstance(page, tifffile.TiffPage)
        start, size = page.dataoffsets[0], page.databytecounts[0]
        turned = bytes(imagecodecs.bitorder_decode(stream.getvalue()[start : start + size]))
        tags = {258: (SHORT, [1]), 266: (SHORT, [2]), 292: (LONG, [page.tags.valueof(292) or 0])}
        again = page_of(
            bits, [turned], compression=int(page.compression), photometric=int(page.photometric), tags=tags
        )
    assert np.array_equal(read(build([again]), opened), bits.astype(np.uint8))


@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg_of_12_bits_keeps_them(samples: int, opened: Opened) -> None:
    pixels = smooth(WIDTH, HEIGHT, samples, "uint16") >> 4

    def encode(tile: NDArray[Any]) -> bytes:
        return bytes(
            imagecodecs.jpeg8_encode(
                tile,
                level=98,
                bitspersample=12,
                colorspace="RGB" if samples == 3 else None,
                outcolorspace="RGB" if samples == 3 else None,
            )
        )

    data = tiled(pixels, encode, 7, tags={258: (SHORT, [12] * samples)})
    with opened(PlanarTIFFFormat, data) as image:
        assert (image.main_imd.pixel_type, image.main_imd.significant_bits) == ("uint16", 12)
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, FIRST_PLANE) is None
    assert np.abs(read(data, opened).astype(int) - pixels).max() <= 40


def test_jpeg_of_inks_becomes_rgb_and_is_never_sent_as_it_is(opened: Opened) -> None:
    pixels = smooth(64, 32, 4)
    data = tiled(pixels, lambda tile: bytes(imagecodecs.jpeg8_encode(tile, level=98)), 7, photometric=5)
    ink = pixels / 255
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert np.abs(read(data, opened) - expected).max() <= 8
    with opened(PlanarTIFFFormat, data) as image:
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, FIRST_PLANE) is None


DAMAGED: dict[str, tuple[int, bytes, int]] = {
    "no PackBits": (32773, b"\x05ab", 1),
    "no LZMA": (34925, b"no LZMA", 3),
    "LZMA of too little": (34925, lzma.compress(b"x"), 3),
    "no WebP": (50001, b"RIFF\0\0\0\0WEBP", 3),
    "a larger WebP": (50001, bytes(imagecodecs.webp_encode(noise(64, 64), lossless=True)), 3),
    "no LERC": (34887, b"no LERC", 3),
    "a larger LERC": (34887, bytes(imagecodecs.lerc_encode(noise(64, 64))), 3),
    "no JPEG 2000": (34712, b"no JPEG 2000", 3),
    "a larger JPEG 2000": (34712, jpeg2000(noise(64, 64)), 3),
    "a JPEG 2000 of 16 bits": (34712, jpeg2000(noise(20, 10, 3, "uint16")), 3),
    "a grey JPEG 2000": (34712, jpeg2000(noise(20, 10, 1)[..., 0]), 3),
    "a larger JPEG of inks": (7, bytes(imagecodecs.jpeg8_encode(noise(64, 64, 4))), 4),
    "no old-style JPEG": (6, b"no JPEG", 3),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_called_damage(what: str, opened: Opened) -> None:
    compression, data, samples = DAMAGED[what]
    pixels = noise(20, 10, samples)
    photometric = {1: 1, 3: 2, 4: 5}[samples]
    page = page_of(pixels, [data], compression=compression, photometric=photometric)
    with pytest.raises(CorruptFile):
        read(build([page]), opened)


def test_no_more_is_decompressed_than_is_needed() -> None:
    bomb = lzma.compress(bytes(50_000_000))
    assert len(decompress(Compression.LZMA, bomb, 1000)) == 1000
    for compression, encode in (
        (Compression.ZSTD, imagecodecs.zstd_encode),
        (Compression.DEFLATE, imagecodecs.zlib_encode),
        (Compression.PACKBITS, imagecodecs.packbits_encode),
    ):
        with pytest.raises(CorruptFile, match="can't be decompressed"):
            decompress(compression, bytes(encode(bytes(200_000))), 1000)


def test_a_dictionary_of_gigabytes_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    data = bytearray(lzma.compress(bytes(1000), filters=filters, check=lzma.CHECK_NONE))
    data[16] = 40  # the dictionary's size as LZMA2 writes it: 4 GiB
    with pytest.raises(CorruptFile):
        decompress(Compression.LZMA, bytes(data), 1000)
