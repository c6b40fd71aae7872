"""JPEG as TIFF 6.0 had it: the same picture, however its writer spread the stream."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.errors import FileError, UnsupportedFeature
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.model.planes import FIRST_PLANE
from tests.formats.conftest import Opened
from tests.formats.engines.tiff.reading import read
from tests.formats.tiff_files import LONG, SHORT, Page, build, page_of, smooth

WIDTH, HEIGHT = 64, 48
ROWS = 16
START = 8
"""Where the stored segments of a classic TIFF made for tests begin."""


def jpeg(pixels: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=2, **options)
    return stream.getvalue()


def shown(data: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def parts(data: bytes) -> tuple[list[tuple[int, bytes]], bytes, bytes]:
    """Segments before the scan, the header of the scan, and the scan without EOI."""
    segments, position = [], 2
    while data[position + 1] != 0xDA:
        length = struct.unpack_from(">H", data, position + 2)[0]
        segments.append((data[position + 1], data[position + 4 : position + 2 + length]))
        position += 2 + length
    end = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
    return segments, data[position:end], data[end:-2]


def old(segments: list[bytes | None], rows: int = HEIGHT, **tags: Any) -> Page:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return page_of(pixels, segments, compression=6, photometric=6, rows=rows, **tags)


def test_a_strip_may_be_a_whole_jpeg(opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT))
    assert np.abs(read(build([old([data])]), opened).astype(int) - shown(data)).max() <= 1


@pytest.mark.parametrize("length", [True, False])
def test_the_interchange_format_may_be_all_of_it(length: bool, opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT))
    scan = data.index(parts(data)[2])
    tags = {513: (LONG, [START]), 273: (LONG, [START + scan]), 279: (LONG, [len(data) - scan])}
    if length:
        tags[514] = (LONG, [len(data)])
    page = old([data], tags=tags)
    assert np.abs(read(build([page]), opened).astype(int) - shown(data)).max() <= 1


def test_a_scan_that_selects_nothing_selects_all(opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT))
    _, scan_header, _ = parts(data)
    zeroed = data.replace(scan_header, scan_header[:-3] + bytes(3))
    assert np.abs(read(build([old([zeroed])]), opened).astype(int) - shown(data)).max() <= 1


@pytest.mark.parametrize("scan_in_strip", [True, False])
@pytest.mark.parametrize("markers", [True, False])
def test_strips_may_continue_a_header(markers: bool, scan_in_strip: bool, opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT), restart_marker_rows=1)
    segments, scan_header, scan = parts(data)
    strips = split_at_restarts(scan, markers)
    assert len(strips) == HEIGHT // ROWS
    if scan_in_strip:
        strips[0] = scan_header + strips[0]
    header = b"\xff\xd8" + b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
        if marker != 0xDD
    )
    page = old([header, *strips], rows=ROWS)
    offsets = [START + len(header) + sum(map(len, strips[:index])) for index in range(len(strips))]
    page.tags |= {
        273: (LONG, offsets),
        279: (LONG, [len(strip) for strip in strips]),
        513: (LONG, [START]),
        514: (LONG, [len(header)]),
    }
    assert np.abs(read(build([page]), opened).astype(int) - shown(data)).max() <= 1


def split_at_restarts(scan: bytes, keep: bool) -> list[bytes]:
    found, start = [], 0
    for position in range(len(scan) - 1):
        if scan[position] == 0xFF and 0xD0 <= scan[position + 1] <= 0xD7:
            found.append(scan[start : position + 2 * keep])
            start = position + 2
    return [*found, scan[start:]]


def test_tables_may_be_in_tags(opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT))
    segments, _, scan = parts(data)
    quantization = split_tables(segments, 0xDB)
    coding = split_tables(segments, 0xC4)
    stored, places = bytearray(scan), {}
    for name, table in (quantization | coding).items():
        places[name] = START + len(stored)
        stored += table
    tags = {
        273: (LONG, [START]),
        279: (LONG, [len(scan)]),
        519: (LONG, [places["DB0"], places["DB1"], places["DB1"]]),
        520: (LONG, [places["C40"], places["C41"], places["C41"]]),
        521: (LONG, [places["C416"], places["C417"], places["C417"]]),
        530: (SHORT, [2, 2]),
    }
    found = read(build([old([bytes(stored)], tags=tags)]), opened)
    assert np.abs(found.astype(int) - shown(data)).max() <= 1


def split_tables(segments: list[tuple[int, bytes]], wanted: int) -> dict[str, bytes]:
    """Tables by marker and identifier, without the latter."""
    found, left = {}, b"".join(content for marker, content in segments if marker == wanted)
    while left:
        size = 64 if wanted == 0xDB else 16 + sum(left[1:17])
        found[f"{wanted:X}{left[0]}"] = left[1 : 1 + size]
        left = left[1 + size :]
    return found


def test_it_is_read_as_a_whole_and_never_sent_as_it_is(opened: Opened) -> None:
    with opened(PlanarTIFFFormat, build([old([jpeg(smooth(WIDTH, HEIGHT))])])) as image:
        assert image.main_imd.lossy
        assert image.reader.read_stored_tile(image.pyramid.base, 0, 0, FIRST_PLANE) is None
        reduced = image.reader.read_region(image.pyramid.base, image.pyramid.base.region, FIRST_PLANE, 4)
        assert reduced.shape == (HEIGHT // 4, WIDTH // 4, 3)


def test_tiles_are_refused(opened: Opened) -> None:
    page = page_of(np.zeros((32, 32, 3), np.uint8), [b"x"] * 4, (16, 16), compression=6, photometric=6)
    with pytest.raises(UnsupportedFeature, match="old-style JPEG in tiles"):
        read(build([page]), opened)


@pytest.mark.parametrize(("width", "height"), [(16, 70_000), (65_501, 8)])
def test_sides_that_no_jpeg_has_are_refused(width: int, height: int, opened: Opened) -> None:
    data = bytes(200)
    page = old([data], rows=height)
    tables = {number: (LONG, [START] * 3) for number in (519, 520, 521)}
    page.tags |= {256: (LONG, [width]), 257: (LONG, [height]), 278: (LONG, [height])} | tables
    with pytest.raises(UnsupportedFeature, match=f"{width} x {height} px"):
        read(build([page]), opened)


@pytest.mark.parametrize("size", range(0, 700, 37))
def test_a_stream_that_is_cut_is_refused_or_read(size: int, opened: Opened) -> None:
    data = jpeg(smooth(WIDTH, HEIGHT))
    tags = {513: (LONG, [START]), 514: (LONG, [len(data)])}
    for page in (old([data[:size] or b"\0"]), old([data[:size] or b"\0"], tags=tags)):
        try:
            read(build([page]), opened)
        except FileError as error:
            assert str(error).endswith(".")
