"""TIFF files written by tifffile, and the whole image read back by the engine."""

from __future__ import annotations

import io
from typing import Any

import tifffile
from numpy.typing import NDArray

from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE
from tests.formats.conftest import Opened

__all__ = ["read", "written"]


def read(data: bytes, opened: Opened, region: Region | None = None, reduction: int = 1) -> NDArray[Any]:
    with opened(PlanarTIFFFormat, data) as image:
        base = image.pyramid.base
        pixels: NDArray[Any] = image.reader.read_region(base, region or base.region, FIRST_PLANE, reduction)
        assert pixels.dtype == image.main_imd.pixel_type and pixels.shape[2] == image.main_imd.n_samples
        return pixels


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels[..., 0] if pixels.shape[2] == 1 else pixels,
        photometric=options.pop("photometric", "rgb" if pixels.shape[2] >= 3 else "minisblack"),
        metadata=None,
        **options,
    )
    return stream.getvalue()
