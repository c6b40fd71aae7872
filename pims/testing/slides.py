"""Slides with known pixels, and the demonstration slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.formats.engines.tiff.encode import Subsampling, TileCodec
from pims.formats.engines.tiff.writer import PyramidSpec, PyramidWriter

__all__ = [
    "MAX_CODED_SIDE",
    "coded_pixels",
    "decoded_positions",
    "gradient",
    "write_demonstration_slide",
    "write_pyramid",
]

MAX_CODED_SIDE = 4096
DEMONSTRATION_PIXEL_UM = 0.25
DEMONSTRATION_QUALITY = 80


def gradient(width: int, height: int, n_samples: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    """Smooth pixels (height, width, samples) over the whole range; every sample has a direction of its own.

    Sample 0 grows with x, 1 with y, 2 with both: what is mirrored, turned or swapped shows.
    """
    x, y = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
    samples = [x + 0 * y, y + 0 * x, (x + y) / 2]
    pixels = np.concatenate([samples[index % 3] for index in range(n_samples)], axis=-1)
    return np.asarray(np.round(pixels * np.iinfo(dtype).max), dtype)


def coded_pixels(width: int, height: int, left: int = 0, top: int = 0) -> NDArray[np.uint8]:
    """RGB pixels (height, width, 3) that say where they are; `decoded_positions` reads them.

    Red is the low byte of x, green that of y, blue holds the four bits above both. `left` and `top` are
    the position of the first pixel; positions are below 4,096.
    """
    if max(left + width, top + height) > MAX_CODED_SIDE:
        raise ValueError(f"positions from {MAX_CODED_SIDE} on can't be coded")
    x, y = np.arange(left, left + width)[None, :], np.arange(top, top + height)[:, None]
    return np.stack(np.broadcast_arrays(x & 255, y & 255, x >> 8 | y >> 8 << 4), axis=-1).astype(np.uint8)


def decoded_positions(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The (x, y) that coded pixels (..., 3) say: (..., 2)."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    return np.stack([red | (blue & 15) << 8, green | (blue >> 4) << 8], axis=-1)


def write_pyramid(path: Path, pixels: NDArray[Any], **spec: Any) -> Path:
    """Write pixels (height, width, samples) as a pyramidal TIFF, without loss unless `codec` says else.

    `spec` are fields of PyramidSpec: codec, quality, physical_size_x_um ... Gives the path back.
    """
    height, width, n_samples = pixels.shape
    with PyramidWriter(path, PyramidSpec(width, height, n_samples, pixels.dtype.name, **spec)) as writer:
        writer.write_rows(pixels)
    return path


def write_demonstration_slide(
    path: Path,
    width: int = 20_000,
    height: int = 20_000,
    seed: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Write a picture that looks like a stained tissue section as a pyramidal JPEG TIFF; gives the path back.

    The same size and seed give the same file. `progress` is called with the fraction done. Raises
    StorageError, also when the file exists.
    """
    from pims.testing.histology import BAND_ROWS, TissuePicture

    spec = PyramidSpec(
        width,
        height,
        codec=TileCodec.JPEG,
        quality=DEMONSTRATION_QUALITY,
        subsampling=Subsampling.S420,
        physical_size_x_um=DEMONSTRATION_PIXEL_UM,
        physical_size_y_um=DEMONSTRATION_PIXEL_UM,
        description=f"PIMS demonstration slide, drawn from seed {seed}. 40x, 0.25 µm per pixel.",
    )
    picture = TissuePicture(width, height, seed)
    with PyramidWriter(path, spec) as writer:
        for top in range(0, height, BAND_ROWS):
            rows = picture.rows(top)
            writer.write_rows(rows)
            if progress is not None:
                progress((top + len(rows)) / height)
    return path
