"""EXIF tags, honest and hostile."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from pims.formats.engines.exif import Density, parse_date, parse_exif


def written(**tags: Any) -> bytes:
    """An EXIF block by an independent writer; tags are named t<number>."""
    exif = Image.Exif()
    for name, value in tags.items():
        exif[int(name[1:])] = value
    return exif.tobytes().removeprefix(b"Exif\0\0")


def directory(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """A TIFF of one directory: (tag, type, count, value or offset) each."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return start + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4)


def test_the_tags_of_an_independent_writer_are_read() -> None:
    exif = parse_exif(
        written(
            t270="a slide",
            t274=6,
            t282=IFDRational(40000),
            t283=IFDRational(20000),
            t296=3,
            t306="2020:02:03 04:05:06",
        )
    )
    assert exif.text("ImageDescription") == "a slide"
    assert exif.orientation == 6
    assert exif.taken_at == datetime(2020, 2, 3, 4, 5, 6)
    density = exif.density
    assert density is not None
    assert density.pixel_size_um() == pytest.approx((0.25, 0.5))


def test_the_exif_directory_is_read_and_its_date_preferred() -> None:
    exif = Image.Exif()
    exif[306] = "2021:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    order = "be" if exif.tobytes()[6:8] == b"MM" else "le"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "µm".encode(f"utf-16-{order}")
    parsed = parse_exif(exif.tobytes().removeprefix(b"Exif\0\0"))
    assert parsed.taken_at == datetime(2020, 1, 1)
    assert parsed.text("UserComment") == "µm"


def test_both_byte_orders_are_read() -> None:
    little = parse_exif(directory((274, 3, 1, 5)))
    big = parse_exif(directory((274, 3, 1, 5 << 16), order=">"))
    assert little.orientation == big.orientation == 5


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_means_as_stored(orientation: int) -> None:
    assert parse_exif(directory((274, 3, 1, orientation))).orientation == 1


@pytest.mark.parametrize(
    ("x", "y"), [(72, 72), (28 * 2.54, 28 * 2.54), (96, 96), (0, 0), (-1, -1), (float("inf"), float("nan"))]
)
def test_screen_densities_and_nonsense_mean_unknown(x: float, y: float) -> None:
    assert Density(x, y).pixel_size_um() == (None, None)


def test_each_axis_has_its_own_density() -> None:
    assert Density(25400, 72).pixel_size_um() == pytest.approx((1.0, 25400 / 72))


def test_loops_lies_and_cut_values_are_left_out() -> None:
    for entry in [
        (0x8769, 4, 1, 8),  # the EXIF directory is this one
        (0x8769, 4, 1, 0xFFFFFFFF),
        (270, 2, 0xFFFFFFFF, 8),
        (282, 5, 1, 0xFFFFFFF0),
        (270, 99, 1, 0),
        (270, 2, 0, 0),
    ]:
        assert dict(parse_exif(directory(entry)).values) == {}


def test_a_rational_divided_by_zero_is_left_out() -> None:
    data = directory((282, 5, 1, 26)) + struct.pack("<II", 300, 0)
    assert parse_exif(data).density is None


@given(st.binary(max_size=300), st.sampled_from([b"II*\0", b"MM\0*"]))
def test_any_bytes_are_parsed_without_an_error(rest: bytes, start: bytes) -> None:
    exif = parse_exif(start + rest)
    assert 1 <= exif.orientation <= 8
    if exif.density is not None:
        exif.density.pixel_size_um()


@given(st.data())
def test_a_real_block_with_changed_bytes_is_parsed_without_an_error(data: st.DataObject) -> None:
    block = bytearray(written(t270="text", t274=3, t282=IFDRational(300), t306="2020:02:03 04:05:06"))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    exif = parse_exif(bytes(block))
    assert 1 <= exif.orientation <= 8


@pytest.mark.parametrize(
    "text",
    ["2020:02:03 04:05:06", "2020-02-03T04:05:06", "2020-02-03 04:05:06", "3 Feb 2020 04:05:06"],
)
def test_dates_in_the_usual_notations_are_read(text: str) -> None:
    parsed = parse_date(text)
    assert parsed is not None
    assert parsed.replace(tzinfo=None) == datetime(2020, 2, 3, 4, 5, 6)


@given(st.text(max_size=80))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or isinstance(parse_date(text), datetime)
