"""YCbCr that is stored with less chroma than luma, by codecs that know nothing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_bytes", "plane_shape", "repeated", "unpack_blocks"]


def block_bytes(rows: int, width: int, step: tuple[int, int]) -> int:
    """Bytes of a segment: for every block of step pixels, their Y, one Cb and one Cr; 8 bits each."""
    across, down = step
    return -(-rows // down) * -(-width // across) * (across * down + 2)


def unpack_blocks(data: bytes, rows: int, width: int, step: tuple[int, int]) -> NDArray[np.uint8]:
    """TIFF 6.0, section 21, "ordering of component samples"; chroma is repeated. (rows, width, 3)."""
    across, down = step
    high, wide = -(-rows // down), -(-width // across)
    blocks = np.frombuffer(data, np.uint8, block_bytes(rows, width, step)).reshape(high, wide, -1)
    pixels = np.empty((high * down, wide * across, 3), np.uint8)
    luma = blocks[..., :-2].reshape(high, wide, down, across)
    pixels[..., 0] = luma.swapaxes(1, 2).reshape(high * down, wide * across)
    for index in (1, 2):
        pixels[..., index] = repeated(blocks[..., index - 3], step)
    return np.ascontiguousarray(pixels[:rows, :width])


def plane_shape(plane: int, rows: int, width: int, step: tuple[int, int]) -> tuple[int, int]:
    """(rows, width) of one separate plane: 0 is Y."""
    return (rows, width) if plane not in (1, 2) else (-(-rows // step[1]), -(-width // step[0]))


def repeated(chroma: NDArray[Any], step: tuple[int, int]) -> NDArray[Any]:
    """Every sample as often as luma has pixels in its place."""
    return chroma.repeat(step[1], axis=0).repeat(step[0], axis=1)
