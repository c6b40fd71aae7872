"""Slides as an Aperio scanner writes them, against OpenSlide."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pims_plugin_format_openslide import FORMATS
from pims_plugin_format_openslide.svs import SVSFormat

from pims.files.source import LocalSource
from pims.formats.abstract import Tile
from pims.formats.probe import Probe
from pims.formats.registry import discover_formats
from pims.model.metadata import Objective
from pims.model.planes import FIRST_PLANE
from pims.testing.format_tests import FormatTests, block_means

WIDTH, HEIGHT, TILE = 650, 430, 80
DESCRIPTION = (
    "Aperio Image Library v11.2.1\r\n650x430 (80x80) JPEG/RGB Q=95|AppMag = 20|StripeWidth = 2040"
    "|ScanScope ID = CPAPERIOCS|Date = 12/29/09|Time = 09:59:15|MPP = 0.4990|Broken|Left = 25.691574"
)


def pixels() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(x / 37) + np.cos(y / 23), np.sin((x + y) / 31), np.cos(x / 19) * np.sin(y / 41)]
    return rounded(np.stack([(wave / 4 + 0.5) * 255 for wave in waves], axis=-1))


def rounded(level: NDArray[Any]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(level).astype(np.uint8)
    return whole


LEVELS = [pixels(), rounded(block_means(pixels(), 4))]
LABEL = np.full((40, 60, 3), (200, 30, 60), np.uint8)
MACRO = rounded(block_means(pixels(), 5))
THUMB = rounded(block_means(pixels(), 3))


def abbreviated(tile: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Tables and stream of an RGB JPEG, as the scanner stores them."""
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=95, keep_rgb=True)
    jpeg = stream.getvalue()
    tables: list[bytes] = []
    rest: list[bytes] = []
    position = 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        marker = jpeg[position + 1]
        if marker not in (0xE0, 0xEE):
            (tables if marker in (0xDB, 0xC4) else rest).append(jpeg[position:end])
        position = end
    soi, eoi = b"\xff\xd8", b"\xff\xd9"
    return soi + b"".join(tables) + eoi, soi + b"".join(rest) + jpeg[position:]


def write_jpeg(
    tiff: tifffile.TiffWriter, level: NDArray[np.uint8], size: tuple[int, int], **options: Any
) -> None:
    """One page of JPEG segments of that size with common tables."""
    high, wide = size
    parts = [level[top : top + high, left : left + wide]
             for top in range(0, len(level), high) for left in range(0, level.shape[1], wide)]  # fmt: skip
    if "tile" in options:
        parts = [
            np.pad(p, ((0, high - p.shape[0]), (0, wide - p.shape[1]), (0, 0)), mode="edge") for p in parts
        ]
    coded = [abbreviated(part) for part in parts]
    tiff.write(
        iter([stream for _, stream in coded]),
        shape=level.shape,
        dtype=level.dtype,
        photometric="rgb",
        compression="jpeg",
        compressionargs={"outcolorspace": "rgb"},
        jpegtables=coded[0][0],
        metadata=None,
        **options,
    )


def write_slide(path: Path, description: str = DESCRIPTION, *, order: tuple[int, ...] = (0, 1)) -> Path:
    """Base, thumbnail, lower level, label (LZW) and macro (JPEG), as in a file of a scanner."""
    with tifffile.TiffWriter(path) as tiff:
        write_jpeg(tiff, LEVELS[0], (TILE, TILE), tile=(TILE, TILE), description=description)
        write_jpeg(tiff, THUMB, (16, THUMB.shape[1]), rowsperstrip=16, description="Aperio thumbnail")
        for level in order[1:]:
            write_jpeg(tiff, LEVELS[level], (TILE, TILE), tile=(TILE, TILE), description="Aperio")
        tiff.write(LABEL, compression="lzw", predictor=2, subfiletype=1, description="label", metadata=None)
        write_jpeg(tiff, MACRO, (16, MACRO.shape[1]), rowsperstrip=16, subfiletype=9, description="macro")
    return path


@contextmanager
def opened(path: Path) -> Iterator[SVSFormat]:
    with LocalSource(path) as source:
        image = SVSFormat(source)
        with image:
            yield image


class TestSvs(FormatTests):
    format_class = SVSFormat
    tolerance = 6
    reduced_tolerance = 4

    def make_file(self, folder: Path) -> Path:
        return write_slide(folder / "slide.svs")

    def expected(self) -> NDArray[Any]:
        return pixels()


def test_the_plug_in_is_found_and_comes_before_the_generic_formats() -> None:
    names = [fmt.get_identifier() for fmt in discover_formats()]
    assert [fmt.get_identifier() for fmt in FORMATS] == ["NDPISLIDE", "SVSSLIDE", "SVS", "NDPI"]
    assert names.index("SVS") < names.index("NDPI") < names.index("PYRTIFF") < names.index("PLANARTIFF")


def test_tiers_are_those_of_openslide_and_their_pixels_too(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.svs")
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        assert [(tier.width, tier.height) for tier in image.pyramid.tiers] == list(slide.level_dimensions)
        for tier in image.pyramid.tiers:
            there = slide.read_region((0, 0), tier.level, (tier.width, tier.height)).convert("RGB")
            ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
            assert np.abs(ours.astype(int) - np.asarray(there)).max() <= 1


def test_label_and_macro_are_those_of_openslide(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.svs")
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        for name, read in (("label", image.reader.read_label), ("macro", image.reader.read_macro)):
            ours = read(100, 100)
            there = np.asarray(slide.associated_images[name].convert("RGB"))
            assert ours is not None and ours.shape == there.shape
            assert np.abs(ours.astype(int) - there).max() <= 1


def test_what_the_description_says_becomes_metadata(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.svs")
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        full = image.full_imd
        mpp = float(slide.properties["openslide.mpp-x"])
        assert full.physical_size_x_um == full.physical_size_y_um == mpp
        assert full.objective == Objective(20, 20)
        assert full.acquired_at == datetime(2009, 12, 29, 9, 59, 15)
        assert full.microscope_model == "CPAPERIOCS"
        assert full.brightfield and full.lossy and not full.subsampled
        assert [(a.name, a.width, a.height, a.n_channels) for a in full.associated] == [
            ("thumb", THUMB.shape[1], THUMB.shape[0], 3),
            ("label", 60, 40, 3),
            ("macro", MACRO.shape[1], MACRO.shape[0], 3),
        ]
        assert image.raw_metadata["APERIO.StripeWidth"] == "2040"
        assert "APERIO.Broken" not in image.raw_metadata


@pytest.mark.parametrize(
    "values", ["AppMag = 0|MPP = nan", "AppMag = x|MPP = -1|Date = 13/45/09", "MPP = inf", ""]
)
def test_values_that_can_not_be_are_left_out(tmp_path: Path, values: str) -> None:
    with opened(write_slide(tmp_path / "slide.svs", f"Aperio Image|{values}")) as image:
        full = image.full_imd
        assert full.physical_size_x_um is None and full.acquired_at is None
        assert full.objective == Objective()


def test_every_inner_tile_is_sent_as_it_is_stored(tmp_path: Path) -> None:
    with opened(write_slide(tmp_path / "slide.svs")) as image:
        base = image.pyramid.base
        for column, row in (base.position_of(index) for index in range(base.tile_count)):
            stored = image.reader.read_stored_tile(base, column, row, FIRST_PLANE)
            inner = base.tile_region(column, row).width == base.tile_region(column, row).height == TILE
            assert (stored is not None) == inner
            if stored is not None:
                decoded = np.asarray(Image.open(io.BytesIO(stored.data)))
                assert np.array_equal(decoded, image.reader.read_tile(Tile(base, column, row)))


def test_levels_in_another_order_are_sorted(tmp_path: Path) -> None:
    LEVELS.append(rounded(block_means(pixels(), 2)))
    try:
        path = write_slide(tmp_path / "slide.svs", order=(0, 1, 2))
        with opened(path) as image:
            assert [tier.width for tier in image.pyramid.tiers] == [650, 325, 163]
            for tier, level in zip(image.pyramid.tiers, (0, 2, 1), strict=True):
                ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
                assert np.abs(ours.astype(int) - LEVELS[level]).max() <= 6
    finally:
        LEVELS.pop()


def test_a_label_that_can_not_be_read_does_not_keep_the_slide_out(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as tiff:
        write_jpeg(tiff, LEVELS[0], (TILE, TILE), tile=(TILE, TILE), description=DESCRIPTION)
        tiff.write(LABEL, compression="png", subfiletype=1, metadata=None)
    with opened(path) as image:
        assert image.reader.read_label(64, 64) is None
        assert image.full_imd.associated == ()


def test_a_pyramid_without_the_description_is_not_recognised(tmp_path: Path) -> None:
    with LocalSource(write_slide(tmp_path / "slide.svs", "Aperture")) as source:
        assert not SVSFormat.match(Probe(source))
        assert discover_formats().identify(Probe(source)).get_identifier() == "PLANARTIFF"


@pytest.mark.parametrize("number", [33005, 33003])
def test_jpeg_2000_tiles_are_read_as_openslide_reads_them(tmp_path: Path, number: int) -> None:
    """33005 holds RGB; 33003 holds YCbCr, whatever the photometric says."""
    path = tmp_path / "slide.svs"
    stored = pixels() if number == 33005 else ycbcr(pixels())
    tiles = [
        np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)), mode="edge")
        for top in range(0, HEIGHT, TILE)
        for left in range(0, WIDTH, TILE)
        for part in [stored[top : top + TILE, left : left + TILE]]
    ]
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter([coded(tile) for tile in tiles]),
            shape=stored.shape,
            dtype=stored.dtype,
            photometric="rgb",
            compression=number,
            tile=(TILE, TILE),
            description=DESCRIPTION,
            metadata=None,
        )
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        assert image.main_imd.lossy and image.main_imd.brightfield
        base = image.pyramid.base
        ours = image.reader.read_region(base, base.region, FIRST_PLANE)
        there = np.asarray(slide.read_region((0, 0), 0, (WIDTH, HEIGHT)).convert("RGB"))
        assert np.abs(ours.astype(int) - there).max() <= 1


def ycbcr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).convert("YCbCr"))


def coded(tile: NDArray[np.uint8]) -> bytes:
    """A JPEG 2000 codestream whose components are stored as they are."""
    return bytes(imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False, reversible=True))
