"""The overviews of an image, written once when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pims.formats.abstract import AbstractFormat
from pims.formats.engines.tiff.encode import Subsampling, TileCodec
from pims.formats.engines.tiff.writer import PyramidSpec, PyramidWriter
from pims.images.overviews import overviews_size
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE
from pims.model.pyramid import NORMALIZED_TILE, Tier

__all__ = ["overviews_spec", "write_overviews"]

BAND_BYTES = 32 << 20
"""Decoded pixels of the coarsest stored tier that are read at once, unless a row of tiles is more."""
JPEG_QUALITY = 90


def overviews_spec(image: AbstractFormat, lossless_codec: str) -> PyramidSpec | None:
    """What their file is; None for an image that needs none, or of a kind that has none.

    Pixels that were compressed with loss already become JPEG; all others stay what their means are.
    """
    size, main = overviews_size(image.pyramid), image.main_imd
    if size is None or main.n_planes != 1:  # of a stack, low zooms are made when they are asked for
        return None
    lossy = main.lossy and main.pixel_type == "uint8"
    try:
        return PyramidSpec(
            *size,
            main.n_samples,
            main.pixel_type,
            codec=TileCodec.JPEG if lossy else TileCodec(lossless_codec),
            quality=JPEG_QUALITY,
            subsampling=Subsampling.S444,
        )
    except ValueError:  # pixels that the writer has no type for
        return None


def write_overviews(
    image: AbstractFormat,
    destination: Path,
    spec: PyramidSpec,
    *,
    threads: int | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Halve the coarsest stored tier until it fits in one tile, and write the halves.

    Parameters
    ----------
    destination : must not exist yet; it does not afterwards, when an error is raised
    spec : of `overviews_spec`
    threads : that encode; one per core by default
    progress : called with the fraction done

    Raises
    ------
    FileError : the pixels can't be read
    StorageError : the disk refuses
    """
    tier = image.pyramid.tiers[-1]
    with PyramidWriter(destination, spec, threads=threads) as writer:
        for band in _bands(tier, spec.n_samples * np.dtype(spec.dtype).itemsize):
            # Readers shrink while they decode, where they can.
            writer.write_rows(image.reader.read_region(tier, band, FIRST_PLANE, reduction=2))
            progress(band.bottom / tier.height)


def _bands(tier: Tier, pixel_bytes: int) -> Iterator[Region]:
    """The tier from top to bottom: an even number of rows but at the end, whole rows of tiles if possible."""
    most = max(BAND_BYTES // (tier.width * pixel_bytes), 1)
    step = tier.tile_height if tier.tile_height <= most else NORMALIZED_TILE
    rows = max(most // step, 1) * step
    rows += rows % 2 * step
    for top in range(0, tier.height, rows):
        yield Region(0, top, tier.width, min(rows, tier.height - top))
