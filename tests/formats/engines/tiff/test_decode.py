"""Pixels of every kind of TIFF that is read, against tifffile and libtiff; the others are refused by name."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.abstract import ReadContext
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.engines.reduce import box_reduce
from pims.formats.engines.tile_cache import TileCache
from pims.model.geometry import Region
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import block_means
from tests.formats.conftest import Opened
from tests.formats.engines.tiff.reading import read, written
from tests.formats.tiff_files import LONG, SHORT, Page, build, noise, page_of, smooth, tiles_of

WIDTH, HEIGHT = 75, 61
ASSOCIATED, UNASSOCIATED, UNSPECIFIED = 1, 2, 0
CODECS = {"none": None, "lzw": "lzw", "deflate": "zlib", "zstd": "zstd"}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {"rowsperstrip": HEIGHT},
    "strips of a row": {"rowsperstrip": 1},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "tiles larger than the image": {"tile": (80, 96)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3])
def test_lossless_pixels_are_those_that_were_written(
    samples: int, dtype: str, codec: str, layout: str, opened: Opened
) -> None:
    pixels = noise(WIDTH, HEIGHT, samples, dtype)
    options = {"compression": CODECS[codec], **LAYOUTS[layout]}
    for predictor in (False, True) if codec != "none" else (False,):
        for order, big in (("<", False), (">", True)):
            data = written(pixels, predictor=predictor, byteorder=order, bigtiff=big, **options)
            assert np.array_equal(read(data, opened), pixels)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "zstd"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_lossless_pixels_are_those_that_libtiff_wrote(
    mode: str, compression: str | None, opened: Opened
) -> None:
    pixels = noise(WIDTH, HEIGHT, 3 if mode == "RGB" else 1, "uint16" if mode == "I;16" else "uint8")
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        stream, "TIFF", compression=compression
    )
    assert np.array_equal(read(stream.getvalue(), opened), pixels)


@pytest.mark.parametrize("codec", ["none", "deflate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero_where_the_file_says_so(dtype: str, codec: str, opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT, 1, dtype)
    data = written(pixels, photometric="miniswhite", compression=CODECS[codec])
    assert np.array_equal(read(data, opened), np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize("kind", [ASSOCIATED, UNASSOCIATED, UNSPECIFIED])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3])
def test_alpha_is_composited_over_white_or_black(samples: int, dtype: str, kind: int, opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT, samples + 1, dtype)
    top = np.iinfo(dtype).max
    color, alpha = pixels[..., :samples].astype(float), pixels[..., samples:] / top
    if kind == ASSOCIATED:
        pixels[..., :samples] = color = np.floor(color * alpha)
    ground = top if samples == 3 and dtype == "uint8" else 0
    front = color * alpha if kind == UNASSOCIATED else color
    expected = color if kind == UNSPECIFIED else front + (1 - alpha) * ground
    options: dict[str, Any] = {"photometric": "rgb" if samples == 3 else "minisblack", "extrasamples": [kind]}
    found = read(written(pixels, planarconfig="contig", **options), opened)
    assert np.abs(found - expected).max() <= 0.5


def test_alpha_may_be_the_second_of_the_extra_samples(opened: Opened) -> None:
    pixels = noise(20, 10, 5)
    page = page_of(pixels, [pixels.tobytes()], tags={338: (SHORT, [UNSPECIFIED, UNASSOCIATED])})
    alpha = pixels[..., 4:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read(build([page]), opened) - expected).max() <= 0.5


def test_alpha_is_not_inverted_where_white_is_zero(opened: Opened) -> None:
    pixels = noise(20, 10, 2)
    page = page_of(pixels, [pixels.tobytes()], photometric=0, tags={338: (SHORT, [UNASSOCIATED])})
    expected = (255 - pixels[..., :1].astype(int)) * (pixels[..., 1:] / 255)
    assert np.abs(read(build([page]), opened) - expected).max() <= 0.5


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("layout", ["one strip", "tiles", "tiles larger than the image"])
def test_ycbcr_jpeg_is_what_other_decoders_show(
    layout: str, subsampling: tuple[int, int], tmp_path: Path, opened: Opened
) -> None:
    options: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 90}}
    options["subsampling"] = subsampling
    data = written(smooth(WIDTH, HEIGHT), **options, **LAYOUTS[layout])
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert tiff.pages.first.photometric.name == "YCBCR"
        theirs = tiff.asarray()
    ours = read(data, opened)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.abs(ours.astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_of_libtiff_with_tables_is_what_libtiff_shows(mode: str, opened: Opened) -> None:
    picture = Image.fromarray(smooth(WIDTH, HEIGHT)).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "TIFF", compression="jpeg", quality=90, strip_size=WIDTH * 3 * 16)
    data = stream.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert tiff.pages.first.jpegtables
    ours = read(data, opened)
    theirs = np.asarray(Image.open(io.BytesIO(data))).reshape(ours.shape)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_grey_jpeg_where_white_is_zero_is_inverted(opened: Opened) -> None:
    data = written(smooth(WIDTH, HEIGHT, 1), compression="jpeg", tile=(32, 32))
    found = read(data, opened)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        offset = tiff.pages.first.tags[262].valueoffset
    inverted = data[:offset] + b"\0\0" + data[offset + 2 :]
    assert np.array_equal(read(inverted, opened), 255 - found)


def test_a_predictor_without_compression_means_nothing(opened: Opened) -> None:
    pixels = noise(20, 10)
    page = page_of(pixels, [pixels.tobytes()], tags={317: (SHORT, [2])})
    data = build([page])
    assert np.array_equal(read(data, opened), pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_bytes_after_the_pixels_of_a_strip_are_left_alone(opened: Opened) -> None:
    pixels = noise(20, 10)
    for compression, coded in ((1, pixels.tobytes()), (8, zlib.compress(pixels.tobytes() + bytes(500)))):
        page = page_of(pixels, [coded + bytes(3000)], compression=compression)
        assert np.array_equal(read(build([page]), opened), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_a_tile_that_is_not_stored_shows_the_background(samples: int, dtype: str, opened: Opened) -> None:
    pixels = noise(40, 30, samples, dtype)
    pixels[:16, 16:32] = expected = 255 if samples >= 3 and dtype == "uint8" else 0
    segments: list[bytes | None] = [tile.tobytes() for tile in tiles_of(pixels, 16, 16)]
    segments[1] = None
    found = read(build([page_of(pixels, segments, (16, 16))]), opened)
    assert np.array_equal(found, pixels[..., : found.shape[2]])
    assert (found[:16, 16:32] == expected).all()


UNSUPPORTED: dict[str, tuple[dict[int, tuple[int, list[int]]], int, str]] = {
    "another colour space": ({262: (SHORT, [32844])}, 1, "the colour space 32844"),
    "a colour space below zero": ({262: (8, [-7])}, 1, "the colour space -7"),
    "a colour filter array": ({262: (SHORT, [32803])}, 1, "the colour filter array of a camera"),
    "inks": ({262: (SHORT, [5]), 332: (SHORT, [2])}, 4, "inks that are not CMYK"),
    "three inks": ({262: (SHORT, [5])}, 3, "inks that are not CMYK"),
    "a palette of floats": (
        {262: (SHORT, [3]), 258: (SHORT, [32]), 339: (SHORT, [3])},
        1,
        "a colour palette of 32 bits",
    ),
    "YCbCr of 16 bits": ({262: (SHORT, [6]), 258: (SHORT, [16])}, 3, "YCbCr colours of 16 bits"),
    "Lab of 12 bits": ({262: (SHORT, [8]), 258: (SHORT, [12])}, 3, r"CIE L\*a\*b\* colours of 12 bits"),
    "complex numbers": ({339: (SHORT, [6])}, 1, "complex numbers"),
    "another sample format": ({339: (SHORT, [9])}, 1, "the sample format 9"),
    "floats of 8 bits": ({339: (SHORT, [3])}, 1, "floating-point numbers of 8 bits"),
    "no bits": ({258: (SHORT, [0])}, 1, "unsigned integers of 0 bits"),
    "64 bits": ({258: (SHORT, [64])}, 1, "unsigned integers of 64 bits"),
    "signed bits": ({258: (SHORT, [1]), 339: (SHORT, [2])}, 1, "signed integers of 1 bit"),
    "16 bits in JPEG": ({258: (SHORT, [16]), 259: (SHORT, [7])}, 1, "16 bits per sample in JPEG"),
    "JPEG of five samples": ({259: (SHORT, [7])}, 5, "JPEG with 5 samples a pixel"),
    "floats in JPEG 2000": (
        {258: (SHORT, [32]), 259: (SHORT, [34712]), 339: (SHORT, [3])},
        1,
        "floating-point 32 bits per sample in JPEG 2000",
    ),
    "grey WebP": ({259: (SHORT, [50001])}, 1, "1 samples of 8 bits per sample in WebP"),
    "CCITT of 8 bits": ({259: (SHORT, [4])}, 1, "1 samples of 8 bits per sample in CCITT"),
    "ThunderScan": ({258: (SHORT, [4]), 259: (SHORT, [32809])}, 1, "the compression ThunderScan"),
    "an unknown codec": ({259: (SHORT, [4711])}, 1, "the compression number 4711"),
    "an unknown predictor": ({259: (SHORT, [8]), 317: (SHORT, [7])}, 1, "the predictor 7"),
    "a float predictor": (
        {259: (SHORT, [8]), 317: (SHORT, [3])},
        1,
        "the floating-point predictor for integers",
    ),
    "differences of shared colours": (
        {259: (SHORT, [8]), 262: (SHORT, [6]), 317: (SHORT, [2])},
        3,
        "the predictor 2 with pixels of this kind",
    ),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_is_not_supported_is_named(what: str, opened: Opened) -> None:
    tags, samples, words = UNSUPPORTED[what]
    pixels = noise(20, 10, samples)
    page = page_of(pixels, [pixels.tobytes()], tags=tags)
    sentence = f"^This TIFF uses {words}, which this version can't read.$"
    with pytest.raises(UnsupportedFeature, match=sentence), opened(PlanarTIFFFormat, build([page])) as image:
        _ = image.main_imd


def jpeg_page(data: bytes, width: int = 32, height: int = 16, samples: int = 1) -> Page:
    pixels = np.zeros((height, width, samples), np.uint8)
    return page_of(pixels, [data], (width, height), compression=7, photometric=2 if samples == 3 else 1)


def grey_jpeg(width: int, height: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(smooth(width, height, 1)[..., 0], level=90))


DAMAGED = {
    "too few bytes": page_of(noise(20, 10), [bytes(599)]),
    "no deflate": page_of(noise(20, 10), [b"no deflate"], compression=8),
    "deflate of too little": page_of(noise(20, 10), [zlib.compress(bytes(599))], compression=8),
    "deflate cut": page_of(noise(20, 10), [zlib.compress(noise(20, 10).tobytes())[:-50]], compression=8),
    "no LZW": page_of(noise(20, 10), [b"\xff\xff\xff\xff no LZW"], compression=5),
    "no zstd": page_of(noise(20, 10), [b"no zstd"], compression=50000),
    "no JPEG": jpeg_page(b"no JPEG"),
    "JPEG without tables": jpeg_page(b"\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0\1\2\3\xff\xd9"),
    "JPEG cut": jpeg_page(grey_jpeg(32, 16)[:-20]),
    "a larger JPEG": jpeg_page(grey_jpeg(64, 64)),
    "a wider JPEG": jpeg_page(grey_jpeg(40, 16)),
    "a smaller JPEG": jpeg_page(grey_jpeg(16, 16)),
    "a transposed JPEG": jpeg_page(grey_jpeg(16, 32)),
    "colours of one sample": page_of(noise(20, 10, 1), [bytes(200)], photometric=2),
    "a tile that claims much": page_of(
        noise(20, 10), [b"x"], (16, 16), compression=8, tags={325: (LONG, [1 << 30] * 2)}
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_called_damage(what: str, opened: Opened) -> None:
    with pytest.raises(CorruptFile):
        read(build([DAMAGED[what]]), opened)


def test_damaged_jpeg_tables_are_refused(opened: Opened) -> None:
    for tables in (b"tables", b"\xff\xd8", b"\xff\xd9\xff\xd8", b"\xff\xd8\xff\xdb\0\x43", b"\xff"):
        page = jpeg_page(grey_jpeg(32, 16))
        page.tags[347] = (7, tables)
        with pytest.raises(CorruptFile):
            read(build([page]), opened)


def test_a_bomb_is_refused_by_its_size_before_it_is_decoded(opened: Opened) -> None:
    pixels = noise(1, 1)
    for size in ((40_000, 40_000), (4_000_000, 4_000_000)):
        page = page_of(pixels, [zlib.compress(bytes(9))], size, compression=8)
        with pytest.raises(LimitExceeded, match="MiB"):
            read(build([page]), opened)


def test_the_limits_of_the_caller_count(opened: Opened) -> None:
    pixels = noise(64, 64)
    limits = Limits(max_segment_bytes=64 * 64 * 3 - 1)
    data = build([page_of(pixels, [pixels.tobytes()])])
    with (
        opened(PlanarTIFFFormat, data, ReadContext(limits=limits)) as image,
        pytest.raises(LimitExceeded, match="A strip is 64 x 64 px"),
    ):
        _ = image.main_imd


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
    ),
    st.sampled_from([1, 2, 4, 8]),
)
def test_a_box_reduction_is_the_mean_of_every_block(pixels: NDArray[Any], factor: int) -> None:
    reduced = box_reduce(pixels, factor)
    assert reduced.dtype == pixels.dtype
    assert reduced.shape == (-(-pixels.shape[0] // factor), -(-pixels.shape[1] // factor), pixels.shape[2])
    assert np.abs(reduced - block_means(pixels, factor)).max() <= 0.5 + 1e-3


def test_an_image_wider_than_any_screen_is_reduced(opened: Opened) -> None:
    pixels = noise(70_001, 5, 1)
    found = read(build([page_of(pixels, [pixels.tobytes()])]), opened, reduction=8)
    assert np.abs(found - block_means(pixels, 8)).max() <= 0.5


def test_a_strip_too_heavy_for_the_cache_is_read_all_the_same(opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT)
    data = written(pixels, compression="zlib", rowsperstrip=HEIGHT)
    with opened(PlanarTIFFFormat, data, ReadContext(tile_cache=TileCache(100))) as image:
        base = image.pyramid.base
        for top in range(0, HEIGHT, 9):
            region = Region(0, top, WIDTH, min(9, HEIGHT - top))
            assert np.array_equal(
                image.reader.read_region(base, region, FIRST_PLANE), pixels[top : region.bottom]
            )
