"""One tile or strip of a TIFF, from stored bytes to pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.jpeg import JpegSplicer, decode_jpeg, is_common
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag

__all__ = ["SegmentDecoder"]

SLACK = 65_536
"""Bytes a compressed segment may decode to beyond what the image needs, as some writers' do."""
STORED_SLACK = 1 << 20
"""Bytes a compressed segment may have beyond twice its decoded size: tables, profiles."""

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
READABLE = (Photometric.MINISWHITE, Photometric.MINISBLACK, Photometric.RGB, Photometric.YCBCR)
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2


class SegmentDecoder:
    """Decodes the segments of one directory. Any thread may use it.

    Raises UnsupportedFeature or LimitExceeded at construction, from the tags alone, for what it can't
    decode; CorruptFile while decoding.
    """

    def __init__(self, directory: TiffDirectory) -> None:
        self.compression = directory.compression
        self.photometric = directory.photometric
        self.stored_samples = directory.samples_per_pixel
        self.width, self.height = directory.tile_width, directory.tile_height
        self._differences = directory.integer(Tag.PREDICTOR, 1) == 2 and self.compression in DECOMPRESSORS
        self.samples = self._pixel_samples()
        self._require_supported(directory)
        self._alpha = self._find_alpha(directory)
        self.dtype = np.dtype(f"uint{directory.bits_per_sample}")
        self._stored_dtype = np.dtype(f"{directory.file.byte_order}u{self.dtype.itemsize}")
        size = self.width * self.height * self.stored_samples * self.dtype.itemsize
        if size > directory.file.limits.max_segment_bytes:
            raise LimitExceeded(
                f"A {'tile' if directory.is_tiled else 'strip'} is {self.width} x {self.height} px, "
                f"{size >> 20} MiB decoded; this server decodes at most "
                f"{directory.file.limits.max_segment_bytes >> 20} MiB at once."
            )
        self.max_stored_bytes = size if self.compression == Compression.NONE else 2 * size + STORED_SLACK
        """A segment that says it has more is damaged, or holds more than pixels."""
        self.is_common: bool | None = None
        """Whether browsers decode its JPEG tiles; not known before the first was looked at."""
        self.splicer: JpegSplicer | None = None
        if self.compression == Compression.JPEG:
            self.splicer = JpegSplicer(
                directory.raw(Tag.JPEG_TABLES),
                rgb=self.photometric == Photometric.RGB,
                grey=self.stored_samples == 1,
            )
        self.prefix = self.splicer.prefix if self.splicer is not None else b""
        self.is_sendable = self.splicer is not None and self.photometric != Photometric.MINISWHITE
        """Whether `as_jpeg` may give something."""

    def as_jpeg(self, data: bytes) -> bytes | None:
        """A stored segment as a complete JPEG file, when it shows exactly the pixels that `decode` gives."""
        if self.splicer is None or not self.is_sendable:
            return None
        if self.is_common is None:  # the first tile speaks for all: a file has one writer
            self.is_common = is_common(data)
        return self.splicer.complete(data) if self.is_common else None

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
            pixels[:, :, :1] = np.iinfo(self.dtype).max - pixels[:, :, :1]
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
            except (RuntimeError, ValueError) as error:
                raise CorruptFile(f"A tile can't be decompressed: {error}.") from error
        if len(data) < size:
            raise CorruptFile(f"A tile holds {len(data)} bytes of pixels instead of {size}.")
        stored = np.frombuffer(data, self._stored_dtype, size // self.dtype.itemsize)
        pixels = stored.reshape(rows, self.width, self.stored_samples).astype(self.dtype, copy=True)
        if self._differences:
            imagecodecs.delta_decode(pixels, axis=1, out=pixels)
        return pixels

    def _without_extra_samples(self, pixels: NDArray[Any]) -> NDArray[Any]:
        color = np.ascontiguousarray(pixels[:, :, : self.samples])
        if self._alpha is None:
            return color
        kind, index = self._alpha
        top = float(np.iinfo(self.dtype).max)
        opacity = pixels[:, :, index : index + 1] / top
        ground = (1 - opacity) * self.background()
        front = color if kind == ASSOCIATED_ALPHA else color * opacity
        return np.clip(np.rint(front + ground), 0, top).astype(self.dtype)

    def _pixel_samples(self) -> int:
        color = self.photometric in (Photometric.RGB, Photometric.YCBCR)
        if color and self.stored_samples < 3:
            raise CorruptFile(f"The image says it has colours, and {self.stored_samples} samples a pixel.")
        return 3 if color else 1

    def _find_alpha(self, directory: TiffDirectory) -> tuple[int, int] | None:
        """Kind and index of the sample that is alpha, when there is one."""
        extra = directory.integers(Tag.EXTRA_SAMPLES)
        for index, kind in enumerate(extra, start=self.samples):
            if kind in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA) and index < self.stored_samples:
                return kind, index
        return None

    def _require_supported(self, directory: TiffDirectory) -> None:
        bits = directory.bits_per_sample
        formats = set(directory.integers(Tag.SAMPLE_FORMAT)[:1]) - {1, 4}
        jpeg = self.compression == Compression.JPEG
        predictor = directory.integer(Tag.PREDICTOR, 1)
        unsupported = None
        if self.compression not in (Compression.NONE, Compression.JPEG, *DECOMPRESSORS):
            name = NAMES.get(self.compression, f"number {self.compression}")
            unsupported = f"the compression {name}"
        elif bits not in (8, 16) or (jpeg and bits != 8):
            unsupported = f"{bits} bit{'s' * (bits != 1)} per sample" + (" in JPEG" if jpeg else "")
        elif formats:
            unsupported = "signed or floating-point pixels"
        elif self.photometric not in READABLE:
            unsupported = PHOTOMETRICS.get(self.photometric, f"the colour space {self.photometric}")
        elif self.photometric == Photometric.YCBCR and not jpeg:
            unsupported = "YCbCr colours without JPEG"
        elif jpeg and self.stored_samples not in (1, 3):
            unsupported = f"JPEG with {self.stored_samples} samples a pixel"
        elif self.samples == 1 and self.stored_samples > 2:
            unsupported = f"{self.stored_samples} grey samples a pixel"
        elif self.stored_samples > 1 and directory.integer(Tag.PLANAR_CONFIGURATION, 1) != 1:
            unsupported = "samples stored in separate planes"
        elif self.compression in DECOMPRESSORS and predictor not in (1, 2):
            unsupported = f"the predictor {predictor}"
        elif directory.integer(Tag.FILL_ORDER, 1) != 1:
            unsupported = "bits stored in reverse order"
        if unsupported:
            raise UnsupportedFeature(f"This TIFF uses {unsupported}, which this version can't read.")
