"""PNG: pixels as an independent reader decodes them, transparency, metadata."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import datetime
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pims.formats.common.png import PNGFormat
from pims.formats.probe import Probe
from pims.model.planes import Plane
from tests.formats.conftest import Opened

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Adam7: left, top, step x, step y of every pass."""


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(samples: NDArray[Any], depth: int) -> bytes:
    """(height, width, channels) as rows of PNG without filter."""
    if samples.size == 0:
        return b""
    rows = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    return b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in bits)


def png(samples: NDArray[Any], depth: int, color: int, *extra: bytes, interlaced: bool = False) -> bytes:
    """A PNG of stored samples (height, width, channels), written by the book."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [samples]
    data = zlib.compress(b"".join(packed(part, depth) for part in parts))
    return SIGNATURE + b"".join(
        (chunk(b"IHDR", header), *extra, chunk(b"IDAT", data[:50]), chunk(b"IDAT", data[50:]), chunk(b"IEND"))
    )


def random_samples(width: int, height: int, depth: int, channels: int) -> NDArray[Any]:
    return np.random.default_rng(depth).integers(0, 1 << depth, (height, width, channels))


PALETTE_COLOURS = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)


def expected_samples(samples: NDArray[Any], depth: int, color: int) -> NDArray[Any]:
    """What must come out, before transparency."""
    if color == PALETTE:
        colours: NDArray[Any] = PALETTE_COLOURS[samples[..., 0]]
        return colours
    if depth < 8:
        return samples * (255 // ((1 << depth) - 1))
    return samples


def over(colour: NDArray[Any], alpha: NDArray[Any], background: Any, highest: int) -> NDArray[Any]:
    part = alpha[..., None] / highest
    mixed: NDArray[Any] = np.floor(colour * part + np.asarray(background) * (1 - part) + 0.5)
    return mixed


def whole(image: PNGFormat, reduction: int = 1) -> NDArray[Any]:
    base = image.pyramid.base
    return image.reader.read_region(base, base.region, Plane(), reduction)


KINDS = [
    *((depth, GREY) for depth in (1, 2, 4, 8, 16)),
    *((depth, PALETTE) for depth in (1, 2, 4, 8)),
    (8, RGB),
    (16, RGB),
]


@pytest.mark.parametrize(("depth", "color"), KINDS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 21)])
def test_every_opaque_kind_gives_its_samples(
    depth: int, color: int, interlaced: bool, size: tuple[int, int], opened: Opened
) -> None:
    samples = random_samples(*size, depth, CHANNELS[color])
    extra = [chunk(b"PLTE", PALETTE_COLOURS[: 1 << depth].tobytes())] if color == PALETTE else []
    data = png(samples, depth, color, *extra, interlaced=interlaced)
    with opened(PNGFormat, data) as image:
        pixels, found = whole(image), image.main_imd
        np.testing.assert_array_equal(pixels, expected_samples(samples, depth, color))
        assert pixels.flags.c_contiguous
        assert pixels.dtype.name == found.pixel_type == ("uint16" if depth == 16 else "uint8")
        assert pixels.shape == (found.height, found.width, found.n_samples)
        assert found.significant_bits == max(depth, 8)
        assert found.brightfield == (color != GREY and depth != 16)
        assert not found.lossy
        assert len(found.channels) == found.n_samples
    if depth <= 8:
        with Image.open(io.BytesIO(data)) as other:
            again = np.asarray(other.convert("L" if color == GREY else "RGB"))
        np.testing.assert_array_equal(pixels, again.reshape(pixels.shape))


@pytest.mark.parametrize(
    ("depth", "color", "default"),
    [(8, GREY_ALPHA, 0), (16, GREY_ALPHA, 0), (8, RGB_ALPHA, 255), (16, RGB_ALPHA, 0)],
)
@pytest.mark.parametrize("declared", [False, True])
def test_alpha_is_composited_on_the_declared_background_or_the_default(
    depth: int, color: int, default: int, declared: bool, opened: Opened
) -> None:
    samples = random_samples(33, 21, depth, CHANNELS[color])
    samples[0, 0, -1], samples[0, 1, -1] = 0, (1 << depth) - 1
    n = CHANNELS[color] - 1
    background = [10, 100, 200][:n]
    extra = [chunk(b"bKGD", struct.pack(f">{n}H", *background))] if declared else []
    with opened(PNGFormat, png(samples, depth, color, *extra)) as image:
        pixels = whole(image)
        assert image.main_imd.n_samples == n
        expected = over(
            samples[..., :-1], samples[..., -1], background if declared else default, (1 << depth) - 1
        )
        np.testing.assert_allclose(pixels, expected, atol=0.5 if depth == 8 else 1)
        np.testing.assert_array_equal(pixels[0, 0], background if declared else [default] * n)
        np.testing.assert_array_equal(pixels[0, 1], samples[0, 1, :-1])


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_shows_the_background_scaled_to_eight_bits(depth: int, opened: Opened) -> None:
    samples = random_samples(33, 21, depth, 1)
    extra = [chunk(b"bKGD", struct.pack(">H", 1)), chunk(b"tRNS", struct.pack(">H", 0))]
    with opened(PNGFormat, png(samples, depth, GREY, *extra)) as image:
        expected = expected_samples(np.where(samples == 0, 1, samples), depth, GREY)
        np.testing.assert_array_equal(whole(image), expected)


def test_a_transparent_palette_is_composited_on_white_or_on_the_named_entry(opened: Opened) -> None:
    samples = random_samples(33, 21, 2, 1)
    opacity = np.array([0, 100, 255, 255], np.uint8)
    palette = chunk(b"PLTE", PALETTE_COLOURS[:4].tobytes())
    transparency = chunk(b"tRNS", opacity[:2].tobytes())
    colours = PALETTE_COLOURS[samples[..., 0]]
    for extra, background in (([], [255] * 3), ([chunk(b"bKGD", b"\2")], PALETTE_COLOURS[2])):
        with opened(PNGFormat, png(samples, 2, PALETTE, palette, transparency, *extra)) as image:
            expected = over(colours, opacity[samples[..., 0]], background, 255)
            np.testing.assert_allclose(whole(image), expected, atol=0.5)


def test_large_pictures_are_composited_in_bands_without_a_seam(opened: Opened) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (1500, 1500, 4), dtype=np.uint8)
    with opened(PNGFormat, imagecodecs.png_encode(samples, level=1)) as image:
        expected = over(samples[..., :3], samples[..., 3], 255, 255)
        np.testing.assert_allclose(whole(image), expected, atol=0.5)
        assert image.need_conversion


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_sixteen_bits_are_shrunk_as_sixteen_bits(reduction: int, opened: Opened) -> None:
    samples = random_samples(64, 48, 16, 3)
    with opened(PNGFormat, png(samples, 16, RGB)) as image:
        blocks = samples.reshape(48 // reduction, reduction, 64 // reduction, reduction, 3)
        np.testing.assert_allclose(whole(image, reduction), blocks.mean(axis=(1, 3)), atol=0.51)


def test_known_metadata_come_from_texts_density_and_exif(opened: Opened) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("Description", "a µ slide", zip=True)
    info.add_text("Comment", "not this one", zip=True)
    info.add_text("Creation Time", "Mon, 03 Feb 2020 04:05:06 +0000")
    info.add(b"tIME", struct.pack(">HBBBBB", 2021, 1, 1, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 8
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "PNG", pnginfo=info, dpi=(254, 508), exif=exif, icc_profile=bytes(9))
    with opened(PNGFormat, stream.getvalue()) as image:
        found, raw = image.full_imd, image.raw_metadata
    assert found.physical_size_x_um == pytest.approx(100)
    assert found.physical_size_y_um == pytest.approx(50)
    assert found.description == "a µ slide"
    assert found.acquired_at is not None
    assert found.acquired_at.replace(tzinfo=None) == datetime(2020, 2, 3, 4, 5, 6)
    assert found.orientation == 8
    assert raw["PNG.Comment"] == "not this one"
    assert raw["PNG.ModifyDate"] == "2021-01-01T00:00:00"
    assert raw["ICC_Profile.Present"] is True


def test_chunks_that_decoding_does_not_need_may_be_damaged(opened: Opened) -> None:
    damaged = bytearray(chunk(b"tEXt", b"Description\0text"))
    damaged[-1] ^= 1
    samples = random_samples(5, 3, 8, 1)
    with opened(PNGFormat, png(samples, 8, GREY, bytes(damaged), chunk(b"gAMA", b"\0\0\0\1"))) as image:
        assert image.full_imd.description is None
        np.testing.assert_array_equal(whole(image), samples)


def test_a_text_inflates_only_so_far(opened: Opened) -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(b"x" * 20_000_000)))
    with opened(PNGFormat, png(random_samples(5, 3, 8, 1), 8, GREY, bomb)) as image:
        assert image.full_imd.description == "x" * 65_536


def test_of_an_animation_the_default_image_is_shown_with_a_warning(opened: Opened) -> None:
    stream = io.BytesIO()
    frames = [Image.new("L", (8, 8), level) for level in (10, 20)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    with opened(PNGFormat, stream.getvalue()) as image:
        assert (whole(image) == 10).all()
        assert "animation" in image.main_imd.warnings[0]


def test_the_checker_looks_at_the_first_bytes_only(opened: Opened) -> None:
    with opened(PNGFormat, SIGNATURE) as image:
        assert PNGFormat.match(Probe(image.source))
    with opened(PNGFormat, SIGNATURE[:7]) as image:
        assert not PNGFormat.match(Probe(image.source))
    assert PNGFormat.get_identifier() == "PNG"
