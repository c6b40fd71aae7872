"""Colour spaces that become RGB, and samples that are stored apart, against formulas written out."""

from __future__ import annotations

import io
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pims.errors import CorruptFile
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.engines.tiff.colors import ycbcr_to_rgb
from pims.model.planes import FIRST_PLANE
from tests.formats.conftest import Opened
from tests.formats.engines.tiff.reading import read, written
from tests.formats.tiff_files import RATIONAL, SHORT, Page, build, noise, page_of, smooth, tiles_of

WIDTH, HEIGHT = 45, 29
LUMA, FULL_RANGE = (0.299, 0.587, 0.114), (0, 255, 128, 255, 128, 255)


def plain_rgb(ycc: NDArray[Any], luma: Any = LUMA, reference: Any = FULL_RANGE) -> NDArray[Any]:
    """TIFF 6.0, section 21, word by word."""
    red, green, blue = luma
    y, cb, cr = (
        (ycc[..., i].astype(float) - reference[2 * i]) * top / (reference[2 * i + 1] - reference[2 * i])
        for i, top in enumerate((255, 127, 127))
    )
    r = cr * (2 - 2 * red) + y
    b = cb * (2 - 2 * blue) + y
    g = (y - blue * b - red * r) / green
    return np.asarray(np.clip(np.rint(np.stack([r, g, b], -1)), 0, 255))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_palette_is_looked_up(bits: int, narrow: bool, opened: Opened) -> None:
    random = np.random.default_rng(0)
    palette = random.integers(0, 256 if narrow else 65_536, (3, 1 << bits))
    palette[0, 0] = 255 if narrow else 65_535
    dtype = "uint8" if bits <= 8 else "uint16"
    pixels = random.integers(0, 1 << bits, (HEIGHT, WIDTH, 1)).astype(dtype)
    stored = pixels.tobytes() if bits in (8, 16) else packed(pixels, bits)
    tags = {258: (SHORT, [bits]), 320: (SHORT, palette.ravel().tolist())}
    for order in "<>":
        data = stored if bits < 16 else pixels.astype(f"{order}u2").tobytes()
        found = read(build([page_of(pixels, [data], photometric=3, tags=tags)], order=order), opened)
        expected = (palette if narrow else palette >> 8).T[pixels[..., 0]]
        assert found.dtype == np.uint8 and np.array_equal(found, expected)


def packed(pixels: NDArray[Any], bits: int) -> bytes:
    return bytes(imagecodecs.packints_encode(pixels[..., 0], bits, runlen=pixels.shape[1]))


def test_a_palette_that_is_too_short_is_damage(opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT, 1)
    for tags in ({}, {320: (SHORT, [0] * 767)}, {320: (3 + 1, [0] * 768)}):
        page = page_of(pixels, [pixels.tobytes()], photometric=3, tags=tags)
        with pytest.raises(CorruptFile, match="palette"):
            read(build([page]), opened)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_becomes_rgb(dtype: str, planar: str, opened: Opened) -> None:
    pixels = noise(WIDTH, HEIGHT, 4, dtype)
    ink = pixels / np.iinfo(dtype).max
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    stream = io.BytesIO()
    tifffile.imwrite(stream, stored, photometric="separated", planarconfig=planar, metadata=None)
    found = read(stream.getvalue(), opened)
    assert found.dtype == np.uint8
    assert np.abs(found - 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])).max() <= 0.5 + 1e-3
    if dtype == "uint8" and planar == "contig":
        theirs = np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))
        assert np.abs(found.astype(int) - theirs).max() <= 1


def test_lab_looks_as_a_colour_managed_reader_shows_it(opened: Opened) -> None:
    rgb = Image.fromarray(smooth(WIDTH, HEIGHT))
    lab_profile, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    lab = ImageCms.applyTransform(rgb, ImageCms.buildTransform(srgb, lab_profile, "RGB", "LAB"))
    assert lab is not None
    signed = np.asarray(lab)
    offset = signed ^ np.array([0, 0x80, 0x80], np.uint8)
    wide = np.stack(
        [signed[..., 0] * np.uint16(257), *(signed[..., i].astype(np.uint16) << 8 for i in (1, 2))], -1
    )
    for photometric, data in ((8, signed), (9, offset), (8, wide)):
        found = read(build([page_of(data, [data.tobytes()], photometric=photometric)]), opened)
        assert np.abs(found.astype(int) - np.asarray(rgb)).mean() < 3


@pytest.mark.parametrize("value", [0, 128, 255])
def test_greys_of_lab_are_grey(value: int, opened: Opened) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[..., 0] = value
    found = read(build([page_of(pixels, [pixels.tobytes()], photometric=8)]), opened)
    assert np.ptp(found) <= 1
    assert found[0, 0, 0] == pytest.approx({0: 0, 128: 119, 255: 255}[value], abs=1)


def shared(ycc: NDArray[np.uint8], across: int, down: int) -> bytes:
    """Blocks of pixels that share their chroma, one after the other, slowly."""
    height, width, _ = ycc.shape
    out = bytearray()
    for top in range(0, height, down):
        for left in range(0, width, across):
            for y in range(top, top + down):
                for x in range(left, left + across):
                    out.append(ycc[min(y, height - 1), min(x, width - 1), 0])
            out += bytes(ycc[top, left, 1:])
    return bytes(out)


def spread(ycc: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    """The chroma of the first pixel of a block, for all of it."""
    height, width, _ = ycc.shape
    rows, columns = np.arange(height) // down * down, np.arange(width) // across * across
    return np.concatenate([ycc[..., :1], ycc[rows][:, columns][..., 1:]], -1)


@pytest.mark.parametrize("step", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize("compression", [1, 8])
def test_ycbcr_may_share_its_chroma(step: tuple[int, int], compression: int, opened: Opened) -> None:
    ycc = noise(WIDTH, HEIGHT)
    stored = shared(ycc, *step)
    page = page_of(
        ycc,
        [zlib.compress(stored) if compression == 8 else stored],
        photometric=6,
        compression=compression,
        tags={530: (SHORT, list(step))},
    )
    found = read(build([page]), opened)
    assert np.abs(found - plain_rgb(spread(ycc, *step))).max() <= 1


def test_ycbcr_in_tiles_and_strips_is_cut_at_the_edges(opened: Opened) -> None:
    ycc = noise(40, 24)
    tiles: list[bytes | None] = [shared(tile, 2, 2) for tile in tiles_of(ycc, 16, 16)]
    tiled = page_of(ycc, tiles, (16, 16), photometric=6, tags={530: (SHORT, [2, 2])})
    strips: list[bytes | None] = [shared(ycc[top : top + 10], 2, 2) for top in range(0, 24, 10)]
    striped = page_of(ycc, strips, rows=10, photometric=6, tags={530: (SHORT, [2, 2])})
    expected = plain_rgb(spread(ycc, 2, 2))
    for page in (tiled, striped):
        assert np.abs(read(build([page]), opened) - expected).max() <= 1


def test_ycbcr_has_coefficients_and_a_range_of_its_own(opened: Opened) -> None:
    ycc, luma, reference = noise(WIDTH, HEIGHT), (0.2126, 0.7152, 0.0722), (16, 235, 128, 240, 128, 240)
    rationals = [part for value in luma for part in (round(value * 10_000), 10_000)]
    tags = {
        529: (RATIONAL, rationals),
        530: (SHORT, [1, 1]),
        532: (RATIONAL, [part for value in reference for part in (value, 1)]),
    }
    found = read(build([page_of(ycc, [ycc.tobytes()], photometric=6, tags=tags)]), opened)
    assert np.abs(found - plain_rgb(ycc, luma, reference)).max() <= 1


@pytest.mark.parametrize("step", [(2, 1), (2, 2)])
def test_ycbcr_may_be_stored_in_planes_of_different_sizes(step: tuple[int, int], opened: Opened) -> None:
    ycc = noise(WIDTH, HEIGHT)
    across, down = step
    planes: list[bytes | None] = [ycc[..., 0].tobytes()]
    planes += [ycc[::down, ::across, index].tobytes() for index in (1, 2)]
    page = page_of(ycc, planes, photometric=6, tags={284: (SHORT, [2]), 530: (SHORT, [across, down])})
    assert np.abs(read(build([page]), opened) - plain_rgb(spread(ycc, across, down))).max() <= 1


def test_impossible_sharing_is_damage(opened: Opened) -> None:
    ycc = noise(WIDTH, HEIGHT)
    page = page_of(ycc, [ycc.tobytes()], photometric=6, tags={530: (SHORT, [0, 3])})
    with pytest.raises(CorruptFile, match="0 x 3 pixels share"):
        read(build([page]), opened)


def test_white_black_and_grey_of_ycbcr_are_exact() -> None:
    ycc = np.array([[[0, 128, 128], [77, 128, 128], [255, 128, 128]]], np.uint8)
    assert ycbcr_to_rgb(ycc).tolist() == [[[0] * 3, [77] * 3, [255] * 3]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("codec", [None, "zlib", "lzw"])
def test_separate_planes_are_put_together(
    codec: str | None, options: dict[str, Any], dtype: str, opened: Opened
) -> None:
    pixels = smooth(WIDTH, HEIGHT, 3, "uint16").astype(dtype)
    predictor = 1 if codec is None else 3 if dtype == "float32" else 2
    data = written(
        np.moveaxis(pixels, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        compression=codec,
        predictor=predictor,
        **options,
    )
    assert np.array_equal(read(data, opened), pixels)


def test_separate_planes_may_be_jpeg(opened: Opened) -> None:
    pixels = smooth(48, 32)
    planes: list[bytes | None] = [
        bytes(imagecodecs.jpeg8_encode(pixels[..., index].copy(), level=95)) for index in range(3)
    ]
    page = page_of(pixels, planes, compression=7, tags={284: (SHORT, [2])})
    assert np.abs(read(build([page]), opened).astype(int) - pixels).max() <= 4
    with opened(PlanarTIFFFormat, build([page])) as image:
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, FIRST_PLANE) is None


def test_separate_planes_have_transparency_too(opened: Opened) -> None:
    pixels = noise(20, 10, 4)
    planes: list[bytes | None] = [pixels[..., index].tobytes() for index in range(4)]
    page = page_of(pixels, planes, tags={284: (SHORT, [2]), 338: (SHORT, [2])})
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read(build([page]), opened) - expected).max() <= 0.5


def test_a_plane_that_is_not_stored_is_zero_and_a_tile_without_any_is_background(opened: Opened) -> None:
    pixels = noise(32, 16)
    tiles = list(tiles_of(pixels, 16, 16))
    segments: list[bytes | None] = [tiles[0][..., 0].tobytes(), None]
    segments += [None, None, tiles[0][..., 2].tobytes(), None]
    found = read(build([page_of(pixels, segments, (16, 16), tags={284: (SHORT, [2])})]), opened)
    assert np.array_equal(found[:, :16, ::2], pixels[:, :16, ::2])
    assert (found[:, :16, 1] == 0).all() and (found[:, 16:] == 255).all()


UNDECLARED = {
    "three samples are colours": (3, {}, 3, None),
    "four samples are inks": (4, {}, 3, None),
    "four with an extra are colours": (4, {338: (SHORT, [0])}, 3, "1 of 4 samples are neither"),
    "one sample is grey": (1, {}, 1, None),
}


@pytest.mark.parametrize("what", UNDECLARED)
def test_without_a_colour_space_the_likely_one_is_taken(what: str, opened: Opened) -> None:
    stored, tags, samples, warning = UNDECLARED[what]
    pixels = noise(20, 10, stored)
    page = page_of(pixels, [pixels.tobytes()], tags=tags)
    del page.tags[262]
    check(page, samples, warning, opened)


@pytest.mark.parametrize(
    ("stored", "extra", "samples", "warning"),
    [
        (2, [0], 1, "1 of 2 samples are neither"),
        (5, [0] * 4, 1, "4 of 5 samples are neither"),
        (3, None, 3, "calls its three samples a pixel grey"),
        (3, [0, 0], 1, "2 of 3 samples are neither"),
    ],
)
def test_what_is_not_colour_is_dropped_with_a_warning(
    stored: int, extra: list[int] | None, samples: int, warning: str, opened: Opened
) -> None:
    pixels = noise(20, 10, stored)
    tags = {} if extra is None else {338: (SHORT, extra)}
    page = page_of(pixels, [pixels.tobytes()], photometric=1, tags=tags)
    assert np.array_equal(read(build([page]), opened), pixels[..., :samples])
    check(page, samples, warning, opened)


def check(page: Page, samples: int, warning: str | None, opened: Opened) -> None:
    with opened(PlanarTIFFFormat, build([page])) as image:
        assert image.main_imd.n_samples == samples
        assert len(image.main_imd.warnings) == (warning is not None)
        assert warning is None or warning in image.main_imd.warnings[0]
