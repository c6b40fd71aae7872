"""Conversion to a pyramid: the same pixels in, read by other readers out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ImageCms

from pims.errors import CorruptFile, PimsError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractChecker, AbstractFormat, AbstractParser, AbstractReader
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat
from pims.formats.engines.tiff import writer
from pims.formats.probe import Probe
from pims.importer import convert
from pims.importer.convert import convert_to_pyramid
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier, normalized_pyramid
from pims.testing.slides import coded_pixels, gradient


class NeverChecker(AbstractChecker):
    """Recognises nothing."""

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return False


class ArrayParser(AbstractParser):
    """Says what the test says."""

    format: ArrayFormat

    def parse_main_metadata(self) -> ImageMetadata:
        return self.format.metadata

    def parse_pyramid(self) -> Pyramid:
        metadata = self.format.metadata
        return Pyramid.of([(metadata.width, metadata.height, *self.format.tile_size)])


class ArrayReader(AbstractReader):
    """Cuts regions from an array, and notes them."""

    format: ArrayFormat

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        self.format.regions.append(region)
        if region.bottom > self.format.readable_rows:
            raise CorruptFile("The image ends too early.")
        return self.format.pixels[region.top : region.bottom, region.left : region.right]


class ArrayFormat(AbstractFormat):
    """An image in memory."""

    checker_class: ClassVar[type[AbstractChecker]] = NeverChecker
    parser_class = ArrayParser
    reader_class = ArrayReader

    def __init__(self, source: LocalSource, pixels: NDArray[Any]) -> None:
        super().__init__(source)
        height, width, n_samples = pixels.shape
        self.pixels = pixels
        self.readable_rows = height
        self.tile_size = (width, height)
        self.regions: list[Region] = []
        self.metadata = ImageMetadata(
            width, height, pixels.dtype.name, 8 * pixels.dtype.itemsize, n_samples=n_samples
        )


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LocalSource]:
    empty = tmp_path / "empty"
    empty.touch()
    with LocalSource(empty) as source:
        yield source


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "visualisation.PYRTIFF"


def converted(image: AbstractFormat, destination: Path, codec: str = "zstd", **more: Any) -> dict[str, Any]:
    return convert_to_pyramid(image, destination, lossless_codec=codec, jpeg_quality=90, **more)


@pytest.mark.parametrize("codec", ["zstd", "deflate"])
@pytest.mark.parametrize(("n_samples", "dtype"), [(1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "uint16")])
def test_pixels_without_loss_stay_exactly_as_they_are(
    source: LocalSource, destination: Path, codec: str, n_samples: int, dtype: str
) -> None:
    pixels = gradient(700, 530, n_samples, dtype)
    assert converted(ArrayFormat(source, pixels), destination, codec) == {
        "format": "PYRTIFF",
        "codec": codec,
        "quality": None,
        "tile": 256,
        "levels": 3,
    }
    with tifffile.TiffFile(destination) as tiff:
        assert np.array_equal(tiff.pages.first.asarray().reshape(pixels.shape), pixels)
        assert len(tiff.pages) == 3


@pytest.mark.parametrize(("subsampled", "factors"), [(False, (1, 1)), (True, (2, 2))])
def test_pixels_with_loss_become_jpeg_of_the_quality_asked(
    source: LocalSource, destination: Path, subsampled: bool, factors: tuple[int, int]
) -> None:
    image = ArrayFormat(source, gradient(300, 300))
    image.metadata = replace(image.metadata, lossy=True, subsampled=subsampled)
    parameters = converted(image, destination)
    assert (parameters["codec"], parameters["quality"]) == ("jpeg", 90)
    with tifffile.TiffFile(destination) as tiff:
        page = tiff.pages.first
        assert page.tags["YCbCrSubSampling"].value == factors
        assert np.abs(page.asarray().astype(int) - image.pixels).max() <= 6


@pytest.mark.parametrize("codec", ["zstd", "deflate"])
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("dtype", ["uint32", "int8", "int16", "int32", "float32", "float64"])
def test_every_type_of_pixel_is_read_back_as_it_was(
    tmp_path: Path, destination: Path, dtype: str, n_samples: int, codec: str
) -> None:
    values = np.random.default_rng(0).normal(0, 100, (530, 270, n_samples))
    pixels = values.clip(0 if dtype.startswith("u") else -128, 127).astype(dtype)
    planar = tmp_path / "planar.tif"
    tifffile.imwrite(planar, pixels, photometric="rgb" if n_samples == 3 else "minisblack")
    with LocalSource(planar) as source, PlanarTIFFFormat(source) as image:
        converted(image, destination, codec)
    with LocalSource(destination) as source, PyrTIFFFormat(source) as image:
        base = image.pyramid.base
        assert image.main_imd.pixel_type == dtype
        assert np.array_equal(image.reader.read_region(base, base.region, Plane()), pixels)
        assert len(image.pyramid.tiers) == 3


def test_a_colour_profile_goes_along_while_it_fits_the_colours(tmp_path: Path, destination: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for photometric, samples, kept in (("rgb", 3, True), ("separated", 4, False)):
        planar = tmp_path / f"{photometric}.tif"
        tifffile.imwrite(
            planar, gradient(30, 20, 4)[..., :samples], photometric=photometric, iccprofile=profile
        )
        destination.unlink(missing_ok=True)
        with LocalSource(planar) as source, PlanarTIFFFormat(source) as image:
            assert image.icc_profile == (profile if kept else b"")
            converted(image, destination)
        with tifffile.TiffFile(destination) as tiff:
            assert tiff.pages.first.iccprofile == (profile if kept else None)


def test_sixteen_bits_never_become_jpeg(source: LocalSource, destination: Path) -> None:
    image = ArrayFormat(source, gradient(300, 300, 1, "uint16"))
    image.metadata = replace(image.metadata, lossy=True)
    assert converted(image, destination)["codec"] == "zstd"


def test_calibration_and_orientation_go_along_and_the_description_stays(
    source: LocalSource, destination: Path
) -> None:
    image = ArrayFormat(source, gradient(300, 300))
    image.metadata = replace(
        image.metadata,
        physical_size_x_um=0.5,
        physical_size_y_um=0.25,
        orientation=3,
        description="Aperio Image Library",
    )
    converted(image, destination)
    with tifffile.TiffFile(destination) as tiff:
        tags = {tag.name: tag.value for tag in tiff.pages.first.tags}
    assert (tags["XResolution"], tags["YResolution"]) == ((20_000, 1), (40_000, 1))
    assert tags["Orientation"] == 3
    assert "ImageDescription" not in tags


@pytest.mark.parametrize(
    ("tile_height", "band"), [(100, 1000), (256, 1024), (1024, 1024), (1025, 1024), (5_000, 1024), (7, 1022)]
)
def test_bands_are_whole_rows_of_stored_tiles_where_they_fit(
    source: LocalSource, destination: Path, monkeypatch: pytest.MonkeyPatch, tile_height: int, band: int
) -> None:
    monkeypatch.setattr(convert, "BAND_BYTES", 300 * 3 * 1024)
    image = ArrayFormat(source, coded_pixels(300, 2_500))
    image.tile_size = (300, tile_height)
    converted(image, destination)
    assert {region.top % band for region in image.regions} == {0}
    assert [region.height for region in image.regions[:-1]] == [band] * (len(image.regions) - 1)
    assert sum(region.height for region in image.regions) == 2_500
    with tifffile.TiffFile(destination) as tiff:
        assert np.array_equal(tiff.pages.first.asarray(), image.pixels)


def test_as_many_threads_encode_as_asked_and_give_the_same_bytes(
    source: LocalSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[int] = []

    def pool(workers: int, **more: Any) -> ThreadPoolExecutor:
        pools.append(workers)
        return ThreadPoolExecutor(workers, **more)

    monkeypatch.setattr(writer, "ThreadPoolExecutor", pool)
    image = ArrayFormat(source, gradient(700, 600))
    for threads in (1, 3):
        converted(image, tmp_path / str(threads), threads=threads)
    assert pools == [1, 3]
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()


def test_progress_ends_at_one(
    source: LocalSource, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "BAND_BYTES", 1)
    image = ArrayFormat(source, coded_pixels(300, 600))
    done: list[float] = []
    converted(image, destination, progress=done.append)
    assert done == [256 / 600, 512 / 600, 1.0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n_samples": 2}, "2 samples per pixel"),
        ({"pixel_type": "float16"}, "type float16"),
        ({"depth": 4, "n_concrete_channels": 2}, "8 planes"),
    ],
)
def test_what_can_not_be_converted_is_said(
    source: LocalSource, destination: Path, change: dict[str, Any], reason: str
) -> None:
    image = ArrayFormat(source, gradient(10, 10))
    image.metadata = replace(image.metadata, **change)
    with pytest.raises(UnsupportedFeature, match=reason):
        converted(image, destination)
    assert not destination.exists()


def test_an_image_that_ends_too_early_leaves_nothing(
    source: LocalSource, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "BAND_BYTES", 1)
    image = ArrayFormat(source, gradient(300, 600))
    image.readable_rows = 500
    with pytest.raises(PimsError, match="ends too early"):
        converted(image, destination)
    assert not destination.exists()


@pytest.mark.parametrize(
    ("width", "height"), [(257, 1), (1, 257), (1025, 511), (300, 3_001), (5_000, 2)], ids=str
)
def test_the_pyramidal_format_reads_every_level_of_a_converted_planar_tiff(
    tmp_path: Path, destination: Path, width: int, height: int
) -> None:
    planar = tmp_path / "planar.tif"
    pixels = gradient(width, height)
    tifffile.imwrite(planar, pixels, rowsperstrip=17, photometric="rgb")
    with LocalSource(planar) as source, PlanarTIFFFormat(source) as image:
        converted(image, destination)
    with LocalSource(destination) as source, PyrTIFFFormat(source) as image:
        assert PyrTIFFFormat.match(Probe(source))
        assert [(tier.width, tier.height) for tier in image.pyramid.tiers] == [
            (tier.width, tier.height) for tier in normalized_pyramid(width, height).tiers
        ]
        assert np.array_equal(
            image.reader.read_region(image.pyramid.base, Region(0, 0, width, height), Plane()), pixels
        )
        with tifffile.TiffFile(destination) as tiff:
            for tier, page in zip(image.pyramid.tiers, tiff.pages, strict=True):
                assert np.array_equal(image.reader.read_region(tier, tier.region, Plane()), page.asarray())
