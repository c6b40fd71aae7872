"""Directories of TIFF files: what is in them, and what they may not do."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.engines.tiff.directory import TiffFile, is_tiff, parse_tiff
from pims.formats.engines.tiff.tags import Tag
from pims.model.limits import Limits
from tests.formats.tiff_files import (
    ASCII,
    BYTE,
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
)

PIXELS = noise(20, 10, 1)


def plain(**tags: tuple[int, object]) -> Page:
    return page_of(PIXELS, [PIXELS.tobytes()], tags={int(code[1:]): value for code, value in tags.items()})


OPENED: list[LocalSource] = []


@pytest.fixture(autouse=True)
def close_what_was_opened() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def parse(data: bytes, folder: Path, limits: Limits | None = None) -> TiffFile:
    """Parsed; left open until the test ends."""
    path = folder / "file.tif"
    path.write_bytes(data)
    OPENED.append(LocalSource(path))
    return parse_tiff(OPENED[-1], limits or Limits())


VARIANTS = [("<", False), (">", False), ("<", True), (">", True)]


@pytest.fixture(params=VARIANTS, ids=["little", "big-endian", "bigtiff", "big-endian bigtiff"])
def variant(request: pytest.FixtureRequest) -> tuple[str, bool]:
    found: tuple[str, bool] = request.param
    return found


def test_numbers_and_texts_are_those_that_were_written(tmp_path: Path, variant: tuple[str, bool]) -> None:
    order, big = variant
    page = plain(
        _270=(ASCII, "Grüße".encode() + b"\0more"),
        _282=(RATIONAL, [3, 2]),
        _283=(RATIONAL, [3, 0]),
        _65000=(BYTE, [1, 2, 3]),
        _65001=(SHORT, [1, 2, 70 * 256]),
        _65002=(FLOAT, [0.5]),
        _65003=(DOUBLE, [0.1, 0.2]),
        _65004=(8, [-5]),
        _65005=(10, [-1, 4, 1, 8]),
        _65006=(UNDEFINED, b"\1\2"),
        _65007=(17, [-(2**40)]),
        _65008=(6, [-1]),
    )
    directory = parse(build([page], order=order, big=big), tmp_path).directories[0]
    assert (directory.width, directory.height, directory.bits_per_sample) == (20, 10, 8)
    assert directory.description == "Grüße"
    assert directory.number(Tag.X_RESOLUTION) == 1.5
    assert directory.number(Tag.Y_RESOLUTION) == 0
    expected = {
        65000: (1, 2, 3), 65001: (1, 2, 17920), 65002: (0.5,), 65003: (0.1, 0.2), 65004: (-5,),
        65005: (-0.25, 0.125), 65006: (1, 2), 65007: (-(2**40),), 65008: (-1,), 65099: (),
    }  # fmt: skip
    assert {code: directory.numbers(code) for code in expected} == expected
    assert directory.integers(65002) == () and directory.integer(65002, 7) == 7
    assert directory.integer(65001, 7) == 1 and directory.integer(65099, 7) == 7
    assert directory.numbers(Tag.IMAGE_DESCRIPTION) == () and directory.raw(65006) == b"\1\2"


def test_a_text_that_is_no_utf8_is_read_as_latin1(tmp_path: Path) -> None:
    directory = parse(build([plain(_270=(ASCII, b"10 \xb5m "))]), tmp_path).directories[0]
    assert directory.description == "10 µm"


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_are_those_of_tifffile(tmp_path: Path, order: str, big: bool) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as tiff:
        for side in (40, 30, 20):
            tiff.write(np.zeros((side, side + 1), np.uint16), description=f"page {side}", metadata=None)
    file = parse(path.read_bytes(), tmp_path)
    assert (file.byte_order, file.big) == (order, big)
    with tifffile.TiffFile(path) as tiff:
        found = [(page.offset, page.imagewidth, page.imagelength, page.description) for page in tiff.pages]
    assert [(d.offset, d.width, d.height, d.description) for d in file.directories] == found


def test_sub_directories_are_found_once_each(tmp_path: Path, variant: tuple[str, bool]) -> None:
    order, big = variant
    page = plain()
    page.sub = [plain(_254=(LONG, [1])), plain(_254=(LONG, [4]))]
    file = parse(build([page], order=order, big=big), tmp_path)
    first, second = file.sub_directories(file.directories[0])
    assert (first.is_reduced, first.is_mask) == (True, False)
    assert (second.is_reduced, second.is_mask) == (False, True)
    assert file.sub_directories(file.directories[0]) == (first, second)
    assert file.sub_directories(first) == ()


def test_a_missing_last_pointer_ends_the_chain(tmp_path: Path, variant: tuple[str, bool]) -> None:
    order, big = variant
    data = build([plain()], order=order, big=big)
    assert len(parse(data[: -8 if big else -4], tmp_path).directories) == 1
    with pytest.raises(CorruptFile, match="ends too early"):
        parse(data[:-1], tmp_path)


def test_types_nobody_knows_are_skipped(tmp_path: Path) -> None:
    data = bytearray(build([plain(_65000=(SHORT, [1]))]))
    position = data.index(struct.pack("<HH", 65000, SHORT))
    struct.pack_into("<H", data, position + 2, 99)
    assert 65000 not in parse(bytes(data), tmp_path).directories[0]


@pytest.mark.parametrize(
    "data",
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II*\0\x08\0\0\0\1", b"II+\0\x08\0\0\0\x10\0\0\0"],
)
def test_a_cut_header_is_refused(data: bytes, tmp_path: Path) -> None:
    assert is_tiff(data)
    with pytest.raises(CorruptFile):
        parse(data, tmp_path)


@pytest.mark.parametrize("data", [b"", b"II", b"II\0*", b"MM*\0", b"IM*\0", b"\x89PNG", b"ii*\0", b"II,\0"])
def test_other_beginnings_are_no_tiff(data: bytes, tmp_path: Path) -> None:
    assert not is_tiff(data)
    with pytest.raises(CorruptFile, match="no TIFF"):
        parse(data, tmp_path)


def test_bigtiff_with_other_offsets_than_eight_bytes_is_refused(tmp_path: Path) -> None:
    data = bytearray(build([plain()], big=True))
    struct.pack_into("<H", data, 4, 16)
    with pytest.raises(CorruptFile, match="8 bytes"):
        parse(bytes(data), tmp_path)


def test_no_directory_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="no image"):
        parse(b"II*\0\0\0\0\0", tmp_path)


def test_a_loop_of_directories_is_refused(tmp_path: Path) -> None:
    data = bytearray(build([plain(), plain()]))
    first = struct.unpack_from("<I", data, 4)[0]
    struct.pack_into("<I", data, len(data) - 4, first)
    with pytest.raises(CorruptFile, match="loop"):
        parse(bytes(data), tmp_path)


def test_a_loop_of_sub_directories_ends(tmp_path: Path) -> None:
    page = plain()
    page.sub = [plain()]
    data = bytearray(build([page]))
    file = parse(bytes(data), tmp_path)
    (sub,) = file.sub_directories(file.directories[0])
    end = sub.offset + 2 + 12 * len(sub.entries)
    struct.pack_into("<I", data, end, sub.offset)
    file = parse(bytes(data), tmp_path)
    assert [found.offset for found in file.sub_directories(file.directories[0])] == [sub.offset]


def test_more_directories_than_the_limit_are_refused(tmp_path: Path) -> None:
    data = build([plain() for _ in range(6)])
    assert len(parse(data, tmp_path, Limits(max_directories=6)).directories) == 6
    with pytest.raises(LimitExceeded, match=r"\(5\)"):
        parse(data, tmp_path, Limits(max_directories=5))


def test_directories_that_overlap_are_refused_quickly(tmp_path: Path) -> None:
    """Thousands of directories that share their entries: a small file that asks for much work."""
    count, chained = 4096, 6000
    data = bytearray(b"II*\0\x08\0\0\0" + bytes(12 * (count + chained + 1)))
    for index in range(chained):
        offset = 8 + 12 * index
        struct.pack_into("<H", data, offset, count)
        struct.pack_into("<I", data, offset + 2 + 12 * count, offset + 12)
    start = time.perf_counter()
    with pytest.raises(CorruptFile):
        parse(bytes(data), tmp_path)
    assert time.perf_counter() - start < 9


@pytest.mark.parametrize(("count", "big"), [(4097, False), (0xFFFF, False), (2**64 - 1, True), (2**40, True)])
def test_an_absurd_number_of_entries_is_refused(count: int, big: bool, tmp_path: Path) -> None:
    header = struct.pack("<HHHHQ", 0x4949, 43, 8, 0, 16) if big else struct.pack("<HHI", 0x4949, 42, 8)
    data = header + struct.pack("<Q" if big else "<H", count) + bytes(1000)
    with pytest.raises(CorruptFile, match=f"{count} entries"):
        parse(data, tmp_path)


@pytest.mark.parametrize("offset", [1 << 31, 0xFFFFFFFF, 1000])
def test_an_offset_past_the_end_is_refused(offset: int, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="ends too early"):
        parse(struct.pack("<HHI", 0x4949, 42, offset) + bytes(100), tmp_path)


@pytest.mark.parametrize("count", [0xFFFFFFFF, 1 << 30, 70_000])
def test_a_tag_that_claims_too_much_is_refused_before_it_is_read(count: int, tmp_path: Path) -> None:
    data = bytearray(build([plain(_65000=(SHORT, [1, 2, 3]))]))
    position = data.index(struct.pack("<HH", 65000, SHORT))
    struct.pack_into("<I", data, position + 4, count)
    directory = parse(bytes(data), tmp_path, Limits(max_tag_bytes=100_000)).directories[0]
    for read in (directory.numbers, directory.integers, directory.raw, directory.text):
        with pytest.raises(LimitExceeded, match="claims"):
            read(65000)


@pytest.mark.parametrize(
    ("tag", "value", "error", "words"),
    [
        (256, 0, CorruptFile, "no valid width"),
        (257, 0, CorruptFile, "no valid height"),
        (256, 4_194_305, LimitExceeded, "width is 4194305"),
        (257, 0xFFFFFFFF, LimitExceeded, "height is 4294967295"),
        (277, 0, LimitExceeded, "0 samples"),
        (277, 17, LimitExceeded, "17 samples"),
    ],
)
def test_sizes_out_of_bounds_are_refused(
    tag: int, value: int, error: type[Exception], words: str, tmp_path: Path
) -> None:
    page = plain()
    page.tags[tag] = (LONG, [value])
    directory = parse(build([page]), tmp_path).directories[0]
    with pytest.raises(error, match=words):
        _ = (directory.width, directory.height, directory.samples_per_pixel)


def test_samples_of_different_bits_are_not_supported(tmp_path: Path) -> None:
    page = page_of(noise(4, 4), [bytes(48)], tags={258: (SHORT, [5, 6, 5])})
    with pytest.raises(UnsupportedFeature, match=r"different numbers of bits \(5, 6, 5\)"):
        _ = parse(build([page]), tmp_path).directories[0].bits_per_sample


@pytest.mark.parametrize("rows", [0, 1, 3, 10, 11, 0xFFFFFFFF])
def test_a_strip_has_at_least_a_row_and_at_most_the_image(rows: int, tmp_path: Path) -> None:
    page = plain(_278=(LONG, [rows]))
    assert parse(build([page]), tmp_path).directories[0].tile_height == min(max(rows, 1), 10)
