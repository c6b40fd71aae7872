"""The tables of tiles and strips: kept or read when needed, sparse, short, wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pims.errors import CorruptFile, LimitExceeded
from pims.files.source import LocalSource
from pims.formats.engines.tiff.directory import parse_tiff
from pims.formats.engines.tiff.segments import SegmentTable
from pims.model.limits import Limits
from tests.formats.tiff_files import BYTE, FLOAT, LONG, LONG8, SHORT, Page, build, noise, page_of

SIDE = 16


def grid(columns: int, rows: int) -> Page:
    """An image of tiles of 16 px that all hold one byte; sizes in both tables as many as tiles."""
    pixels = np.broadcast_to(np.uint8(0), (rows * SIDE, columns * SIDE, 1))
    return page_of(pixels, [], (SIDE, SIDE))


def tables(
    page: Page, path: Path, *, order: str = "<", big: bool = False
) -> tuple[SegmentTable, LocalSource]:
    path.write_bytes(build([page], order=order, big=big))
    source = LocalSource(path)
    return SegmentTable(parse_tiff(source, Limits()).directories[0]), source


@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG, LONG8])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (61, 53)])
def test_every_place_is_what_the_tables_say(
    size: tuple[int, int], order: str, kind: int, tmp_path: Path
) -> None:
    page = grid(*size)
    count = size[0] * size[1]
    random = np.random.default_rng(0)
    offsets = [int(value) for value in random.integers(0, 256, count)]
    counts = [int(value) for value in random.integers(0, 256, count)]
    page.tags |= {324: (kind, offsets), 325: (kind, counts)}
    table, source = tables(page, tmp_path / "file.tif", order=order, big=True)
    with source:
        assert (table.columns, table.rows) == size
        for index in random.permutation(count):
            expected = (offsets[index], counts[index]) if offsets[index] and counts[index] else None
            assert table.locate(int(index)) == expected
            assert table.locate(int(index), may_block=True) == expected


def test_a_strip_has_the_last_rows_only(tmp_path: Path) -> None:
    pixels = noise(5, 10, 1)
    table, source = tables(page_of(pixels, [b"12345678"] * 4, rows=3), tmp_path / "file.tif")
    with source:
        assert (table.columns, table.rows) == (1, 4)


def test_the_tags_of_strips_serve_for_tiles(tmp_path: Path) -> None:
    page = grid(2, 1)
    page.tags |= {273: (LONG, [8, 9]), 279: (LONG, [1, 2])}
    table, source = tables(page, tmp_path / "file.tif")
    with source:
        assert [table.locate(0), table.locate(1)] == [(8, 1), (9, 2)]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({}, "has no offsets"),
        ({324: (LONG, [8, 8])}, "has no byte counts"),
        ({325: (LONG, [8, 8])}, "has no offsets"),
        ({324: (LONG, [8]), 325: (LONG, [8, 8])}, "needs 2 offsets and the file gives 1"),
        ({324: (LONG, [8, 8]), 325: (LONG, [])}, "needs 2 byte counts and the file gives 0"),
        ({324: (FLOAT, [8.0, 8.0]), 325: (LONG, [1, 1])}, "does not hold integers"),
        ({324: (9, [-8, -8]), 325: (LONG, [1, 1])}, "does not hold integers"),
        ({324: (LONG, [8, 8]), 325: (2, b"ab")}, "does not hold integers"),
        ({324: (LONG, [8, 8]), 325: (5, [1, 1, 1, 1])}, "does not hold integers"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tags: dict[int, tuple[int, object]], words: str, tmp_path: Path
) -> None:
    page = grid(2, 1)
    page.tags |= tags
    with pytest.raises(CorruptFile, match=words):
        tables(page, tmp_path / "file.tif")


def test_a_table_past_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    page = grid(100, 100)
    page.tags |= {324: (LONG, [8] * 10_000), 325: (LONG, [1] * 10_000)}
    path = tmp_path / "file.tif"
    data = bytearray(build([page]))
    position = data.index(b"\x44\x01\x04\0\x10\x27\0\0")
    data[position + 8 : position + 12] = (len(data) - 39_999).to_bytes(4, "little")
    path.write_bytes(data)
    with LocalSource(path) as source, pytest.raises(CorruptFile, match="ends before the end of its table"):
        SegmentTable(parse_tiff(source, Limits()).directories[0])


def test_a_million_tiny_tiles_are_refused(tmp_path: Path) -> None:
    pixels = np.broadcast_to(np.uint8(0), (1000, 1000, 1))
    with pytest.raises(LimitExceeded, match="1000000 tiles of 1 x 1 px"):
        tables(page_of(pixels, [], (1, 1)), tmp_path / "file.tif")
