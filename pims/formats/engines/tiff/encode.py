"""The tile encoder: pixels of one tile to the bytes a TIFF stores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pims.formats.engines.tiff.tags import Compression, Predictor
from pims.model.pyramid import NORMALIZED_TILE

__all__ = ["Subsampling", "TileCodec", "TileEncoder", "split_jpeg"]

ZSTD_LEVEL = 3
DEFLATE_LEVEL = 3

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DQT, DHT, SOS = 0xDB, 0xC4, 0xDA
APPLICATION_MARKERS = range(0xE0, 0xF0)


class TileCodec(StrEnum):
    """How the tiles of a pyramid are compressed."""

    JPEG = "jpeg"
    ZSTD = "zstd"
    DEFLATE = "deflate"
    NONE = "none"

    @property
    def compression(self) -> Compression:
        """The value of the Compression tag."""
        return Compression[self.name]

    def predictor(self, dtype: str) -> Predictor:
        """What is stored of samples of a type: differences between neighbours, of floats by their bytes."""
        if self not in (TileCodec.ZSTD, TileCodec.DEFLATE):
            return Predictor.NONE
        return Predictor.FLOATING_POINT if np.dtype(dtype).kind == "f" else Predictor.HORIZONTAL


class Subsampling(Enum):
    """Stored resolution of the chroma of a JPEG: horizontal and vertical factor of YCbCrSubSampling."""

    S444 = (1, 1)
    S420 = (2, 2)


@dataclass(frozen=True)
class TileEncoder:
    """Encodes tiles of 256 x 256 px; stateless, called from any thread."""

    n_samples: int
    codec: TileCodec
    quality: int
    """Of a JPEG, 1 to 100; the other codecs ignore it."""
    subsampling: Subsampling
    """Of the chroma of an RGB JPEG."""

    @cached_property
    def jpeg_tables(self) -> bytes:
        """The value of JPEGTables: what every tile would repeat. Some 580 bytes of a tile of about 10,000."""
        blank = np.zeros((NORMALIZED_TILE, NORMALIZED_TILE, self.n_samples), np.uint8)
        return split_jpeg(self._jpeg(blank))[0]

    def encode(self, tile: NDArray[Any]) -> bytes:
        """The stored bytes of a C-contiguous tile (256, 256, samples) of integers or floats (JPEG: uint8)."""
        if self.codec is TileCodec.JPEG:
            return split_jpeg(self._jpeg(tile))[1]
        predictor = self.codec.predictor(tile.dtype.name)
        if predictor is Predictor.FLOATING_POINT:
            flat = np.asarray(imagecodecs.floatpred_encode(tile, axis=-2))
        else:
            flat = tile.reshape(tile.shape[0], -1).astype(tile.dtype.newbyteorder("<"), copy=False)
        if predictor is Predictor.HORIZONTAL:
            flat = horizontal_differences(flat, self.n_samples)
        if self.codec is TileCodec.ZSTD:
            return bytes(imagecodecs.zstd_encode(flat.tobytes(), level=ZSTD_LEVEL))
        if self.codec is TileCodec.DEFLATE:
            return bytes(imagecodecs.deflate_encode(flat.tobytes(), level=DEFLATE_LEVEL))
        return flat.tobytes()

    def _jpeg(self, tile: NDArray[Any]) -> bytes:
        colour = self.n_samples == 3
        encoded: bytes = simplejpeg.encode_jpeg(
            tile,
            quality=self.quality,
            colorspace="RGB" if colour else "GRAY",
            colorsubsampling=self.subsampling.name[1:] if colour else "Gray",
        )
        return encoded


def horizontal_differences(flat: NDArray[Any], n_samples: int) -> NDArray[Any]:
    """TIFF 6.0, section 14: each sample minus that of its left neighbour, modulo the type's range.

    `flat` is (height, width * samples).
    """
    differences = flat.copy()
    np.subtract(flat[:, n_samples:], flat[:, :-n_samples], out=differences[:, n_samples:])
    return differences


def split_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """A complete JPEG as its tables and an abbreviated stream (ITU T.81, annexes B.4 and B.5).

    Application segments are left out: in a TIFF, Photometric says what JFIF would.
    """
    tables, frame, position = [SOI], [SOI], 2
    while data[position + 1] != SOS:
        marker = data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in (DQT, DHT):
            tables.append(data[position:end])
        elif marker not in APPLICATION_MARKERS:
            frame.append(data[position:end])
        position = end
    return b"".join([*tables, EOI]), b"".join([*frame, data[position:]])
