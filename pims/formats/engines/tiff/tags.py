"""Numbers of TIFF 6.0, its supplements, and the codecs registered since."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Compression", "Photometric", "Tag"]


class Tag(IntEnum):
    """Tags that this engine reads or writes."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    IMAGE_DESCRIPTION = 270
    MAKE = 271
    MODEL = 272
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    RESOLUTION_UNIT = 296
    SOFTWARE = 305
    DATE_TIME = 306
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_SUBSAMPLING = 530


class Compression(IntEnum):
    """Codecs of the Compression tag."""

    NONE = 1
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    DEFLATE = 8
    DEFLATE_OLD = 32946
    JPEG2000_YCBCR = 33003
    JPEG2000_RGB = 33005
    JPEG2000 = 34712
    ZSTD = 50000
    WEBP = 50001


class Photometric(IntEnum):
    """Colour spaces of the PhotometricInterpretation tag."""

    MINISWHITE = 0
    MINISBLACK = 1
    RGB = 2
    PALETTE = 3
    MASK = 4
    SEPARATED = 5
    YCBCR = 6
    CIELAB = 8
