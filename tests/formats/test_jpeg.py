"""JPEG: pixels as an independent reader decodes them, metadata, regions, stored tiles."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from pims.cache.object import SimpleDataCache
from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext
from pims.formats.common.jpeg import JPEGFormat
from pims.formats.probe import Probe
from pims.model.geometry import Region
from pims.model.planes import Plane
from tests.formats.conftest import Opened

WIDTH, HEIGHT = 93, 67


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth colours with some noise: compressible, not trivial."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(3).integers(0, 30, (HEIGHT, WIDTH, 3))
    smooth = np.stack([x * 2, y * 3, (x + y)], axis=-1)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def whole(image: JPEGFormat, reduction: int = 1) -> NDArray[Any]:
    base = image.pyramid.base
    return image.reader.read_region(base, base.region, Plane(), reduction)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("L", {"progressive": True}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"subsampling": 2, "progressive": True}),
        ("RGB", {"keep_rgb": True, "subsampling": 0}),
        ("RGB", {"quality": 5}),
        ("RGB", {"restart_marker_blocks": 3}),
        (
            "RGB",
            {"exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0", "dpi": (300, 300)},
        ),
    ],
)
def test_pixels_equal_those_of_an_independent_reader(
    picture: Image.Image, mode: str, options: dict[str, Any], opened: Opened
) -> None:
    data = jpeg(picture.convert(mode), **options)
    with opened(JPEGFormat, data) as image:
        pixels = whole(image)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.fixture(scope="module")
def cmyk(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.dstack([np.asarray(picture), np.asarray(picture)[::-1, :, 0] // 2]), "CMYK")


def ycck(cmyk: Image.Image, subsampling: str) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            255 - np.asarray(cmyk), colorspace="CMYK", outcolorspace="YCCK", subsampling=subsampling
        )
    )


@pytest.mark.parametrize("kind", ["CMYK", "YCCK 444", "YCCK 420"])
def test_cmyk_becomes_rgb_within_one_level_and_is_converted_at_import(
    cmyk: Image.Image, kind: str, opened: Opened
) -> None:
    data = jpeg(cmyk) if kind == "CMYK" else ycck(cmyk, kind[-3:])
    with opened(JPEGFormat, data) as image:
        assert image.main_imd.n_samples == 3
        assert image.raw_metadata["File.ColorSpace"] == kind[:4]
        assert image.need_conversion
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, Plane()) is None
        np.testing.assert_allclose(whole(image), by_pillow(data).astype(int), atol=1)
        assert whole(image, 2).shape == (-(-HEIGHT // 2), -(-WIDTH // 2), 3)


@pytest.mark.parametrize("reduction", [1, 2, 8])
def test_unusual_sampling_factors_are_read_as_others_do(
    cmyk: Image.Image, reduction: int, opened: Opened
) -> None:
    data = jpeg(cmyk, subsampling=2)
    with opened(JPEGFormat, data) as image:
        pixels = whole(image, reduction)
        assert pixels.shape == (-(-HEIGHT // reduction), -(-WIDTH // reduction), 3)
        if reduction == 1:
            np.testing.assert_allclose(pixels, by_pillow(data).astype(int), atol=1)


def test_lossless_of_eight_bits_is_exact_and_not_called_lossy(picture: Image.Image, opened: Opened) -> None:
    data = bytes(imagecodecs.jpeg8_encode(np.asarray(picture), lossless=True))
    with opened(JPEGFormat, data) as image:
        assert not image.main_imd.lossy
        np.testing.assert_array_equal(whole(image), np.asarray(picture))
        assert whole(image, 4).shape == (-(-HEIGHT // 4), -(-WIDTH // 4), 3)
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, Plane()) is None


@pytest.mark.parametrize(("bits", "samples"), [(12, 1), (12, 3), (10, 1), (16, 1), (16, 3), (5, 1)])
def test_more_or_fewer_than_eight_bits_are_kept_as_they_are_stored(
    bits: int, samples: int, opened: Opened
) -> None:
    lossless = bits != 12
    shape = (64, 96, samples) if samples == 3 else (64, 96)
    ramp = (np.arange(np.prod(shape)) % (1 << bits)).reshape(shape)
    stored = np.sort(ramp, axis=0).astype(np.uint8 if bits <= 8 else np.uint16)
    data = bytes(imagecodecs.jpeg8_encode(stored, level=100, lossless=lossless, bitspersample=bits))
    with opened(JPEGFormat, data) as image:
        assert image.main_imd.significant_bits == bits and image.main_imd.n_samples == samples
        assert image.main_imd.pixel_type == stored.dtype.name and image.main_imd.lossy is not lossless
        pixels = whole(image)
        assert pixels.dtype == stored.dtype
        np.testing.assert_array_equal(pixels, imagecodecs.jpeg8_decode(data).reshape(64, 96, samples))
        if lossless:
            np.testing.assert_array_equal(pixels, stored.reshape(64, 96, samples))
        assert whole(image, 4).shape == (16, 24, samples)
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, Plane()) is None


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (8, 8), (9, 17), (WIDTH, HEIGHT), (16, 640)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reductions_are_as_large_as_promised_and_look_like_the_picture(
    picture: Image.Image, size: tuple[int, int], reduction: int, opened: Opened
) -> None:
    with opened(JPEGFormat, jpeg(picture.resize(size), quality=95, subsampling=0)) as image:
        small, full = whole(image, reduction), whole(image)
        assert small.shape == (-(-size[1] // reduction), -(-size[0] // reduction), 3)
        rows, columns = size[1] // reduction, size[0] // reduction
        blocks = full[: rows * reduction, : columns * reduction].astype(float)
        means = blocks.reshape(rows, reduction, columns, reduction, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(small[:rows, :columns], means, atol=8)


def test_regions_are_cuts_of_the_whole(picture: Image.Image, opened: Opened) -> None:
    with opened(JPEGFormat, jpeg(picture)) as image:
        base, full = image.pyramid.base, whole(image)
        for region in (Region(0, 0, 1, 1), Region(10, 20, 30, 40), Region(WIDTH - 1, 0, 1, HEIGHT)):
            cut = image.reader.read_region(base, region, Plane())
            np.testing.assert_array_equal(cut, full[region.top : region.bottom, region.left : region.right])


def test_main_metadata_of_colour_and_of_grey(picture: Image.Image, opened: Opened) -> None:
    with opened(JPEGFormat, jpeg(picture, subsampling=2)) as image:
        found = image.main_imd
        assert (found.width, found.height, found.n_samples) == (WIDTH, HEIGHT, 3)
        assert (found.pixel_type, found.significant_bits) == ("uint8", 8)
        assert [channel.suggested_name for channel in found.channels] == ["R", "G", "B"]
        assert [channel.color for channel in found.channels] == ["#ff0000", "#00ff00", "#0000ff"]
        assert found.brightfield
        assert found.lossy
        assert found.subsampled
        assert not image.need_conversion
    with opened(JPEGFormat, jpeg(picture.convert("L"))) as image:
        found = image.main_imd
        assert found.n_samples == 1
        assert not found.brightfield
        assert not found.subsampled
        assert [channel.color for channel in found.channels] == [None]


def test_known_metadata_come_from_comment_exif_and_density(picture: Image.Image, opened: Opened) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "described", 3
    exif[0x011A], exif[0x011B], exif[0x0128] = IFDRational(10000), IFDRational(20000), 3
    exif[0x0132] = "2020:02:03 04:05:06"
    with opened(JPEGFormat, jpeg(picture, exif=exif.tobytes(), comment="commented", dpi=(300, 300))) as image:
        found = image.full_imd
        assert found.physical_size_x_um == pytest.approx(1.0)
        assert found.physical_size_y_um == pytest.approx(0.5)
        assert found.acquired_at == datetime(2020, 2, 3, 4, 5, 6)
        assert found.description == "commented"
        assert found.orientation == 3
        raw = image.raw_metadata
        assert raw["EXIF.ImageDescription"] == "described"
        assert raw["File.Comment"] == "commented"
        assert raw["JFIF.XPixelsPerInch"] == 300
        assert found.width == image.main_imd.width


@pytest.mark.parametrize(("dpi", "expected"), [((254, 254), 100.0), ((72, 72), None), ((0, 0), None)])
def test_jfif_density_is_inverted_and_the_default_means_unknown(
    picture: Image.Image, dpi: tuple[int, int], expected: float | None, opened: Opened
) -> None:
    with opened(JPEGFormat, jpeg(picture, dpi=dpi)) as image:
        assert image.full_imd.physical_size_x_um == (expected and pytest.approx(expected))


def test_a_default_density_in_exif_leaves_the_word_to_jfif(picture: Image.Image, opened: Opened) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = IFDRational(72), IFDRational(72), 2
    with opened(JPEGFormat, jpeg(picture, exif=exif.tobytes(), dpi=(254, 254))) as image:
        assert image.full_imd.physical_size_x_um == pytest.approx(100.0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_stored_tile_shows_what_is_read_and_carries_no_metadata(
    picture: Image.Image, mode: str, opened: Opened
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(picture.convert(mode), exif=exif.tobytes(), comment="secret", icc_profile=bytes(200))
    with opened(JPEGFormat, data + b"trailing bytes") as image:
        stored = image.reader.read_stored_tile(image.pyramid.base, 0, 0, Plane())
        assert stored is not None
        assert stored.media_type == "image/jpeg"
        np.testing.assert_array_equal(by_pillow(stored.data), whole(image))
        with Image.open(io.BytesIO(stored.data)) as sent:
            assert dict(sent.getexif()) == {}
            assert "icc_profile" not in sent.info
        assert b"secret" not in stored.data
        assert stored.data.endswith(b"\xff\xd9")


def test_a_large_jpeg_is_converted_and_has_no_stored_tile(opened: Opened) -> None:
    with opened(JPEGFormat, jpeg(Image.new("RGB", (1025, 8)))) as image:
        assert image.need_conversion
        assert image.convertor is not None
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, Plane()) is None


def test_a_stored_tile_that_may_not_block_needs_a_known_header(picture: Image.Image, opened: Opened) -> None:
    with opened(JPEGFormat, jpeg(picture)) as image:
        base = image.pyramid.base
        SimpleDataCache.clear_cache(image)
        with pytest.raises(BlockingIOError):
            image.reader.read_stored_tile(base, 0, 0, Plane(), may_block=False)


def test_the_checker_looks_at_the_first_bytes_only(picture: Image.Image, opened: Opened) -> None:
    with opened(JPEGFormat, jpeg(picture)) as image:
        assert JPEGFormat.match(Probe(image.source))
    with opened(JPEGFormat, b"\xff\xd8") as image:
        assert not JPEGFormat.match(Probe(image.source))
    assert JPEGFormat.get_identifier() == "JPEG"


def test_a_thumbnail_is_decoded_small(picture: Image.Image, opened: Opened) -> None:
    context = ReadContext()
    with opened(JPEGFormat, jpeg(picture.resize((800, 600))), context) as image:
        assert isinstance(image.source, LocalSource)
        assert image.reader.read_thumb(100, 75).shape == (75, 100, 3)
        assert context.tile_cache.bytes_used == 75 * 100 * 3
