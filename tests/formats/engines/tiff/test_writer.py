"""What the pyramid writer writes, read by tifffile, libtiff (Pillow) and OpenSlide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from pims.errors import StorageError
from pims.formats.engines.tiff import writer as pyramid_writer
from pims.formats.engines.tiff.encode import Subsampling, TileCodec, split_jpeg
from pims.formats.engines.tiff.writer import PyramidSpec, PyramidWriter, halve
from pims.model.pyramid import normalized_pyramid
from pims.testing.slides import gradient, write_pyramid

LOSSLESS = [TileCodec.ZSTD, TileCodec.DEFLATE, TileCodec.NONE]
JPEG_TOLERANCE = 6
"""On the smooth test image at quality 90."""

sides = st.sampled_from([1, 2, 3, 255, 256, 257, 258, 511, 512, 513, 1025]) | st.integers(1, 700)


def noise(width: int, height: int, n_samples: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random, info = np.random.default_rng(seed), np.iinfo(dtype)
    return random.integers(info.min, info.max, (height, width, n_samples), dtype, endpoint=True)


def slowly_halved(pixels: NDArray[Any]) -> NDArray[Any]:
    """The obvious halving: repeat the last odd row and column, add four pixels, divide rounding half up."""
    height, width, _ = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.int64)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(pixels.dtype)


def expected_levels(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    levels = [pixels]
    while max(levels[-1].shape[:2]) > 256:
        levels.append(slowly_halved(levels[-1]))
    return levels


def tifffile_levels(path: Path) -> list[NDArray[Any]]:
    with tifffile.TiffFile(path) as tiff:
        levels = [page.asarray() for page in tiff.pages]
    return [level.reshape(*level.shape[:2], -1) for level in levels]


def pillow_levels(path: Path) -> list[NDArray[Any]]:
    levels = []
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            levels.append(np.asarray(frame).reshape(frame.height, frame.width, -1))
    return levels


def openslide_levels(path: Path) -> list[NDArray[Any]]:
    """RGB of every level; OpenSlide gives grey as RGB."""
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        return [
            np.asarray(slide.read_region((0, 0), level, size))[..., :3]
            for level, size in enumerate(slide.level_dimensions)
        ]


def assert_levels_are(found: list[NDArray[Any]], expected: list[NDArray[Any]], tolerance: int = 0) -> None:
    assert [level.shape for level in found] == [level.shape for level in expected]
    for level, wanted in zip(found, expected, strict=True):
        assert level.dtype == wanted.dtype
        assert int(np.abs(level.astype(np.int64) - wanted).max()) <= tolerance


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32"])
def test_lossless_levels_are_the_obvious_halving(
    tmp_path: Path, codec: TileCodec, n_samples: int, dtype: str
) -> None:
    pixels = noise(601, 517, n_samples, dtype)
    path = write_pyramid(tmp_path / "a.tif", pixels, codec=codec)
    expected = expected_levels(pixels)
    assert_levels_are(tifffile_levels(path), expected)
    if dtype == "uint8":
        assert_levels_are(pillow_levels(path), expected)
        rgb = [np.broadcast_to(level, (*level.shape[:2], 3)) for level in expected]
        assert_levels_are(openslide_levels(path), rgb)


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levels_of_floats_are_means_of_what_is_a_number(
    tmp_path: Path, codec: TileCodec, n_samples: int, dtype: str
) -> None:
    pixels = np.random.default_rng(0).normal(0, 100, (310, 517, n_samples)).astype(dtype)
    pixels[10:13, 20:25] = np.nan
    found = tifffile_levels(write_pyramid(tmp_path / "a.tif", pixels, codec=codec))
    assert [level.dtype for level in found] == [dtype] * 3
    assert np.array_equal(found[0], pixels, equal_nan=True)
    even = np.pad(pixels, ((0, 0), (0, 1), (0, 0)), mode="edge").reshape(155, 2, 259, 2, n_samples)
    number = ~np.isnan(even)
    count = number.sum((1, 3))
    expected = np.where(number, even, 0).sum((1, 3)) / np.where(count, count, np.nan)
    assert np.isnan(expected).sum() == 2 * n_samples
    assert np.allclose(found[1], expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_colour_profile_goes_along(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", noise(300, 10), icc_profile=b"a profile")
    with tifffile.TiffFile(path) as tiff:
        assert [page.tags[34675].value for page in tiff.pages] == [b"a profile"] * 2


@pytest.mark.parametrize(
    ("n_samples", "subsampling"), [(3, Subsampling.S444), (3, Subsampling.S420), (1, Subsampling.S444)]
)
def test_jpeg_levels_are_close_to_the_obvious_halving(
    tmp_path: Path, n_samples: int, subsampling: Subsampling
) -> None:
    pixels = gradient(601, 517, n_samples)
    path = write_pyramid(tmp_path / "a.tif", pixels, codec=TileCodec.JPEG, subsampling=subsampling)
    expected = expected_levels(pixels)
    assert_levels_are(tifffile_levels(path), expected, JPEG_TOLERANCE)
    assert_levels_are(pillow_levels(path), expected, JPEG_TOLERANCE)
    rgb = [np.broadcast_to(level, (*level.shape[:2], 3)) for level in expected]
    assert_levels_are(openslide_levels(path), rgb, JPEG_TOLERANCE)


@settings(deadline=None)
@given(width=sides, height=sides, bands=st.lists(st.integers(1, 600), min_size=1), data=st.data())
def test_any_size_in_any_bands_gives_the_normalized_pyramid(
    width: int, height: int, bands: list[int], data: st.DataObject
) -> None:
    n_samples, dtype = data.draw(st.sampled_from([(1, "uint8"), (3, "uint8"), (1, "uint16")]))
    pixels = noise(width, height, n_samples, dtype, seed=width * 7919 + height)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        with PyramidWriter(path, PyramidSpec(width, height, n_samples, dtype, TileCodec.NONE)) as writer:
            top = 0
            while top < height:
                band = bands[top % len(bands)]
                writer.write_rows(pixels[top : top + band])
                top += band
        found = tifffile_levels(path)
    assert_levels_are(found, expected_levels(pixels))
    tiers = normalized_pyramid(width, height).tiers
    assert [(tier.height, tier.width) for tier in tiers] == [level.shape[:2] for level in found]


@settings(deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    n_samples=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["uint8", "uint16", "uint32", "int8", "int16", "int32"]),
)
def test_halving_rounds_half_up_everywhere(width: int, height: int, n_samples: int, dtype: str) -> None:
    pixels = noise(2 * width, 2 * height, n_samples, dtype, seed=width * 41 + height)
    assert np.array_equal(halve(pixels), slowly_halved(pixels))
    ends = np.where(pixels % 2, np.iinfo(dtype).max, np.iinfo(dtype).max - 1).astype(dtype)
    assert np.array_equal(halve(ends), slowly_halved(ends))


@pytest.mark.parametrize("codec", list(TileCodec))
def test_the_same_pixels_give_the_same_bytes_whatever_the_bands_and_threads(
    tmp_path: Path, codec: TileCodec
) -> None:
    pixels = noise(700, 600)
    spec = PyramidSpec(700, 600, codec=codec)
    for name, threads, band in (("a", 1, 600), ("b", 4, 7), ("c", 2, 256)):
        with PyramidWriter(tmp_path / name, spec, threads=threads) as writer:
            for top in range(0, 600, band):
                writer.write_rows(pixels[top : top + band])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_tags_say_what_the_file_is(tmp_path: Path) -> None:
    path = write_pyramid(
        tmp_path / "a.tif",
        gradient(600, 300),
        codec=TileCodec.JPEG,
        subsampling=Subsampling.S420,
        physical_size_x_um=0.25,
        physical_size_y_um=0.5,
        orientation=6,
        description="a slide\0 of 0.25 µm",
    )
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        base, *reduced = tiff.pages
        tags = {tag.name: tag.value for tag in base.tags}
        assert [page.subfiletype for page in reduced] == [1, 1]
        assert reduced[0].tags["XResolution"].value == (20_000, 1)
        assert reduced[0].tags["JPEGTables"].value == base.tags["JPEGTables"].value
        assert "ImageDescription" not in reduced[0].tags
    assert tags["NewSubfileType"] == 0
    assert tags["Software"] == "PIMS"
    assert tags["ImageDescription"] == "a slide of 0.25 µm"
    assert tags["Orientation"] == 6
    assert (tags["XResolution"], tags["YResolution"], tags["ResolutionUnit"]) == ((40_000, 1), (20_000, 1), 3)
    assert (tags["Compression"], tags["PhotometricInterpretation"]) == (7, 6)
    assert tags["YCbCrSubSampling"] == (2, 2)
    with openslide.OpenSlide(path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)


@pytest.mark.parametrize("size_um", [None, 0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e300])
def test_a_pixel_size_that_is_none_is_not_written(tmp_path: Path, size_um: float | None) -> None:
    path = write_pyramid(tmp_path / "a.tif", gradient(10, 10), physical_size_x_um=size_um)
    with tifffile.TiffFile(path) as tiff:
        assert not {"XResolution", "ResolutionUnit"} & {tag.name for tag in tiff.pages.first.tags}


@settings(deadline=None)
@given(size_um=st.floats(1e-4, 1e6))
def test_pixel_sizes_are_kept_to_nine_digits(size_um: float) -> None:
    with TemporaryDirectory() as folder:
        path = write_pyramid(Path(folder, "a.tif"), gradient(3, 3), physical_size_y_um=size_um)
        with tifffile.TiffFile(path) as tiff:
            numerator, denominator = tiff.pages.first.tags["YResolution"].value
    assert 10_000 * denominator / numerator == pytest.approx(size_um, rel=1e-9)


def test_jpeg_tiles_are_abbreviated_streams_that_are_complete_with_the_tables(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", gradient(256, 256), codec=TileCodec.JPEG)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        tables = page.tags["JPEGTables"].value
        tile = path.read_bytes()[page.dataoffsets[0] :][: page.databytecounts[0]]
    assert tables.startswith(b"\xff\xd8\xff\xdb") and tables.endswith(b"\xff\xd9")
    assert tile.startswith(b"\xff\xd8\xff\xc0") and tile.endswith(b"\xff\xd9")
    assert split_jpeg(tables[:-2] + tile[2:]) == (tables, tile)


def test_edges_are_padded_with_the_last_pixels(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", noise(300, 260), codec=TileCodec.NONE)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        data = path.read_bytes()[page.dataoffsets[3] :][: page.databytecounts[3]]
    corner = np.frombuffer(data, np.uint8).reshape(256, 256, 3)
    assert np.array_equal(corner[:4, 43:], np.broadcast_to(corner[:4, 43:44], (4, 213, 3)))
    assert np.array_equal(corner[3:], np.broadcast_to(corner[3:4], (253, 256, 3)))


def test_a_torn_file_is_not_a_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy the machine is, most of what is complete is written.
    monkeypatch.setattr(pyramid_writer, "BACKLOG_BYTES", 0)
    path, torn = tmp_path / "a.tif", tmp_path / "torn.tif"
    pixels = noise(800, 800)
    with PyramidWriter(path, PyramidSpec(800, 800, codec=TileCodec.NONE), threads=1) as writer:
        writer.write_rows(pixels[:700])
        torn.write_bytes(path.read_bytes())
        writer.write_rows(pixels[700:])
    assert torn.stat().st_size > 500_000
    assert torn.read_bytes()[:16] == bytes(16)
    with pytest.raises(tifffile.TiffFileError):
        tifffile.TiffFile(torn)


def test_an_error_in_the_context_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(RuntimeError), PyramidWriter(path, PyramidSpec(600, 600)) as writer:
        writer.write_rows(noise(600, 300))
        raise RuntimeError
    assert not path.exists()


def test_missing_rows_are_an_error_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(ValueError, match="299 rows were written of 300"):  # noqa: SIM117 - the error is at exit
        with PyramidWriter(path, PyramidSpec(600, 300)) as writer:
            writer.write_rows(noise(600, 299))
    assert not path.exists()


@pytest.mark.parametrize(
    "rows",
    [noise(9, 1), noise(10, 11), noise(10, 1, 1), noise(10, 1, dtype="uint16"), noise(10, 1)[0]],
    ids=["width", "height", "samples", "type", "dimensions"],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: NDArray[Any]) -> None:
    with (
        pytest.raises(ValueError, match="rows"),
        PyramidWriter(tmp_path / "a", PyramidSpec(10, 10)) as writer,
    ):
        writer.write_rows(rows)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"n_samples": 4},
        {"dtype": "float16"},
        {"codec": TileCodec.JPEG, "dtype": "float32"},
        {"codec": TileCodec.JPEG, "dtype": "uint16"},
        {"quality": 0},
        {"orientation": 9},
    ],
)
def test_a_wrong_spec_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not|no pixels"):
        PyramidSpec(**({"width": 10, "height": 10} | wrong))


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"precious")
    with pytest.raises(StorageError, match=r"a\.tif could not be written: File exists"):
        write_pyramid(path, gradient(3, 3))
    assert path.read_bytes() == b"precious"


FULL_DISK = """
import resource, sys
from pathlib import Path
from pims.errors import StorageError
from pims.formats.engines.tiff.encode import TileCodec
from pims.testing.slides import gradient, write_pyramid

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_pyramid(Path(sys.argv[1]), gradient(900, 900), codec=TileCodec.NONE)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 5, 100_000, 2_000_000, 4_128_790], ids=str)
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.tif"
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, str(limit)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "a.tif could not be written: File too large\n"
    assert not path.exists()


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from pims.formats.engines.tiff.encode import TileCodec
from pims.formats.engines.tiff.writer import PyramidSpec, PyramidWriter

def anonymous_mb():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024

band = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 40_000, 3))
peak = 0
with PyramidWriter(Path(sys.argv[1]), PyramidSpec(40_000, 4_000, codec=TileCodec.JPEG)) as writer:
    for top in range(0, 4_000, 256):
        writer.write_rows(band[: 4_000 - top])
        peak = max(peak, anonymous_mb())
print(peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_wide_image_takes_little_memory(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "a.tif"], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 200
