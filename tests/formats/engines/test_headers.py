"""What recognises pictures and reads their headers is loaded in every process: it has to be light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEADERS = ("bmp", "jpeg", "jpeg2000", "png", "pnm", "webp")
HEAVY = ("numpy", "cv2", "imagecodecs", "simplejpeg")


@pytest.mark.parametrize("module", [*(f"{name}_header" for name in HEADERS), "raster", "exif"])
def test_headers_are_read_without_loading_a_decoder(module: str) -> None:
    code = f"import sys, pims.formats.engines.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(HEAVY) & set(loaded.split())
