"""The core formats keep the contract of formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pims.formats.common.jpeg import JPEGFormat
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.png import PNGFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat
from pims.formats.engines.tiff.encode import TileCodec
from pims.testing.format_tests import FormatTests, block_means
from pims.testing.slides import write_pyramid
from tests.formats.tiff_files import noise, smooth, write_levels

WIDTH, HEIGHT = 333, 210
TIFFS = frozenset({"TIFF", "big-endian TIFF", "BigTIFF"})


def halved(pixels: NDArray[Any], times: int) -> list[NDArray[Any]]:
    levels = [pixels]
    for _ in range(times):
        levels.append(np.rint(block_means(levels[-1], 2)).astype(pixels.dtype))
    return levels


class TestPyramidalTiff(FormatTests):
    format_class = PyrTIFFFormat
    reduced_tolerance = 1.5  # rounded when it was halved, and again

    def make_file(self, folder: Path) -> Path:
        options = {"compression": "deflate", "predictor": 2}
        return write_levels(folder / "slide.tif", halved(self.expected(), 2), (64, 48), **options)

    def expected(self) -> NDArray[Any]:
        return noise(WIDTH, HEIGHT)


class TestPyramidOf16Bits(TestPyramidalTiff):
    def make_file(self, folder: Path) -> Path:
        levels = [level[..., 0] for level in halved(self.expected(), 3)]
        return write_levels(folder / "slide.tif", levels, (32, 32), byteorder=">", bigtiff=True)

    def expected(self) -> NDArray[Any]:
        return noise(WIDTH, HEIGHT, 1, "uint16")


class TestOwnJpegPyramid(FormatTests):
    format_class = PyrTIFFFormat
    tolerance = 8
    reduced_tolerance = 8

    def make_file(self, folder: Path) -> Path:
        return write_pyramid(folder / "slide.tif", self.expected(), codec=TileCodec.JPEG, quality=95)

    def expected(self) -> NDArray[Any]:
        return smooth(700, 530)


class TestPlanarTiff(FormatTests):
    format_class = PlanarTIFFFormat
    family = TIFFS

    def make_file(self, folder: Path) -> Path:
        path = folder / "plane.tif"
        tifffile.imwrite(path, self.expected(), photometric="rgb", compression="lzw", rowsperstrip=7)
        return path

    def expected(self) -> NDArray[Any]:
        return noise(WIDTH, HEIGHT)


class TestPlanarTiffOfOneJpegStrip(FormatTests):
    format_class = PlanarTIFFFormat
    family = TIFFS
    tolerance = 4
    reduced_tolerance = 3

    def make_file(self, folder: Path) -> Path:
        path = folder / "plane.tif"
        Image.fromarray(self.expected()).save(path, compression="jpeg", quality=95, strip_size=1 << 30)
        return path

    def expected(self) -> NDArray[Any]:
        return smooth(WIDTH, HEIGHT)


class TestJpeg(FormatTests):
    format_class = JPEGFormat
    family = frozenset({"JPEG"})
    tolerance = 4
    reduced_tolerance = 3

    def make_file(self, folder: Path) -> Path:
        path = folder / "photo.jpg"
        Image.fromarray(self.expected()).save(path, quality=95, subsampling=0)
        return path

    def expected(self) -> NDArray[Any]:
        return smooth(WIDTH, HEIGHT)


class TestPng(FormatTests):
    format_class = PNGFormat
    family = frozenset({"PNG"})

    def make_file(self, folder: Path) -> Path:
        path = folder / "drawing.png"
        Image.fromarray(self.expected()).save(path)
        return path

    def expected(self) -> NDArray[Any]:
        return noise(WIDTH, HEIGHT)
