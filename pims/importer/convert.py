"""The conversion of an image that can't be read fast: read -> halve -> write, in bands of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pims.errors import UnsupportedFeature
from pims.formats.abstract import AbstractFormat
from pims.formats.engines.tiff.encode import Subsampling, TileCodec
from pims.formats.engines.tiff.writer import PyramidSpec, PyramidWriter
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import FIRST_PLANE
from pims.model.pyramid import NORMALIZED_TILE, Tier
from pims.model.shown import check_shown

__all__ = ["convert_to_pyramid"]

BAND_BYTES = 64 << 20
"""Decoded pixels read at once, unless a single row of tiles is more."""


def convert_to_pyramid(
    format: AbstractFormat,  # noqa: A002 - the plug-in API's word
    destination: Path,
    *,
    lossless_codec: str,
    jpeg_quality: int,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Write the base of an opened image as a pyramidal TIFF.

    Pixels that were compressed with loss already become JPEG, all others stay exactly as they are.
    Calibration, orientation and colour profile go along; the description does not, for some vendors'
    readers recognise their files by it.

    Parameters
    ----------
    destination : must not exist yet; it does not afterwards, when an error is raised
    lossless_codec : a TileCodec but jpeg
    jpeg_quality : 1 to 100
    threads : that encode; one per core by default
    progress : called with the fraction done, after every band

    Returns
    -------
    the parameters of the conversion, plain JSON types

    Raises
    ------
    UnsupportedFeature : more than one plane, or what can't be shown either
    FileError, StorageError
    """
    spec = _spec_of(format.full_imd, TileCodec(lossless_codec), jpeg_quality, format.icc_profile)
    base = format.pyramid.base
    with PyramidWriter(destination, spec, threads=threads) as writer:
        for band in _bands(base, spec.n_samples * np.dtype(spec.dtype).itemsize):
            writer.write_rows(format.reader.read_region(base, band, FIRST_PLANE))
            if progress is not None:
                progress(band.bottom / base.height)
    return {
        "format": "PYRTIFF",
        "codec": spec.codec.value,
        "quality": spec.quality if spec.codec is TileCodec.JPEG else None,
        "tile": NORMALIZED_TILE,
        "levels": len(spec.pyramid.tiers),
    }


def _spec_of(metadata: ImageMetadata, lossless: TileCodec, quality: int, profile: bytes) -> PyramidSpec:
    if metadata.n_planes != 1:
        raise UnsupportedFeature(
            f"The image has {metadata.n_planes} planes; this version converts images of one plane only."
        )
    check_shown(metadata)
    return PyramidSpec(
        metadata.width,
        metadata.height,
        metadata.n_samples,
        metadata.pixel_type,
        codec=TileCodec.JPEG if metadata.lossy and metadata.pixel_type == "uint8" else lossless,
        quality=quality,
        subsampling=Subsampling.S420 if metadata.subsampled else Subsampling.S444,
        physical_size_x_um=metadata.physical_size_x_um,
        physical_size_y_um=metadata.physical_size_y_um,
        orientation=metadata.orientation if metadata.orientation in range(1, 9) else 1,
        icc_profile=profile,
    )


def _bands(base: Tier, pixel_bytes: int) -> list[Region]:
    """The image from top to bottom; whole rows of stored tiles where possible, so that each is read once."""
    most = max(BAND_BYTES // (base.width * pixel_bytes), 1)
    step = base.tile_height if base.tile_height <= most else NORMALIZED_TILE
    rows = max(most // step, 1) * step
    return [Region(0, top, base.width, min(rows, base.height - top)) for top in range(0, base.height, rows)]
