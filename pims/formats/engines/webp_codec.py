"""WebP decoding by libwebp; alpha is composited on white."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.composite import default_background, over
from pims.formats.engines.webp_header import WebpHeader

__all__ = ["decode_webp"]


def decode_webp(data: bytes, header: WebpHeader) -> NDArray[np.uint8]:
    """Decode a whole file; of an animation, its first frame.

    Returns (height, width, 3). Raises CorruptFile.
    """
    try:
        pixels: NDArray[np.uint8] = imagecodecs.webp_decode(data, index=0, hasalpha=header.has_alpha)
    except (imagecodecs.WebpError, ValueError, IndexError) as error:
        raise CorruptFile(f"This WebP is damaged: {_reason(error)}.") from error
    if pixels.shape[:2] != (header.height, header.width) or pixels.ndim != 3:
        raise CorruptFile(f"This WebP decodes to an array of shape {pixels.shape}, not as it says.")
    return over(pixels, default_background(3, 8), 255) if pixels.shape[2] == 4 else pixels


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or "libwebp refused it"
