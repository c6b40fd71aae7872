"""Tiled TIFFs of any grid and size: what vendors write, and what nobody has the disk for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pims.formats.engines.tiff.bigtiff import HEADER_BYTES, Field, FieldType, pack_directories, pack_header
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag
from pims.formats.engines.tiff.writer import halve
from pims.model.pyramid import NORMALIZED_TILE, normalized_pyramid
from pims.testing.histology import BAND_ROWS, TissuePicture

__all__ = ["picture", "write_levels", "write_repeated"]

QUALITY = 80
SEED = 1
REDUCED = 1
"""NewSubfileType of every level but the base."""


def picture(side: int) -> NDArray[np.uint8]:
    """Stained tissue (side, side, 3)."""
    drawn = TissuePicture(side, side, SEED)
    return np.concatenate([drawn.rows(top) for top in range(0, side, BAND_ROWS)])


def write_levels(path: Path, side: int, tile: int, levels: int, description: str = "") -> Path:
    """Side x side px of tissue in JPEG tiles of `tile` px, with its halves, `levels` resolutions in all.

    The sides of all but the last are even.
    """
    pixels, data, directories = picture(side), bytearray(), []
    for level in range(levels):
        stored = _tiles(pixels, tile)
        ends = np.cumsum([len(one) for one in stored]) + HEADER_BYTES + len(data)
        offsets = [int(end) - len(one) for end, one in zip(ends, stored, strict=True)]
        fields = _fields(len(pixels), tile, offsets, [len(one) for one in stored])
        fields.append(Field.long(Tag.NEW_SUBFILE_TYPE, REDUCED if level else 0))
        directories.append([*fields, Field.text(Tag.IMAGE_DESCRIPTION, description)])
        data += b"".join(stored)
        pixels = halve(pixels)
    return _write(path, bytes(data), directories)


def write_repeated(path: Path, side: int) -> Path:
    """A pyramid of side x side px all of whose tiles are the same bytes: little room, large tables."""
    data = _jpeg(picture(NORMALIZED_TILE))
    levels = []
    for level, tier in enumerate(normalized_pyramid(side, side).tiers):
        count = tier.columns * tier.rows
        fields = _fields(tier.width, NORMALIZED_TILE, [HEADER_BYTES] * count, [len(data)] * count)
        levels.append([*fields, Field.long(Tag.NEW_SUBFILE_TYPE, REDUCED if level else 0)])
    return _write(path, data, levels)


def _tiles(pixels: NDArray[np.uint8], tile: int) -> list[bytes]:
    """Encoded, row by row; those at the edges are filled up."""
    side = -(-len(pixels) // tile) * tile
    padded = np.zeros((side, side, 3), np.uint8)
    padded[: len(pixels), : len(pixels)] = pixels
    starts = range(0, side, tile)
    return [_jpeg(padded[top : top + tile, left : left + tile]) for top in starts for left in starts]


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), QUALITY, colorspace="RGB", colorsubsampling="420"
        )
    )


def _fields(side: int, tile: int, offsets: Sequence[int], counts: Sequence[int]) -> list[Field]:
    return [
        Field.long(Tag.IMAGE_WIDTH, side),
        Field.long(Tag.IMAGE_LENGTH, side),
        Field.short(Tag.BITS_PER_SAMPLE, 8, 8, 8),
        Field.short(Tag.COMPRESSION, Compression.JPEG),
        Field.short(Tag.PHOTOMETRIC, Photometric.YCBCR),
        Field.short(Tag.SAMPLES_PER_PIXEL, 3),
        Field.short(Tag.YCBCR_SUBSAMPLING, 2, 2),
        Field.long(Tag.TILE_WIDTH, tile),
        Field.long(Tag.TILE_LENGTH, tile),
        Field.integers(Tag.TILE_OFFSETS, offsets, FieldType.LONG8),
        Field.integers(Tag.TILE_BYTE_COUNTS, counts, FieldType.LONG),
    ]


def _write(path: Path, data: bytes, directories: Sequence[Sequence[Field]]) -> Path:
    """Beside, then renamed: a file is there whole or not at all."""
    directory = -(-(HEADER_BYTES + len(data)) // 8) * 8
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(pack_header(directory) + data)
        file.seek(directory)
        file.write(pack_directories(directories, directory))
    return unfinished.rename(path)
