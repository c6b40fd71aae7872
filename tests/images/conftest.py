"""A ROOT with imported slides whose pixels are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pims.formats.abstract import ReadContext
from pims.formats.registry import FormatRegistry, discover_formats
from pims.images.opener import Opener
from pims.images.pool import ImagePool
from tests import imported

ImportSlide = Callable[[Path], str]


@pytest.fixture(scope="session")
def registry() -> FormatRegistry:
    return discover_formats()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def import_slide(root: Path) -> ImportSlide:
    """Import a file; gives its path in URLs."""
    return partial(imported.import_slide, root)


@pytest.fixture
def opener(root: Path, registry: FormatRegistry) -> Opener:
    return Opener(root, registry, ReadContext())


@pytest.fixture
def pool(opener: Opener) -> Iterator[ImagePool]:
    pool = ImagePool(opener, 10)
    yield pool
    pool.close()


def write_levels(path: Path, levels: list[NDArray[Any]], tile: tuple[int, int], **options: Any) -> Path:
    """Write a pyramidal TIFF of these levels, by an independent writer."""
    with tifffile.TiffWriter(path) as tiff:
        for index, pixels in enumerate(levels):
            tiff.write(
                pixels,
                tile=tile,
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                subfiletype=min(index, 1),
                metadata=None,
                **options,
            )
    return path


def smooth(width: int, height: int, dtype: str = "uint8") -> NDArray[Any]:
    """RGB pixels that change slowly, with another direction in every channel."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 37) + np.cos(y / 23), np.sin((x + y) / 31), np.cos(x / 19) * np.sin(y / 41)]
    top = np.iinfo(dtype).max
    return np.stack([np.round((wave / 4 + 0.5) * top) for wave in waves], axis=-1).astype(dtype)


def box_mean(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """The obvious shrink: mean of every block, edges replicated to fill the last ones."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    mean: NDArray[np.float64] = padded.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))
    return mean
