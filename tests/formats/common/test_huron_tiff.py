"""Huron TIFF: tiers, associated images and what the description says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pims.formats.common.huron_tiff import HuronFormat
from pims.formats.probe import Probe
from pims.testing.format_tests import FormatTests, block_means
from tests.formats.conftest import Opened
from tests.formats.tiff_files import smooth

DESCRIPTION = "Resolution = 0.25 um\nObjective = 40X\nScanner = TissueScope\nnonsense\nSlideID = S1\n"


def huron(path: Path, pixels: NDArray[Any], *, make: str = "Huron Digital Pathology") -> Path:
    half = np.rint(block_means(pixels, 2)).astype(np.uint8)
    tiles: dict[str, Any] = {
        "tile": (64, 64),
        "photometric": "rgb",
        "compression": "deflate",
        "metadata": None,
    }
    strips: dict[str, Any] = {"photometric": "rgb", "metadata": None, "rowsperstrip": 8}
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        out.write(pixels, **tiles, description=DESCRIPTION, extratags=[(271, "s", 0, make, True)])
        out.write(smooth(40, 30), **strips)
        out.write(half, **tiles, subfiletype=1)
        out.write(smooth(20, 20), **strips, subfiletype=1)
        out.write(smooth(60, 20), **strips, subfiletype=9)
    return path


class TestHuron(FormatTests):
    format_class = HuronFormat

    def make_file(self, folder: Path) -> Path:
        return huron(folder / "slide.tif", self.expected())

    def expected(self) -> NDArray[Any]:
        return smooth(333, 210)


def test_the_description_is_told_and_pages_have_names(tmp_path: Path, opened: Opened) -> None:
    with opened(HuronFormat, huron(tmp_path / "slide.tif", smooth(333, 210))) as image:
        found = image.full_imd
        assert found.physical_size_x_um == pytest.approx(0.25)
        assert found.objective.nominal_magnification == 40 and found.microscope_model == "TissueScope"
        sizes = {page.name: (page.width, page.height) for page in found.associated}
        assert sizes == {"thumb": (40, 30), "label": (20, 20), "macro": (60, 20)}
        assert [tier.width for tier in image.pyramid.tiers] == [333, 167]
        np.testing.assert_array_equal(image.reader.read_label(9, 9), smooth(20, 20))
        np.testing.assert_array_equal(image.reader.read_macro(9, 9), smooth(60, 20))
        assert image.raw_metadata["HURON.SlideID"] == "S1"
        assert found.brightfield and not image.need_conversion


def test_the_slide_of_another_maker_is_another_format(tmp_path: Path, opened: Opened) -> None:
    path = huron(tmp_path / "slide.tif", smooth(333, 210), make="Somebody else")
    with opened(HuronFormat, path) as image:
        assert not HuronFormat.match(Probe(image.source))
