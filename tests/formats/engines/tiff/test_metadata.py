"""Which directories are tiers, and what the tags say of the image."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pims.errors import FileError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat
from pims.formats.engines.tiff.directory import parse_tiff
from pims.formats.engines.tiff.metadata import pixel_size_um, reduced_levels
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from tests.formats.conftest import Opened
from tests.formats.tiff_files import (
    ASCII,
    DOUBLE,
    FLOAT,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Page,
    build,
    noise,
    page_of,
    tiles_of,
)

REDUCED, MASK = 1, 4
TILE = (16, 16)
CORE = FormatRegistry([PyrTIFFFormat, PlanarTIFFFormat])


def level(width: int, height: int, kind: int = 0, samples: int = 3, **tags: Any) -> Page:
    pixels = noise(width, height, samples, seed=width)
    segments = [part.tobytes() for part in tiles_of(pixels, *TILE)]
    return page_of(pixels, list(segments), TILE, tags={254: (LONG, [kind])} | tags.pop("tags", {}), **tags)


def stripped(width: int, height: int, kind: int = 0, **tags: Any) -> Page:
    pixels = noise(width, height)
    return page_of(pixels, [pixels.tobytes()], tags={254: (LONG, [kind])}, **tags)


def sizes(data: bytes, folder: Path) -> list[tuple[int, int]]:
    path = folder / "file.tif"
    path.write_bytes(data)
    with LocalSource(path) as source:
        return [(found.width, found.height) for found in reduced_levels(parse_tiff(source, Limits()))]


def identified(data: bytes, folder: Path) -> type[AbstractFormat]:
    path = folder / "file.tif"
    path.write_bytes(data)
    with LocalSource(path) as source:
        return CORE.identify(Probe(source))


THREE = [(100, 60), (50, 30), (25, 15)]


def test_reduced_pages_and_sub_directories_are_tiers(tmp_path: Path) -> None:
    chained = build([level(100, 60), level(50, 30, REDUCED), level(25, 15, REDUCED)])
    base = level(100, 60)
    base.sub = [level(50, 30, REDUCED), level(25, 15, REDUCED)]
    for data in (chained, build([base])):
        assert sizes(data, tmp_path) == THREE
        assert identified(data, tmp_path) is PyrTIFFFormat


def test_sub_directories_need_not_say_that_they_are_reduced(tmp_path: Path) -> None:
    base = level(100, 60)
    base.sub = [level(50, 30), level(25, 15), level(40, 10)]
    assert sizes(build([base]), tmp_path) == THREE
    assert identified(build([base]), tmp_path) is PyrTIFFFormat


def test_tiers_have_the_type_of_the_base(tmp_path: Path) -> None:
    other = level(50, 30, REDUCED, tags={339: (SHORT, [2] * 3)})
    assert sizes(build([level(100, 60), other]), tmp_path) == [(100, 60)]


def test_tiers_in_any_order_are_sorted_with_their_pixels(tmp_path: Path, opened: Opened) -> None:
    pages = [level(100, 60), level(25, 15, REDUCED), level(50, 30, REDUCED)]
    assert sizes(build(pages), tmp_path) == THREE
    with opened(PyrTIFFFormat, build(pages)) as image:
        for tier in image.pyramid.tiers:
            found = image.reader.read_region(tier, tier.region, FIRST_PLANE)
            assert np.array_equal(found, noise(tier.width, tier.height, seed=tier.width))


@pytest.mark.parametrize(
    "other",
    [
        level(50, 30),
        level(50, 30, REDUCED | MASK, samples=1),
        level(50, 30, REDUCED, samples=1),
        level(100, 60, REDUCED),
        level(200, 120, REDUCED),
        level(30, 50, REDUCED),
        level(50, 10, REDUCED),
        stripped(50, 30, REDUCED),
    ],
    ids=["a page", "a mask", "other samples", "as large", "larger", "turned", "another shape", "in strips"],
)
def test_other_pages_are_no_tiers(other: Page, tmp_path: Path) -> None:
    data = build([level(100, 60), other, level(25, 15, REDUCED)])
    assert sizes(data, tmp_path) == [(100, 60), (25, 15)]
    assert identified(build([level(100, 60), other]), tmp_path) is PlanarTIFFFormat


def test_rounded_tiers_of_long_images_are_tiers(tmp_path: Path) -> None:
    for reduced in ((51, 1), (50, 1), (26, 1)):
        assert sizes(build([level(101, 3), level(*reduced, REDUCED)]), tmp_path) == [(101, 3), reduced]


def test_a_damaged_tier_leaves_the_base(tmp_path: Path, opened: Opened) -> None:
    base = level(100, 60)
    data = build([base, level(50, 30, REDUCED)])
    for broken in (
        build([level(100, 60, tags={330: (LONG, [len(data) + 1000])}), level(50, 30, REDUCED)]),
        build([level(100, 60), level(50, 30, REDUCED, tags={257: (LONG, [0])})]),
    ):
        assert identified(broken, tmp_path) is PlanarTIFFFormat
        with opened(PlanarTIFFFormat, broken) as image:
            found = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE)
            assert np.array_equal(found, noise(100, 60, seed=100))


def test_main_metadata_of_what_tifffile_writes(tmp_path: Path, opened: Opened) -> None:
    for samples, dtype in ((1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "uint16")):
        path = tmp_path / "image.tif"
        pixels: NDArray[Any] = noise(20, 10, samples, dtype)
        tifffile.imwrite(path, pixels[..., 0] if samples == 1 else pixels, metadata=None)
        with opened(PlanarTIFFFormat, path) as image:
            found = image.main_imd
            assert (found.width, found.height, found.n_samples, found.pixel_type) == (20, 10, samples, dtype)
            assert found.significant_bits == found.bits == pixels.itemsize * 8
            assert found.brightfield == (samples == 3 and dtype == "uint8")
            assert [channel.suggested_name for channel in found.channels] == (
                ["R", "G", "B"] if samples == 3 else [None]
            )
            assert not found.lossy and not found.subsampled and found.warnings == ()


def test_a_jpeg_is_lossy_and_may_be_subsampled(tmp_path: Path, opened: Opened) -> None:
    for subsampling in ((1, 1), (2, 2)):
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, noise(32, 32), compression="jpeg", subsampling=subsampling, metadata=None)
        with opened(PlanarTIFFFormat, path) as image:
            assert image.main_imd.lossy and image.main_imd.subsampled == (subsampling != (1, 1))


def one(tags: dict[int, tuple[int, Any]]) -> bytes:
    pixels = noise(20, 10)
    return build([page_of(pixels, [pixels.tobytes()], tags=tags)])


def test_known_metadata_come_from_the_tags(opened: Opened) -> None:
    tags = {
        270: (ASCII, b"a section\0"),
        272: (ASCII, b"Scope 3\0"),
        274: (SHORT, [6]),
        282: (RATIONAL, [40_000, 1]),
        283: (RATIONAL, [20_000, 1]),
        296: (SHORT, [3]),
        306: (ASCII, b"2024:02:29 12:34:56\0"),
    }
    with opened(PlanarTIFFFormat, one(tags)) as image:
        full = image.full_imd
        assert (full.physical_size_x_um, full.physical_size_y_um) == (0.25, 0.5)
        assert full.acquired_at == datetime(2024, 2, 29, 12, 34, 56)
        assert (full.description, full.microscope_model, full.orientation) == ("a section", "Scope 3", 6)
        assert image.raw_metadata["TIFF.Model"] == "Scope 3"
        assert image.raw_metadata["TIFF.XResolution"] == 40_000
        assert image.raw_metadata["TIFF.BitsPerSample"] == [8, 8, 8]
        assert "TIFF.StripOffsets" not in image.raw_metadata


@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        (None, (25_400, 1), 1.0),
        (2, (50_800, 1), 0.5),
        (3, (10_000, 1), 1.0),
        (1, (10_000, 1), None),
        (7, (10_000, 1), None),
        (2, (72, 1), None),
        (2, (96, 1), None),
        (3, (72, 1), 10_000 / 72),
        (3, (0, 1), None),
        (3, (1, 0), None),
        (3, (1, 0xFFFFFFFF), None),
        (3, (0xFFFFFFFF, 1), 10_000 / 0xFFFFFFFF),
    ],
)
def test_the_size_of_a_pixel_is_the_inverse_of_the_resolution(
    unit: int | None, resolution: tuple[int, int], expected: float | None, opened: Opened
) -> None:
    tags = {282: (RATIONAL, list(resolution))} | ({296: (SHORT, [unit])} if unit else {})
    with opened(PlanarTIFFFormat, one(tags)) as image:
        assert image.full_imd.physical_size_x_um == pytest.approx(expected)
        assert image.full_imd.physical_size_y_um is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_a_resolution_that_is_no_number_means_unknown(value: float, opened: Opened) -> None:
    tags = {282: (FLOAT, [value]), 283: (DOUBLE, [value]), 296: (SHORT, [3]), 65000: (DOUBLE, [value, 1])}
    with opened(PlanarTIFFFormat, one(tags)) as image:
        assert image.full_imd.physical_size_x_um is image.full_imd.physical_size_y_um is None
        json.dumps(dict(image.raw_metadata), allow_nan=False)
        assert image.raw_metadata["TIFF.65000"] == [value if value == -1 else None, 1]
        assert pixel_size_um(image.tiff.directories[0]) == (None, None)


@pytest.mark.parametrize(
    "date", [b"", b"yesterday", b"2024:02:30 12:00:00", b"0000:00:00 00:00:00", b"\xff\xfe"]
)
def test_a_date_that_is_none_is_left_out(date: bytes, opened: Opened) -> None:
    with opened(PlanarTIFFFormat, one({306: (ASCII, date)})) as image:
        assert image.full_imd.acquired_at is None


@pytest.mark.parametrize("orientation", [0, 9, 60_000])
def test_an_orientation_that_is_none_is_the_first(orientation: int, opened: Opened) -> None:
    with opened(PlanarTIFFFormat, one({274: (SHORT, [orientation])})) as image:
        assert image.full_imd.orientation == 1


def test_tags_nobody_needs_do_no_harm(opened: Opened) -> None:
    data = bytearray(one({65000: (UNDEFINED, b"12345678"), 65001: (SHORT, [1] * 100), 65002: (SHORT, [])}))
    position = data.index((65000).to_bytes(2, "little") + b"\7\0")
    data[position + 2 : position + 12] = b"\3\0\x20\0\0\0" + (len(data) + 9).to_bytes(4, "little")
    with opened(PlanarTIFFFormat, bytes(data)) as image:
        assert not {"TIFF.65000", "TIFF.65001", "TIFF.65002"} & image.raw_metadata.keys()


def test_pages_without_a_meaning_are_warned_of(opened: Opened) -> None:
    plain = [level(100, 60), level(50, 30, REDUCED), level(100, 60, MASK, samples=1)]
    with opened(PyrTIFFFormat, build(plain)) as image:
        assert image.main_imd.warnings == ()
    for fmt in (PyrTIFFFormat, PlanarTIFFFormat):
        with opened(fmt, build([*plain, level(100, 60)])) as image:
            assert [warning[:20] for warning in image.full_imd.warnings] == ["The file has 2 pages"]


@pytest.mark.parametrize("fmt", [PyrTIFFFormat, PlanarTIFFFormat])
@pytest.mark.parametrize(
    ("description", "words"),
    [(b"ImageJ=1.53\nimages=2", "ImageJ"), (b'<?xml version="1.0"?><OME xmlns="x">', "OME-XML")],
)
def test_stacks_that_another_format_describes_are_refused(
    description: bytes, words: str, fmt: type[AbstractFormat], opened: Opened
) -> None:
    pages = [level(100, 60, tags={270: (ASCII, description)}), level(50, 30, REDUCED)]
    with opened(fmt, build(pages)) as image:
        assert image.main_imd.warnings == ()
    with (
        pytest.raises(UnsupportedFeature, match=f"stack of 2 pages described by {words}"),
        opened(fmt, build([*pages, level(100, 60)])) as image,
    ):
        _ = image.main_imd


def test_a_stored_tile_that_may_not_block_needs_known_directories(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, noise(64, 64), tile=(32, 32), compression="jpeg", metadata=None)
    with opened(PlanarTIFFFormat, path) as image:
        base = image.pyramid.base
        with pytest.raises(BlockingIOError):
            image.reader.read_stored_tile(base, 0, 0, FIRST_PLANE, may_block=False)
        asked = image.reader.read_stored_tile(base, 0, 0, FIRST_PLANE)
        assert asked is not None
        assert image.reader.read_stored_tile(base, 0, 0, FIRST_PLANE, may_block=False) == asked


def test_a_large_plane_is_converted_and_a_small_one_is_not(opened: Opened) -> None:
    for width, needed in ((1024, False), (1025, True)):
        pixels = np.zeros((3, width, 1), np.uint8)
        with opened(PlanarTIFFFormat, build([page_of(pixels, [pixels.tobytes()])])) as image:
            assert image.need_conversion == needed


def test_after_closing_nothing_is_read_any_more(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, noise(20, 10), metadata=None)
    with LocalSource(path) as source:
        image = PlanarTIFFFormat(source)
        base = image.pyramid.base
        image.close()
    with pytest.raises(Exception, match="reading failed") as caught:
        image.reader.read_region(base, base.region, FIRST_PLANE)
    assert not isinstance(caught.value, FileError)
