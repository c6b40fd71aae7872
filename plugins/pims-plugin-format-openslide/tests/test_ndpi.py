"""Slides as a Hamamatsu scanner writes them, against OpenSlide and Pillow."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image
from pims_plugin_format_openslide.ndpi import NDPIFormat
from pims_plugin_format_openslide.openslide_fallback import NDPISlideFormat

from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext, Tile
from pims.formats.probe import Probe
from pims.formats.registry import discover_formats
from pims.images.isolated import IsolatedReader
from pims.images.opener import Opener
from pims.images.pool import ImagePool
from pims.importer.events import ImportResult, StdoutListener
from pims.importer.flow import ImportOptions, import_file
from pims.importer.integrity import check_integrity
from pims.model.metadata import Objective
from pims.model.planes import FIRST_PLANE, Plane
from pims.testing.format_tests import FormatTests, block_means

BLOCK = 8
WIDTH, HEIGHT = 1024, 610
SHORT, LONG, ASCII, RATIONAL, SIGNED, FLOAT = 3, 4, 2, 5, 9, 11
SIZES = {SHORT: "H", LONG: "I", RATIONAL: "II", SIGNED: "i", FLOAT: "f"}


def picture(width: int = WIDTH, height: int = HEIGHT, phase: float = 0) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / 37 + phase) + np.cos(y / 23),
        np.sin((x + y) / 31),
        np.cos(x / 19) * np.sin(y / 41 + phase),
    ]
    whole: NDArray[np.uint8] = np.rint(np.stack([(w / 4 + 0.5) * 255 for w in waves], -1)).astype(np.uint8)
    return whole


def jpeg_of(pixels: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(stream, "JPEG", quality=95, **{"subsampling": 0, **options})
    return stream.getvalue()


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)))
    return pixels.reshape(*pixels.shape[:2], -1)


def starts_of(jpeg: bytes) -> list[int]:
    """Where the intervals of a JPEG start."""
    scan = jpeg.index(b"\xff\xda")
    first = scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")
    return [first, *(first + found.end() for found in re.finditer(rb"\xff[\xd0-\xd7]", jpeg[first:]))]


@dataclass
class Page:
    """One directory to be written."""

    jpeg: bytes
    width: int
    height: int
    lens: float
    z: int = 0
    listed: bool = True
    samples: int = 3
    dye: str = ""
    starts: Sequence[int] | None = None
    extra: dict[int, tuple[int, Any]] = field(default_factory=dict)


def level(pixels: NDArray[Any], lens: float, *, z: int = 0, listed: bool = True, **options: Any) -> Page:
    height, width, samples = pixels.shape
    return Page(jpeg_of(pixels, **options), width, height, lens, z, listed, samples)


def write_ndpi(path: Path, pages: Sequence[Page], *, hole: int = 0) -> Path:
    """Write an NDPI; `hole` bytes of nothing, which take no room on the disk, precede the pictures."""
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(8))
        file.truncate(12 + hole)
        file.seek(12 + hole)
        pointer = 4
        for page in pages:
            pointer = _write_page(file, page, pointer)
    return path


def _write_page(file: Any, page: Page, pointer: int) -> int:
    offset = file.tell()
    file.write(page.jpeg)
    starts = page.starts if page.starts is not None else starts_of(page.jpeg)
    tags: dict[int, tuple[int, Any]] = {
        256: (LONG, [page.width]), 257: (LONG, [page.height]), 258: (SHORT, [8] * page.samples),
        259: (SHORT, [7]), 262: (SHORT, [6 if page.samples == 3 else 1]), 271: (ASCII, b"Hamamatsu\0"),
        272: (ASCII, b"C9600\0"), 273: (LONG, [offset]), 277: (SHORT, [page.samples]),
        278: (LONG, [page.height]), 279: (LONG, [len(page.jpeg)]), 282: (RATIONAL, [(40000, 1)]),
        283: (RATIONAL, [(20000, 1)]), 296: (SHORT, [3]), 306: (ASCII, b"2017:02:07 13:06:43\0"),
        530: (SHORT, [1, 1]), 65420: (LONG, [1]), 65421: (FLOAT, [page.lens]), 65422: (SIGNED, [0]),
        65423: (SIGNED, [0]), 65424: (SIGNED, [page.z]),
    }  # fmt: skip
    if page.listed:
        tags[65426] = (LONG, [start & 0xFFFFFFFF for start in starts])
        tags[65432] = (LONG, [start >> 32 for start in starts])
    if page.dye:
        tags[65434] = (ASCII, page.dye.encode() + b"\0")
    tags[65449] = (ASCII, b"Created=2011/05/23\nObjective.Lens.Magnificant=40\nno pair\n\0")
    tags |= page.extra
    entries, uppers = b"", b""
    for code, (kind, values) in sorted(tags.items()):
        data = values if kind == ASCII else b"".join(_packed(kind, value) for value in values)
        count, value, upper = len(values), data.ljust(4, b"\0"), 0
        if code == 273:
            upper = offset >> 32
            value = struct.pack("<I", offset & 0xFFFFFFFF)
        elif len(data) > 4:
            place = file.tell()
            file.write(data)
            value, upper = struct.pack("<I", place & 0xFFFFFFFF), place >> 32
        entries += struct.pack("<HHI", code, kind, count) + value
        uppers += struct.pack("<I", upper)
    here = int(file.tell())
    file.write(struct.pack("<H", len(tags)) + entries)
    following = here + 2 + len(entries)
    file.write(bytes(8) + uppers)
    behind = file.tell()
    file.seek(pointer)
    file.write(struct.pack("<Q", here))
    file.seek(behind)
    return following


def _packed(kind: int, value: Any) -> bytes:
    if kind == LONG and value > 0xFFFFFFFF:
        value &= 0xFFFFFFFF
    values = value if isinstance(value, tuple) else (value,)
    return struct.pack("<" + SIZES[kind], *values)


@contextmanager
def opened(path: Path) -> Iterator[NDPIFormat]:
    with LocalSource(path) as source, NDPIFormat(source) as image:
        assert isinstance(image, NDPIFormat)
        yield image


BASE = picture()
HALF: NDArray[np.uint8] = np.rint(block_means(BASE, 2)).astype(np.uint8)
MACRO = picture(301, 120)


def slide_pages(**options: Any) -> list[Page]:
    """Base, half of it, macro: as in a file of a scanner."""
    options = options or {"restart_marker_rows": 1}
    macro = level(MACRO, -1, listed=False)
    return [level(BASE, 40, **options), level(HALF, 20, **options), macro]


class TestNdpi(FormatTests):
    format_class = NDPIFormat
    tolerance = 1
    reduced_tolerance = 6

    def make_file(self, folder: Path) -> Path:
        return write_ndpi(folder / "slide.ndpi", slide_pages())

    def expected(self) -> NDArray[Any]:
        return decoded(jpeg_of(BASE))


@pytest.mark.parametrize(
    "options",
    [
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 1},
        {"restart_marker_blocks": 16},
        {"restart_marker_blocks": 32, "subsampling": 1},
        {"restart_marker_blocks": 8, "optimize": True},
    ],
    ids=str,
)
def test_tiers_are_those_of_openslide_and_their_pixels_too(tmp_path: Path, options: dict[str, Any]) -> None:
    # Whole rows of blocks: OpenSlide leaves out, or refuses, those that are not.
    pages = [level(BASE[:608], 40, **options), level(HALF[:304], 20, **options)]
    path = write_ndpi(tmp_path / "slide.ndpi", pages)
    allowed = 4 if options.get("subsampling") else 1  # chroma at the borders of tiles is interpolated
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        sizes = [(tier.width, tier.height) for tier in image.pyramid.tiers]
        assert sizes == list(slide.level_dimensions[:2]) == [(1024, 608), (512, 304)]
        for tier in image.pyramid.tiers:
            there = np.asarray(
                slide.read_region((0, 0), tier.level, (tier.width, tier.height)).convert("RGB")
            )
            ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
            assert np.abs(ours.astype(int) - there).max() <= allowed
        check_integrity(image, lambda part: None)


def test_rows_whose_colours_are_halved_are_joined_before_they_are_decoded(tmp_path: Path) -> None:
    pages = slide_pages(restart_marker_rows=1, subsampling=2)
    with opened(write_ndpi(tmp_path / "slide.ndpi", pages)) as image:
        ours = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE)
        differences = np.abs(ours.astype(int) - decoded(pages[0].jpeg)).max(axis=(1, 2))
        assert differences.max() <= 6 and set(np.flatnonzero(differences > 1)) <= {255, 256, 511, 512}


def test_only_the_intervals_that_are_needed_are_read(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "slide.ndpi", slide_pages(restart_marker_blocks=16))
    with opened(path) as image:
        base = image.pyramid.base
        assert (base.tile_width, base.tile_height) == (256, 256)
        expected = image.reader.read_region(base, base.tile_region(2, 1), FIRST_PLANE)
    data = bytearray(path.read_bytes())
    starts = starts_of(slide_pages(restart_marker_blocks=16)[0].jpeg)
    for index, start in enumerate(starts):
        column, row = index % 8, index // 8
        if not (4 <= column < 6 and 32 <= row < 64) and index + 1 < len(starts):
            data[12 + start + 2 : 12 + starts[index + 1] - 4] = bytes(starts[index + 1] - start - 6)
    path.write_bytes(data)
    with opened(path) as image:
        assert np.array_equal(image.reader.read_region(base, base.tile_region(2, 1), FIRST_PLANE), expected)


def test_sides_that_jpeg_can_not_say_are_taken_from_the_tags(tmp_path: Path) -> None:
    pages = slide_pages()
    for page in pages[:2]:
        at = page.jpeg.index(b"\xff\xc0")
        page.jpeg = page.jpeg[: at + 5] + bytes(4) + page.jpeg[at + 9 :]
    with opened(write_ndpi(tmp_path / "slide.ndpi", pages)) as image:
        ours = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE)
        assert np.abs(ours.astype(int) - decoded(jpeg_of(BASE))).max() <= 1


def test_positions_beyond_4_gib_are_read(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "slide.ndpi", slide_pages(), hole=(5 << 30) + 12345)
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        for tier in image.pyramid.tiers:
            there = np.asarray(
                slide.read_region((0, 0), tier.level, (tier.width, tier.height)).convert("RGB")
            )
            ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
            assert np.abs(ours.astype(int) - there)[: tier.height // 8 * 8].max() <= 1
        assert image.raw_metadata["HAMAMATSU.Created"] == "2011/05/23"


def test_focal_planes_are_kept_lowest_first(tmp_path: Path) -> None:
    stack = {z: picture(320, 240, phase) for z, phase in ((2000, 2.0), (-2000, 1.0), (0, 0.0))}
    pages = [level(pixels, 20, z=z, restart_marker_rows=1) for z, pixels in stack.items()]
    pages.append(level(np.rint(block_means(stack[0], 2)).astype(np.uint8), 10, restart_marker_rows=1))
    with opened(write_ndpi(tmp_path / "slide.ndpi", pages)) as image:
        assert image.main_imd.depth == 3 and image.full_imd.physical_size_z_um == 2.0
        assert len(image.pyramid.tiers) == 1  # the half one lacks two planes
        for index, z in enumerate(sorted(stack)):
            ours = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, Plane(0, index, 0))
            assert np.abs(ours.astype(int) - decoded(jpeg_of(stack[z]))).max() <= 1
        check_integrity(image, lambda part: None)


def test_grey_fluorescence_stays_grey(tmp_path: Path) -> None:
    grey = picture(320, 240)[..., :1]
    page = level(grey, 40, restart_marker_rows=1)
    page.dye = "DAPI 2 (387)"
    with opened(write_ndpi(tmp_path / "slide.ndpi", [page])) as image:
        main = image.main_imd
        assert (main.n_samples, main.brightfield) == (1, False)
        assert [channel.suggested_name for channel in main.channels] == ["DAPI 2 (387)"]
        ours = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE)
        assert np.array_equal(ours, decoded(jpeg_of(grey)))


def test_what_the_tags_say_becomes_metadata(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "slide.ndpi", slide_pages())
    with opened(path) as image, openslide.OpenSlide(path) as slide:
        full = image.full_imd
        assert full.physical_size_x_um == float(slide.properties["openslide.mpp-x"]) == 0.25
        assert full.physical_size_y_um == float(slide.properties["openslide.mpp-y"]) == 0.5
        assert full.objective == Objective(40, 40)
        assert full.acquired_at == datetime(2017, 2, 7, 13, 6, 43)
        assert full.microscope_model == "C9600"
        assert full.brightfield and full.lossy and not full.subsampled
        assert image.raw_metadata["HAMAMATSU.Objective.Lens.Magnificant"] == "40"
        macro = image.reader.read_macro(10, 10)
        there = np.asarray(slide.associated_images["macro"].convert("RGB"))
        assert macro is not None and np.abs(macro.astype(int) - there).max() <= 1
        assert [(a.name, a.width, a.height) for a in full.associated] == [("macro", 301, 120)]


def test_a_small_level_without_markers_is_decoded_as_a_whole(tmp_path: Path) -> None:
    pages = [level(BASE, 40, listed=False), level(HALF, 20, restart_marker_rows=1)]
    with opened(write_ndpi(tmp_path / "slide.ndpi", pages)) as image:
        ours = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE)
        assert np.abs(ours.astype(int) - decoded(pages[0].jpeg)).max() <= 1


def test_a_large_level_without_markers_is_left_to_openslide(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(np.tile(picture(600, 600), (4, 4, 1)))
    path = write_ndpi(tmp_path / "slide.ndpi", [level(pixels, 40, listed=False)])
    with LocalSource(path) as source:
        found = discover_formats().identify(Probe(source))
        assert found is NDPISlideFormat
        with found(source) as image, openslide.OpenSlide(path) as slide:
            region = image.pyramid.base.tile_region(3, 4)
            ours = image.reader.read_region(image.pyramid.base, region, FIRST_PLANE)
            there = slide.read_region((region.left, region.top), 0, (region.width, region.height))
            assert np.array_equal(ours, np.asarray(there.convert("RGB")))
            assert image.full_imd.objective == Objective(40, 40)
        with NDPIFormat(source) as native, pytest.raises(UnsupportedFeature, match="2400 x 2400"):
            _ = native.main_imd


def test_a_wrong_list_of_markers_is_left_to_openslide(tmp_path: Path) -> None:
    page = level(BASE, 40, restart_marker_rows=1)
    page.starts = [start + 1 for start in starts_of(page.jpeg)]
    with LocalSource(write_ndpi(tmp_path / "slide.ndpi", [page])) as source:
        assert discover_formats().identify(Probe(source)) is NDPISlideFormat


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({65421: (FLOAT, [-1.0])}, CorruptFile),
        ({259: (SHORT, [22610])}, UnsupportedFeature),
        ({256: (LONG, [1 << 31])}, FileError),
        ({65426: (LONG, [700, 800])}, CorruptFile),
        ({65426: (SHORT, [700, 800])}, CorruptFile),
        ({279: (LONG, [100])}, FileError),
        ({273: (LONG, [0])}, FileError),
    ],
)
def test_tags_that_can_not_be_are_refused(
    tmp_path: Path, extra: dict[int, tuple[int, Any]], error: type[FileError]
) -> None:
    page = level(BASE, 40, restart_marker_rows=1)
    page.extra = extra
    if 273 in extra:
        page.jpeg = b"nothing of a JPEG" * 100
        page.starts = [0, 1]
    with opened(write_ndpi(tmp_path / "slide.ndpi", [page])) as image, pytest.raises(error):
        check_integrity(image, lambda part: None)


def test_directories_in_a_loop_are_refused(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "slide.ndpi", slide_pages()[:1])
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<Q", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<Q", data, first + 2 + 12 * count, first)
    path.write_bytes(data)
    with opened(path) as image, pytest.raises(CorruptFile, match="loop"):
        _ = image.main_imd


def test_damaged_files_give_pixels_or_an_error_of_ours(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "slide.ndpi", [level(picture(320, 240), 40, restart_marker_blocks=8)])
    whole = path.read_bytes()
    (first,) = struct.unpack_from("<Q", whole, 4)
    random = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            low = first if random.random() < 0.7 else 0
            data[random.integers(low, len(data))] = random.integers(256)
        path.write_bytes(data)
        with LocalSource(path) as source:
            if NDPIFormat.match(Probe(source)):
                with NDPIFormat(source) as image:
                    try:
                        check_integrity(image, lambda part: None)
                    except FileError:
                        continue


def imported(path: Path, root: Path) -> tuple[ImportResult, ImagePool]:
    root.mkdir()
    registry, listener = discover_formats(), StdoutListener(io.StringIO())
    result = import_file(path, ImportOptions(root, root / ".pending"), registry, listener)
    assert result.path is not None, result.error
    return result, ImagePool(Opener(root, registry, ReadContext()), 10)


def test_what_openslide_reads_is_read_in_another_process_once_imported(tmp_path: Path) -> None:
    page = level(BASE, 40, restart_marker_rows=1)
    page.starts = [start + 1 for start in starts_of(page.jpeg)]
    path = write_ndpi(tmp_path / "slide.ndpi", [page])
    result, pool = imported(path, tmp_path / "root")
    try:
        assert result.path is not None and result.format == "NDPISLIDE"
        with pool.lease(result.path) as image, openslide.OpenSlide(path) as slide:
            reader = image.spatial.reader
            assert isinstance(reader, IsolatedReader) and reader.process_id is not None
            ours = image.reader.read_tile(Tile(image.pyramid.base, 2, 1))
            there = slide.read_region((512, 256), 0, (256, 256)).convert("RGB")
            assert np.array_equal(ours, np.asarray(there))
    finally:
        pool.close()


def test_a_level_that_openslide_decodes_as_a_whole_is_converted(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(np.tile(picture(600, 600), (4, 4, 1)))
    path = write_ndpi(tmp_path / "slide.ndpi", [level(pixels, 40, listed=False)])
    result, pool = imported(path, tmp_path / "root")
    try:
        assert result.path is not None and result.format == "NDPISLIDE"
        with pool.lease(result.path) as image:
            assert image.manifest.spatial_format == "PYRTIFF"
            ours = image.reader.read_tile(Tile(image.pyramid.base, 2, 3))
            assert np.abs(ours.astype(int) - pixels[768:1024, 512:768]).mean() < 2
    finally:
        pool.close()
