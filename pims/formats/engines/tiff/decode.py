"""One tile or strip of a TIFF, from stored bytes to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.tiff.bits import SampleKind, SampleType, sample_type_of
from pims.formats.engines.tiff.codecs import BYTE_CODECS, PREDICTABLE, decompress
from pims.formats.engines.tiff.colors import conversion_of
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.jpeg import JpegSplicer, decode_jpeg, is_common
from pims.formats.engines.tiff.jpeg2000 import decode_jpeg2000
from pims.formats.engines.tiff.pictures import decode_ccitt, decode_components, decode_lerc, decode_webp
from pims.formats.engines.tiff.tags import Compression, Photometric, Predictor, Tag
from pims.formats.engines.tiff.ycbcr import block_bytes, plane_shape, repeated, unpack_blocks

__all__ = ["SegmentDecoder"]

STORED_SLACK = 1 << 20
"""Bytes a compressed segment may have beyond twice its decoded size: tables, profiles."""
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2
SEPARATE = 2
"""PlanarConfiguration."""
REVERSED = 2
"""FillOrder."""
FULL = (1, 1)

JPEGS = (Compression.JPEG, Compression.OLD_JPEG)
JPEG2000 = (Compression.JPEG2000, Compression.JPEG2000_YCBCR, Compression.JPEG2000_RGB)
CCITT = (Compression.CCITT_RLE, Compression.CCITT_GROUP3, Compression.CCITT_GROUP4)
PICTURE_CODECS = frozenset((*JPEGS, *JPEG2000, *CCITT, Compression.WEBP, Compression.LERC))
NAMES = {
    32766: "NeXT", 32771: "CCITT with words", 32809: "ThunderScan", 32908: "PixarFilm", 32909: "PixarLog",
    34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv of 24 bits", 34713: "NEF", 34933: "PNG",
    34934: "JPEG XR", 22610: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip


class SegmentDecoder:
    """Decodes the segments of one directory. Any thread may use it.

    Raises UnsupportedFeature or LimitExceeded at construction, from the tags alone, for what it can't
    decode; CorruptFile while decoding.
    """

    def __init__(self, directory: TiffDirectory) -> None:
        self.compression = directory.compression
        self.photometric = _photometric_of(directory)
        self.stored_samples = directory.samples_per_pixel
        self.width, self.height = directory.tile_width, directory.tile_height
        if self.compression == Compression.OLD_JPEG:
            self.height = directory.height  # its strips are parts of one stream
        _require_codec(self.compression)
        self.type = sample_type_of(directory)
        self._colors = conversion_of(
            directory, self.photometric, self.type, decoded_as_rgb=self.compression in JPEGS + JPEG2000
        )
        self.samples, self.dtype = self._colors.samples, self._colors.dtype
        self.significant_bits = self._colors.significant_bits
        self._require_samples()
        self._alpha = self._find_alpha(directory)
        self._set_layout(directory)
        self._set_limits(directory)
        self._set_jpeg(directory)
        self._is_finished = self._colors.convert is None and self.stored_samples == self.samples

    def _set_layout(self, directory: TiffDirectory) -> None:
        """How samples, bits and bytes follow each other in a segment."""
        separate = self.stored_samples > 1 and directory.integer(Tag.PLANAR_CONFIGURATION, 1) == SEPARATE
        self.planes = self.stored_samples if separate and self.compression != Compression.OLD_JPEG else 1
        """Segments that make a tile: one, or one for each sample."""
        self._step = self._chroma_step(directory)
        predictor = directory.integer(Tag.PREDICTOR, Predictor.NONE)
        self._predictor = predictor if self.compression in PREDICTABLE else Predictor.NONE
        self._reversed = directory.integer(Tag.FILL_ORDER, 1) == REVERSED
        self._t4_options = directory.integer(Tag.T4_OPTIONS, 0)
        self._lerc_codec = (*directory.integers(Tag.LERC_PARAMETERS), 0, 0)[1]
        self._require_layout()

    def _chroma_step(self, directory: TiffDirectory) -> tuple[int, int]:
        """Pixels across and down that share their chroma, where the codec does not know of it."""
        if self.photometric != Photometric.YCBCR or self.compression not in BYTE_CODECS:
            return FULL
        across, down = (*directory.integers(Tag.YCBCR_SUBSAMPLING), 2, 2)[:2]
        if Tag.YCBCR_SUBSAMPLING in directory and (across not in (1, 2, 4) or down not in (1, 2, 4)):
            raise CorruptFile(f"The image says that {across} x {down} pixels share their colour.")
        return across, down

    def _set_limits(self, directory: TiffDirectory) -> None:
        pixels = self.width * self.height
        size = pixels * self.stored_samples * max(self.type.dtype.itemsize, self.dtype.itemsize)
        if size > directory.file.limits.max_segment_bytes:
            raise LimitExceeded(
                f"A {'tile' if directory.is_tiled else 'strip'} is {self.width} x {self.height} px, "
                f"{size >> 20} MiB decoded; this server decodes at most "
                f"{directory.file.limits.max_segment_bytes >> 20} MiB at once."
            )
        stored = self._segment_bytes(0, self.height)
        self.max_stored_bytes = stored if self.compression == Compression.NONE else 2 * size + STORED_SLACK
        """A segment that says it has more is damaged, or holds more than pixels."""

    def _set_jpeg(self, directory: TiffDirectory) -> None:
        self.is_common: bool | None = None
        """Whether browsers decode its JPEG tiles; not known before the first was looked at."""
        self.splicer: JpegSplicer | None = None
        components = 1 if self.planes > 1 else self.stored_samples
        if self.compression in JPEGS:
            self.splicer = JpegSplicer(
                directory.raw(Tag.JPEG_TABLES),
                rgb=self.photometric != Photometric.YCBCR,
                grey=components < 3,
            )
        self.prefix = self.splicer.prefix if self.splicer is not None else b""
        self._is_plain_jpeg = self.splicer is not None and components in (1, 3) and self.type.bits == 8
        self.is_sendable = (
            self.compression == Compression.JPEG
            and self._is_plain_jpeg
            and self.planes == 1
            and self._colors.convert is None
            and self.stored_samples == self.samples
        )
        """Whether `as_jpeg` may give something."""
        self.can_reduce = self._is_plain_jpeg and self.planes == 1
        """Whether `decode` can shrink by 2, 4 or 8 without decoding everything."""

    @property
    def keeps_colors(self) -> bool:
        """Whether samples mean what they meant in the file: its colour profile fits what is decoded."""
        return self._colors.convert is None

    @property
    def extra_samples(self) -> int:
        """Samples that are neither colour nor transparency: they are not shown."""
        return self.stored_samples - self._colors.stored - (self._alpha is not None)

    def as_jpeg(self, data: bytes) -> bytes | None:
        """A stored segment as a complete JPEG file, when it shows exactly the pixels that `decode` gives."""
        if self.splicer is None or not self.is_sendable:
            return None
        if self.is_common is None:  # the first tile speaks for all: a file has one writer
            self.is_common = is_common(data)
        return self.splicer.complete(data) if self.is_common else None

    def decode(self, data: bytes, rows: int, reduction: int = 1) -> NDArray[Any]:
        """The pixels of one stored segment that holds all samples.

        Parameters
        ----------
        rows : rows it holds: the tile height, or fewer in the last strip
        reduction : shrink while decoding; only where `can_reduce`

        Returns
        -------
        writable array (rows, width, samples), samples as the image has them (no alpha, black is 0)
        """
        if self.splicer is not None and self._is_plain_jpeg:
            complete = self.splicer.complete(data)
            pixels: NDArray[Any] = decode_jpeg(complete, self.width, rows, self.stored_samples, reduction)
        else:
            pixels = self._decode_samples(data, 0, rows)
        return pixels if self._is_finished else self._finish(pixels)

    def decode_planes(self, parts: Sequence[bytes | None], rows: int) -> NDArray[Any]:
        """The same of one segment for each sample; one that is not stored is all zeros."""
        pixels = np.zeros((rows, self.width, self.stored_samples), self.type.dtype)
        for plane, data in enumerate(parts):
            if data is not None:
                part = self._decode_samples(data, plane, rows)[..., 0]
                if self._step != FULL and plane in (1, 2):
                    part = repeated(part, self._step)[:rows, : self.width]
                pixels[..., plane] = part
        return pixels if self._is_finished else self._finish(pixels)

    def background(self) -> int:
        """What a tile that is not stored shows: white for brightfield (8-bit RGB), black otherwise."""
        return 255 if self.samples == 3 and self.dtype == np.uint8 else 0

    def _shape(self, plane: int, rows: int) -> tuple[int, int, int]:
        """Of the samples of one segment."""
        if self.planes == 1:
            return rows, self.width, self.stored_samples
        return *plane_shape(plane, rows, self.width, self._step), 1

    def _segment_bytes(self, plane: int, rows: int) -> int:
        """Decompressed bytes of a segment."""
        if self.planes == 1 and self._step != FULL:
            return block_bytes(rows, self.width, self._step)
        high, wide, samples = self._shape(plane, rows)
        return self.type.stored_bytes(high, wide * samples)

    def _decode_samples(self, data: bytes, plane: int, rows: int) -> NDArray[Any]:
        """The samples of one segment as they are stored."""
        shape, codec = self._shape(plane, rows), self.compression
        if self.splicer is not None:
            complete = self.splicer.complete(data)
            if self._is_plain_jpeg:
                return decode_jpeg(complete, shape[1], shape[0], shape[2])
            return decode_components(complete, shape, self.type.dtype)
        if codec in JPEG2000:
            ycbcr = self.photometric == Photometric.YCBCR
            return decode_jpeg2000(data, shape, self.type.dtype, ycbcr=ycbcr)
        if codec == Compression.WEBP:
            return decode_webp(data, shape)
        if codec == Compression.LERC:
            return decode_lerc(data, shape, self.type.dtype, self._lerc_codec)
        if self._reversed:
            data = bytes(imagecodecs.bitorder_decode(data))
        if codec in CCITT:
            return decode_ccitt(data, shape, codec, self._t4_options)
        data = decompress(codec, data, self._segment_bytes(plane, rows))
        if self.planes == 1 and self._step != FULL:
            return unpack_blocks(data, rows, self.width, self._step)
        return self.type.unpack(data, shape, self._predictor)

    def _finish(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Without what is not colour; in the colours that are promised."""
        stored = self._colors.stored
        color = pixels if stored == self.stored_samples else np.ascontiguousarray(pixels[:, :, :stored])
        if self._colors.convert is not None:
            color = self._colors.convert(color)
        if self._alpha is None:
            return color
        kind, index = self._alpha
        opacity = pixels[:, :, index : index + 1] / self.type.highest
        ground = (1 - opacity) * self.background()
        front = color if kind == ASSOCIATED_ALPHA else color * opacity
        if np.issubdtype(self.dtype, np.floating):
            return (front + ground).astype(self.dtype)
        top = 255 if self._colors.convert is not None and self.samples == 3 else self.type.highest
        return np.clip(np.rint(front + ground), 0, top).astype(self.dtype)

    def _find_alpha(self, directory: TiffDirectory) -> tuple[int, int] | None:
        """Kind and index of the sample that is alpha, when there is one."""
        if self.type.kind is SampleKind.SIGNED:
            return None
        extra = directory.integers(Tag.EXTRA_SAMPLES)
        for index, kind in enumerate(extra, start=self._colors.stored):
            if kind in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA) and index < self.stored_samples:
                return kind, index
        return None

    def _require_samples(self) -> None:
        if self.stored_samples < self._colors.stored:
            raise CorruptFile(
                f"The image says it has colours, and {self.stored_samples} "
                f"sample{'s' * (self.stored_samples != 1)} a pixel."
            )

    def _require_layout(self) -> None:
        """Raises UnsupportedFeature for combinations that no codec here knows."""
        kind, codec, samples = self.type, self.compression, 1 if self.planes > 1 else self.stored_samples
        unsigned = kind.kind is SampleKind.UNSIGNED
        unsupported = None
        if codec in JPEGS and not (unsigned and kind.bits in (8, 12)):
            unsupported = f"{_described(kind)} in JPEG"
        elif codec in JPEGS and samples > 4:
            unsupported = f"JPEG with {samples} samples a pixel"
        elif codec in JPEG2000 and (kind.kind is SampleKind.FLOAT or kind.bits > 16):
            unsupported = f"{_described(kind)} in JPEG 2000"
        elif codec == Compression.WEBP and (not unsigned or kind.bits != 8 or samples not in (3, 4)):
            unsupported = f"{samples} samples of {_described(kind)} in WebP"
        elif codec == Compression.LERC and kind.bits not in (8, 16, 32, 64):
            unsupported = f"{_described(kind)} in LERC"
        elif codec in CCITT and (kind.bits != 1 or samples != 1):
            unsupported = f"{samples} samples of {_described(kind)} in CCITT"
        elif self._predictor not in (Predictor.NONE, Predictor.HORIZONTAL, Predictor.FLOATING_POINT):
            unsupported = f"the predictor {self._predictor}"
        elif self._predictor == Predictor.FLOATING_POINT and kind.kind is not SampleKind.FLOAT:
            unsupported = "the floating-point predictor for integers"
        elif self._predictor != Predictor.NONE and (
            (kind.kind is SampleKind.FLOAT and kind.bits == 24) or (self._step != FULL and self.planes == 1)
        ):
            unsupported = f"the predictor {self._predictor} with pixels of this kind"
        if unsupported:
            raise _unsupported(unsupported)


def _described(kind: SampleType) -> str:
    name = {"u": "", "i": "signed ", "f": "floating-point "}[kind.kind]
    return f"{name}{kind.bits} bit{'s' * (kind.bits != 1)} per sample"


def _photometric_of(directory: TiffDirectory) -> int:
    """The colour space that the tags mean."""
    photometric = directory.photometric
    if directory.compression == Compression.JPEG2000_YCBCR:
        return Photometric.YCBCR
    if directory.compression in (Compression.JPEG2000_RGB, Compression.WEBP):
        return photometric if directory.samples_per_pixel < 3 else Photometric.RGB
    if directory.has_undeclared_colors:
        return Photometric.RGB
    return photometric


def _require_codec(compression: int) -> None:
    if compression not in BYTE_CODECS and compression not in PICTURE_CODECS:
        raise _unsupported(f"the compression {NAMES.get(compression, f'number {compression}')}")


def _unsupported(what: str) -> UnsupportedFeature:
    return UnsupportedFeature(f"This TIFF uses {what}, which this version can't read.")
