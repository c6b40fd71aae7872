"""Olympus SIS TIFF: the private block, whole and damaged."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.errors import FileError
from pims.formats.common.olympus_sis import SISFormat
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.probe import Probe
from pims.testing.format_tests import FormatTests
from tests.formats.conftest import Opened
from tests.formats.tiff_files import noise

BLOCK_TAG, INI_TAG = 33560, 33471
INI = b"[Dimension]\r\nZ=1\r\n\0"


def sis(
    path: Path,
    pixels: NDArray[Any],
    *,
    pixel: float = 4.99,
    power: int = -7,
    date: tuple[int, ...] = (30, 12, 1, 0, 124),
) -> bytes:
    """A TIFF followed by a block, whose offset its tag gets once it is known."""
    extra = [(BLOCK_TAG, "I", 1, 0xFFFFFFF0, True), (INI_TAG, "s", len(INI), INI, True)]
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=extra, metadata=None, rowsperstrip=16)
    data = path.read_bytes()
    data += bytes(len(data) % 2)
    block = struct.pack("<4s6x5h6x32sh", b"SIS0", *date, b"a tissue", 1)
    block += struct.pack("<hhI", 1, 1, len(data) + len(block) + 8)
    block += struct.pack("<10xhdd8xd2x34s32s", power, pixel, pixel, 20.0, b"a camera", b"TIFF")
    path.write_bytes(data.replace(struct.pack("<I", 0xFFFFFFF0), struct.pack("<I", len(data)), 1) + block)
    return path.read_bytes()


class TestSis(FormatTests):
    format_class = SISFormat

    def make_file(self, folder: Path) -> Path:
        sis(folder / "picture.tif", self.expected())
        return folder / "picture.tif"

    def expected(self) -> NDArray[Any]:
        return noise(333, 210)


def test_the_block_is_told(tmp_path: Path, opened: Opened) -> None:
    with opened(SISFormat, sis(tmp_path / "sis.tif", noise(40, 30))) as image:
        found = image.full_imd
        assert found.physical_size_x_um == pytest.approx(0.499) == found.physical_size_y_um
        assert found.objective.nominal_magnification == 20
        assert found.acquired_at == datetime(2024, 1, 1, 12, 30)
        assert found.description == "a tissue"
        assert image.raw_metadata["SIS.CameraName"] == "a camera"
        assert image.raw_metadata["SIS.Dimensions"].startswith("[Dimension]")
        assert not image.need_conversion


@pytest.mark.parametrize(
    "values", [{"pixel": 1.0, "power": 0}, {"pixel": float("nan")}, {"pixel": -1.0}, {"power": 30_000}]
)
def test_a_calibration_that_is_none_is_left_out(
    values: dict[str, Any], tmp_path: Path, opened: Opened
) -> None:
    with opened(SISFormat, sis(tmp_path / "sis.tif", noise(40, 30), **values)) as image:
        assert image.full_imd.physical_size_x_um is None
        assert image.full_imd.objective.nominal_magnification is None


def test_a_date_that_is_none_is_left_out(tmp_path: Path, opened: Opened) -> None:
    with opened(SISFormat, sis(tmp_path / "sis.tif", noise(40, 30), date=(99, 99, 99, 99, 99))) as image:
        assert image.full_imd.acquired_at is None


def test_without_the_block_it_is_another_format(tmp_path: Path, opened: Opened) -> None:
    data = sis(tmp_path / "sis.tif", noise(40, 30)).replace(b"SIS0", b"SIS1")
    with opened(PlanarTIFFFormat, data) as image:
        assert not SISFormat.match(Probe(image.source))


@given(at=st.integers(1, 172), value=st.integers(0, 255))
def test_a_damaged_block_never_makes_the_image_unreadable(
    at: int, value: int, tmp_path_factory: pytest.TempPathFactory, opened: Opened
) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    data = bytearray(sis(tmp_path_factory.mktemp("sis") / "sis.tif", pixels))
    data[-at] = value
    with opened(SISFormat, bytes(data)) as image:
        try:
            assert image.full_imd.width == 8 and "SIS.Name" in image.raw_metadata
        except FileError as error:
            raise AssertionError("the block is not needed to read pixels") from error
