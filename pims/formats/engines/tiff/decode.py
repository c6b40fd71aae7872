"""One tile or strip of a TIFF, from stored bytes to pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.jpeg import JpegSplicer, decode_jpeg
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag

__all__ = ["SegmentDecoder", "box_reduce"]

SLACK = 65_536
"""Bytes a compressed segment may decode to beyond what the image needs, as some writers' do."""

DECOMPRESSORS: dict[int, Callable[..., Any]] = {
    Compression.LZW: imagecodecs.lzw_decode,
    Compression.DEFLATE: imagecodecs.zlib_decode,
    Compression.DEFLATE_OLD: imagecodecs.zlib_decode,
    Compression.ZSTD: imagecodecs.zstd_decode,
}
NAMES = {
    2: "CCITT RLE", 3: "CCITT group 3", 4: "CCITT group 4", 6: "old-style JPEG", 32773: "PackBits",
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34925: "LZMA", 50001: "WebP",
}  # fmt: skip
PHOTOMETRICS = {3: "a colour palette", 4: "a mask", 5: "CMYK", 8: "CIE L*a*b*"}
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2


class SegmentDecoder:
    """Decodes the segments of one directory. Stateless after construction: any thread may use it.

    Raises UnsupportedFeature or LimitExceeded at construction, from the tags alone, for what it can't
    decode; CorruptFile while decoding.
    """

    def __init__(self, directory: TiffDirectory) -> None:
        self.compression = directory.compression
        self.photometric = directory.photometric
        self.stored_samples = directory.samples_per_pixel
        self.width, self.height = directory.tile_width, directory.tile_height
        self._predictor = directory.integer(Tag.PREDICTOR, 1)
        self.samples = self._pixel_samples()
        self._alpha = self._alpha_kind(directory)
        self._require_supported(directory)
        self.dtype = np.dtype(f"uint{directory.bits_per_sample}")
        self._stored_dtype = np.dtype(f"{directory.file.byte_order}u{self.dtype.itemsize}")
        size = self.width * self.height * self.stored_samples * self.dtype.itemsize
        if size > directory.file.limits.max_segment_bytes:
            raise LimitExceeded(
                f"A {'tile' if directory.is_tiled else 'strip'} is {self.width} x {self.height} px, "
                f"{size >> 20} MiB decoded; this server decodes at most "
                f"{directory.file.limits.max_segment_bytes >> 20} MiB at once."
            )
        self.splicer: JpegSplicer | None = None
        if self.compression == Compression.JPEG:
            self.splicer = JpegSplicer(
                directory.raw(Tag.JPEG_TABLES),
                rgb=self.photometric == Photometric.RGB,
                grey=self.stored_samples == 1,
            )

    @property
    def is_sendable(self) -> bool:
        """Whether a stored segment, made complete, shows exactly the pixels that `decode` gives."""
        return self.splicer is not None and self._alpha is None and self.photometric != Photometric.MINISWHITE

    def decode(self, data: bytes, rows: int, reduction: int = 1) -> NDArray[Any]:
        """The pixels of one stored segment.

        Parameters
        ----------
        rows : rows it holds: the tile height, or fewer in the last strip
        reduction : shrink while decoding; only where `can_reduce`

        Returns
        -------
        writable array (rows, width, samples), samples as the image has them (no alpha, black is 0)
        """
        if self.splicer is not None:
            complete = self.splicer.complete(data)
            pixels: NDArray[Any] = decode_jpeg(complete, self.width, rows, self.stored_samples, reduction)
        else:
            pixels = self._decode_samples(data, rows)
        if self.photometric == Photometric.MINISWHITE:
            pixels = np.iinfo(self.dtype).max - pixels
        if self.stored_samples > self.samples:
            pixels = self._without_extra_samples(pixels)
        return pixels

    @property
    def can_reduce(self) -> bool:
        """Whether `decode` can shrink by 2, 4 or 8 without decoding everything."""
        return self.splicer is not None

    def background(self) -> int:
        """What a tile that is not stored shows: white for brightfield (8-bit RGB), black otherwise."""
        return 255 if self.samples == 3 and self.dtype == np.uint8 else 0

    def _decode_samples(self, data: bytes, rows: int) -> NDArray[Any]:
        size = rows * self.width * self.stored_samples * self.dtype.itemsize
        if self.compression != Compression.NONE:
            try:
                data = DECOMPRESSORS[self.compression](data, out=size + SLACK)
            except (RuntimeError, ValueError, MemoryError) as error:
                raise CorruptFile(f"A tile can't be decompressed: {error}.") from error
        if len(data) < size:
            raise CorruptFile(f"A tile holds {len(data)} bytes of pixels instead of {size}.")
        stored = np.frombuffer(data, self._stored_dtype, size // self.dtype.itemsize)
        pixels = stored.reshape(rows, self.width, self.stored_samples).astype(self.dtype, copy=True)
        if self._predictor == 2:
            imagecodecs.delta_decode(pixels, axis=1, out=pixels)
        return pixels

    def _without_extra_samples(self, pixels: NDArray[Any]) -> NDArray[Any]:
        color = np.ascontiguousarray(pixels[:, :, : self.samples])
        if self._alpha is None:
            return color
        top = float(np.iinfo(self.dtype).max)
        opacity = pixels[:, :, self.samples : self.samples + 1] / top
        ground = (1 - opacity) * self.background()
        front = color if self._alpha == ASSOCIATED_ALPHA else color * opacity
        return np.clip(np.rint(front + ground), 0, top).astype(self.dtype)

    def _pixel_samples(self) -> int:
        color = self.photometric in (Photometric.RGB, Photometric.YCBCR)
        if color and self.stored_samples < 3:
            raise CorruptFile(f"The image says it has colours, and {self.stored_samples} samples a pixel.")
        return 3 if color else 1

    def _alpha_kind(self, directory: TiffDirectory) -> int | None:
        if self.stored_samples == self.samples:
            return None
        extra = directory.integers(Tag.EXTRA_SAMPLES)
        return extra[0] if extra and extra[0] in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA) else None

    def _require_supported(self, directory: TiffDirectory) -> None:
        bits = directory.bits_per_sample
        formats = set(directory.integers(Tag.SAMPLE_FORMAT)[:1]) - {1, 4}
        jpeg = self.compression == Compression.JPEG
        unsupported = None
        if self.compression not in (Compression.NONE, Compression.JPEG, *DECOMPRESSORS):
            name = NAMES.get(self.compression, f"number {self.compression}")
            unsupported = f"the compression {name}"
        elif bits not in (8, 16) or (jpeg and bits != 8):
            unsupported = f"{bits} bits per sample" + (" in JPEG" if jpeg else "")
        elif formats:
            unsupported = "signed or floating-point pixels"
        elif self.photometric in PHOTOMETRICS or self.photometric > Photometric.YCBCR:
            unsupported = PHOTOMETRICS.get(self.photometric, f"the colour space {self.photometric}")
        elif self.photometric == Photometric.YCBCR and not jpeg:
            unsupported = "YCbCr colours without JPEG"
        elif jpeg and self.stored_samples not in (1, 3):
            unsupported = f"JPEG with {self.stored_samples} samples a pixel"
        elif self.samples == 1 and self.stored_samples > 2:
            unsupported = f"{self.stored_samples} grey samples a pixel"
        elif self.stored_samples > 1 and directory.integer(Tag.PLANAR_CONFIGURATION, 1) != 1:
            unsupported = "samples stored in separate planes"
        elif not jpeg and self._predictor not in (1, 2):
            unsupported = f"the predictor {self._predictor}"
        elif directory.integer(Tag.FILL_ORDER, 1) != 1:
            unsupported = "bits stored in reverse order"
        if unsupported:
            raise UnsupportedFeature(f"This TIFF uses {unsupported}, which this version can't read.")


def box_reduce(pixels: NDArray[Any], reduction: int) -> NDArray[Any]:
    """Every output pixel is the mean of reduction x reduction pixels; edges are replicated to fill a block.

    (height, width, samples) -> (ceil(height / reduction), ceil(width / reduction), samples)
    """
    if reduction == 1:
        return pixels
    height, width, samples = pixels.shape
    down, right = -height % reduction, -width % reduction
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    size = (pixels.shape[1] // reduction, pixels.shape[0] // reduction)
    reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return reduced.reshape(size[1], size[0], samples)
