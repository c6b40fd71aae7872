"""Numbers of TIFF 6.0, its supplements, and the codecs registered since."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Compression", "Photometric", "Predictor", "SampleFormat", "Tag"]


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
    T4_OPTIONS = 292
    RESOLUTION_UNIT = 296
    SOFTWARE = 305
    DATE_TIME = 306
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    JPEG_INTERCHANGE_FORMAT = 513
    JPEG_INTERCHANGE_FORMAT_LENGTH = 514
    JPEG_Q_TABLES = 519
    JPEG_DC_TABLES = 520
    JPEG_AC_TABLES = 521
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    ICC_PROFILE = 34675
    LERC_PARAMETERS = 50674


class Compression(IntEnum):
    """Codecs of the Compression tag."""

    NONE = 1
    CCITT_RLE = 2
    CCITT_GROUP3 = 3
    CCITT_GROUP4 = 4
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    DEFLATE = 8
    PACKBITS = 32773
    DEFLATE_OLD = 32946
    JPEG2000_YCBCR = 33003
    JPEG2000_RGB = 33005
    JPEG2000 = 34712
    LERC = 34887
    LZMA = 34925
    ZSTD_OLD = 34926
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
    ICCLAB = 9


class Predictor(IntEnum):
    """What was done to the samples before they were compressed, the Predictor tag."""

    NONE = 1
    HORIZONTAL = 2
    FLOATING_POINT = 3


class SampleFormat(IntEnum):
    """How samples are to be read, the SampleFormat tag."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNDEFINED = 4
