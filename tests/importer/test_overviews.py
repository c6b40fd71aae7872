"""The overviews that an import writes, read by an independent reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pims.files.manifest import Manifest
from pims.formats.registry import FormatRegistry
from pims.importer.events import ImportListener, ImportResult, ImportStatus
from pims.importer.extract import digest_of
from pims.importer.flow import ImportOptions, import_file

Importing = Callable[[Path], ImportResult]


@pytest.fixture
def importing(options: ImportOptions, registry: FormatRegistry, recorder: ImportListener) -> Importing:
    return lambda path: import_file(path, options, registry, recorder)


def upload_of(options: ImportOptions) -> Path:
    (upload,) = options.root.glob("upload-*")
    return upload


def blocks(width: int, height: int, shape: tuple[int, ...] = (), dtype: str = "uint8") -> NDArray[Any]:
    """Blocks of 8 x 8 px of one value, so that means of 2, 4 and 8 are exact."""
    random = np.random.default_rng(5)
    small = random.integers(0, np.iinfo(dtype).max, (-(-height // 8), -(-width // 8), *shape), dtype=dtype)
    return np.repeat(np.repeat(small, 8, axis=0), 8, axis=1)[:height, :width]


@pytest.mark.parametrize(
    ("shape", "dtype", "tile"),
    [
        ((3,), "uint8", (128, 128)),
        ((), "uint16", (512, 512)),
        ((), "uint8", (240, 240)),
        ((3,), "uint16", (16, 16)),
    ],
)
def test_of_lossless_pixels_the_means_are_stored_exactly(
    importing: Importing,
    options: ImportOptions,
    tmp_path: Path,
    shape: tuple[int, ...],
    dtype: str,
    tile: tuple[int, int],
) -> None:
    base = blocks(1600, 1200, shape, dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        photometric = "rgb" if shape else "minisblack"
        for level, pixels in enumerate((base, base[::2, ::2])):
            tiff.write(pixels, tile=tile, photometric=photometric, subfiletype=min(level, 1), metadata=None)
    assert importing(tmp_path / "a.tif").status is ImportStatus.DEPLOYED

    upload = upload_of(options)
    with tifffile.TiffFile(upload / "processed" / "overviews") as tiff:
        assert [page.shape[:2] for page in tiff.pages] == [(300, 400), (150, 200)]
        assert np.array_equal(tiff.pages[0].asarray(), base[::4, ::4])
        assert np.array_equal(tiff.pages[1].asarray(), base[::8, ::8])
    digests = Manifest.read(upload / "processed" / "manifest.json").digests
    assert digests["processed/overviews"] == digest_of(upload / "processed" / "overviews")


def test_of_pixels_with_loss_they_are_jpeg_with_full_chroma(
    importing: Importing, options: ImportOptions, tmp_path: Path
) -> None:
    base = blocks(600, 500, (3,))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for level, pixels in enumerate((base, base[::2, ::2])):
            tiff.write(
                pixels, tile=(256, 256), compression="jpeg", photometric="rgb", subfiletype=min(level, 1)
            )
    importing(tmp_path / "a.tif")
    with tifffile.TiffFile(upload_of(options) / "processed" / "overviews") as tiff:
        (page,) = tiff.pages
        assert page.compression.name == "JPEG"
        assert page.tags["YCbCrSubSampling"].value == (1, 1)
        assert page.shape[:2] == (125, 150)


def test_an_image_whose_coarsest_tier_is_one_tile_has_none(
    importing: Importing, options: ImportOptions, tmp_path: Path
) -> None:
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, blocks(3000, 2000, (3,)), rowsperstrip=16, metadata=None)
    assert importing(path).status is ImportStatus.DEPLOYED
    assert list(upload_of(options).glob("processed/visualisation.PYRTIFF"))
    assert not (upload_of(options) / "processed" / "overviews").exists()
