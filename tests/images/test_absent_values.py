"""Large images of real numbers with a border without data: imported, and shown smaller than they are."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pims.images.histogram import read_channel_bounds
from pims.images.pool import ImagePool
from pims.images.render import ThumbRequest, render
from pims.processing.request import DisplaySettings
from tests.images.conftest import ImportSlide

SIDE, BORDER = 2200, 203
"""The border ends inside of blocks of every size that is averaged."""
MARK = 3.4028234663852886e38


@pytest.mark.parametrize("absent", [MARK, -MARK, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("tiled", [False, True])
def test_the_border_is_black_and_changes_nothing_inside(
    tmp_path: Path, import_slide: ImportSlide, pool: ImagePool, absent: float, tiled: bool
) -> None:
    pixels = np.full((SIDE, SIDE), absent, np.float32)
    side = SIDE - 2 * BORDER
    ramp = np.linspace(10, 20, side, dtype=np.float32)
    pixels[BORDER:-BORDER, BORDER:-BORDER] = ramp
    path = tmp_path / "dem.tif"
    options: dict[str, Any] = {"tile": (256, 256)} if tiled else {}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, **options)
    with pool.lease(import_slide(path)) as image:
        display = DisplaySettings()
        thumb = render(image, ThumbRequest(220, 220, display, "image/png"))
        [bounds] = read_channel_bounds(image.directory.histogram)
    assert bounds == pytest.approx((10, 20), abs=0.03)
    with Image.open(io.BytesIO(thumb)) as picture:
        shown = np.asarray(picture).reshape(220, 220).astype(float)
    assert (shown[:20] == 0).all() and (shown[:, :20] == 0).all() and (shown[-20:] == 0).all()
    inside = (np.arange(22, 198) * 10 + 5 - BORDER) / side * 255
    assert np.abs(shown[22:198, 22:198] - inside).max() <= 3
