"""The pyramid writer: rows of pixels in, a tiled pyramidal TIFF out, in one pass and bounded memory.

The file is a BigTIFF whatever its size, so that nobody has to guess it beforehand. It holds the tiles in
the order they became complete, then one directory per level of the normalized pyramid (the base first,
the others marked as reduced). The header is written last, when everything else is on the disk: a torn
file starts with zeros, which no reader takes for a TIFF.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pims.errors import StorageError
from pims.formats.engines.reduce import block_means
from pims.formats.engines.tiff.bigtiff import HEADER_BYTES, Field, FieldType, pack_directories, pack_header
from pims.formats.engines.tiff.encode import Subsampling, TileCodec, TileEncoder
from pims.formats.engines.tiff.tags import Photometric, Predictor, SampleFormat, Tag
from pims.model.pyramid import NORMALIZED_TILE, Pyramid, Tier, normalized_pyramid

__all__ = ["SAMPLE_TYPES", "PyramidSpec", "PyramidWriter", "halve"]

SAMPLE_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
"""What is written."""
SAMPLE_FORMATS = {"u": SampleFormat.UNSIGNED, "i": SampleFormat.SIGNED, "f": SampleFormat.FLOAT}

BACKLOG_BYTES = 16 << 20
"""Decoded tiles that wait for a thread to encode them."""
WRITE_BUFFER_BYTES = 1 << 20
MICROMETRES_PER_CM = 10_000

REDUCED = 1
"""NewSubfileType of every level but the base."""
SIDE_BY_SIDE = 1
"""PlanarConfiguration: RGBRGB..."""
CENTIMETRE = 3
"""ResolutionUnit."""


@dataclass(frozen=True, slots=True)
class PyramidSpec:
    """What is written: size, type, compression and what the file says of itself. ValueError when wrong."""

    width: int
    height: int
    n_samples: int = 3
    """1 (grey, black is zero) or 3 (RGB)."""
    dtype: str = "uint8"
    """One of SAMPLE_TYPES."""
    codec: TileCodec = TileCodec.ZSTD
    quality: int = 90
    """Of JPEG, 1 to 100."""
    subsampling: Subsampling = Subsampling.S444
    """Of the chroma of an RGB JPEG."""
    physical_size_x_um: float | None = None
    physical_size_y_um: float | None = None
    orientation: int = 1
    description: str = ""
    software: str = "PIMS"
    icc_profile: bytes = b""
    """What the colours mean; empty: not said."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"an image of {self.width} x {self.height} px has no pixels")
        if self.n_samples not in (1, 3):
            raise ValueError(f"pixels have 1 or 3 samples, not {self.n_samples}")
        if self.dtype not in SAMPLE_TYPES:
            raise ValueError(f"samples are {', '.join(SAMPLE_TYPES)}, not {self.dtype}")
        if self.codec is TileCodec.JPEG and self.dtype != "uint8":
            raise ValueError(f"JPEG tiles are uint8, not {self.dtype}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"the JPEG quality is 1 to 100, not {self.quality}")
        if not 1 <= self.orientation <= 8:
            raise ValueError(f"the orientation is 1 to 8, not {self.orientation}")

    @property
    def pyramid(self) -> Pyramid:
        """The levels that are written."""
        return normalized_pyramid(self.width, self.height)

    @property
    def encoder(self) -> TileEncoder:
        return TileEncoder(self.n_samples, self.codec, self.quality, self.subsampling)


class PyramidWriter:
    """Writes one new file; a context manager, used from one thread.

    Leaving the context without an error finishes the file, with one removes it. Memory: one row of tiles
    of every level (together twice that of the base) and 16 MiB of tiles being encoded, whatever the
    height. The same pixels give the same bytes, whatever the bands and threads.

    Parameters
    ----------
    path : must not exist yet
    threads : that encode; by default one per core

    Raises
    ------
    StorageError : from every method, when the disk refuses
    """

    def __init__(self, path: Path, spec: PyramidSpec, *, threads: int | None = None) -> None:
        self.path = path
        self.spec = spec
        self._threads = threads or os.cpu_count() or 1
        self._encoder = spec.encoder
        self._pending: deque[tuple[_Level, Future[bytes]]] = deque()
        tile_bytes = NORMALIZED_TILE**2 * spec.n_samples * np.dtype(spec.dtype).itemsize
        self._backlog = max(BACKLOG_BYTES // tile_bytes, 2 * self._threads)
        self._levels: list[_Level] = []
        self._rows = 0
        self._position = HEADER_BYTES

    def __enter__(self) -> PyramidWriter:
        below: _Level | None = None
        for tier in reversed(self.spec.pyramid.tiers):
            below = _Level(tier, self.spec, self._submit, below)
            self._levels.insert(0, below)
        with self._storage_errors():
            self._file: BinaryIO = self.path.open("xb", buffering=WRITE_BUFFER_BYTES)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encode")
        try:
            with self._storage_errors():
                self._file.write(bytes(HEADER_BYTES))
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def write_rows(self, rows: NDArray[Any]) -> None:
        """The next rows from the top, (any number, width, samples) of the declared type; else ValueError."""
        spec = self.spec
        if rows.ndim != 3 or rows.shape[1:] != (spec.width, spec.n_samples) or rows.dtype != spec.dtype:
            raise ValueError(
                f"rows are (n, {spec.width}, {spec.n_samples}) {spec.dtype}, not {rows.shape} {rows.dtype}"
            )
        if self._rows + len(rows) > spec.height:
            raise ValueError(f"{self._rows + len(rows)} rows for an image of {spec.height}")
        self._levels[0].append(rows)
        self._rows += len(rows)

    def _submit(self, level: _Level, tile: NDArray[Any]) -> None:
        """Have a tile encoded; wait for the oldest ones when too many are under way."""
        self._pending.append((level, self._pool.submit(self._encoder.encode, tile)))
        while len(self._pending) > self._backlog or (self._pending and self._pending[0][1].done()):
            self._write_oldest()

    def _write_oldest(self) -> None:
        level, encoded = self._pending.popleft()
        data = encoded.result()
        with self._storage_errors():
            self._file.write(data)
        level.offsets.append(self._position)
        level.byte_counts.append(len(data))
        self._position += len(data)

    def _finish(self) -> None:
        if self._rows != self.spec.height:
            raise ValueError(f"{self._rows} rows were written of {self.spec.height}")
        while self._pending:
            self._write_oldest()
        self._pool.shutdown()
        first_directory = -(-self._position // 8) * 8
        directories = pack_directories(map(self._fields, self._levels), first_directory)
        with self._storage_errors():
            self._file.write(bytes(first_directory - self._position))
            self._file.write(directories)
            self._sync()
            self._file.seek(0)
            self._file.write(pack_header(first_directory))
            self._sync()
            self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _abandon(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._pending.clear()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def _fields(self, level: _Level) -> list[Field]:
        """The directory of a level; the calibration of a reduced one is that of its own pixels."""
        spec, tier = self.spec, level.tier
        photometric = Photometric.RGB if spec.n_samples == 3 else Photometric.MINISBLACK
        codec_fields = []
        predictor = spec.codec.predictor(spec.dtype)
        if predictor is not Predictor.NONE:
            codec_fields.append(Field.short(Tag.PREDICTOR, predictor))
        if spec.icc_profile:
            codec_fields.append(Field.opaque(Tag.ICC_PROFILE, spec.icc_profile))
        if spec.codec is TileCodec.JPEG:
            codec_fields.append(Field.opaque(Tag.JPEG_TABLES, self._encoder.jpeg_tables))
            if spec.n_samples == 3:
                photometric = Photometric.YCBCR
                codec_fields.append(Field.short(Tag.YCBCR_SUBSAMPLING, *spec.subsampling.value))
        if spec.description and tier.level == 0:
            codec_fields.append(Field.text(Tag.IMAGE_DESCRIPTION, spec.description))
        return [
            Field.long(Tag.NEW_SUBFILE_TYPE, REDUCED if tier.level else 0),
            Field.long(Tag.IMAGE_WIDTH, tier.width),
            Field.long(Tag.IMAGE_LENGTH, tier.height),
            Field.short(Tag.BITS_PER_SAMPLE, *[np.dtype(spec.dtype).itemsize * 8] * spec.n_samples),
            Field.short(Tag.COMPRESSION, spec.codec.compression),
            Field.short(Tag.PHOTOMETRIC, photometric),
            Field.short(Tag.ORIENTATION, spec.orientation),
            Field.short(Tag.SAMPLES_PER_PIXEL, spec.n_samples),
            Field.short(Tag.PLANAR_CONFIGURATION, SIDE_BY_SIDE),
            Field.text(Tag.SOFTWARE, spec.software),
            Field.short(Tag.TILE_WIDTH, NORMALIZED_TILE),
            Field.short(Tag.TILE_LENGTH, NORMALIZED_TILE),
            Field.integers(Tag.TILE_OFFSETS, level.offsets, FieldType.LONG8),
            Field.integers(Tag.TILE_BYTE_COUNTS, level.byte_counts, FieldType.LONG),
            Field.short(Tag.SAMPLE_FORMAT, *[SAMPLE_FORMATS[np.dtype(spec.dtype).kind]] * spec.n_samples),
            *codec_fields,
            *_resolution_fields(spec, tier),
        ]

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path.name} could not be written: {error.strerror or error}") from error


class _Level:
    """One level under way: the row of tiles being filled, and where the tiles before it went.

    The row is as wide as its tiles: the last pixel of every line, and at the bottom the last line, is
    repeated up to their edge. JPEG likes that better than black, and halving an odd size needs it.
    """

    def __init__(
        self,
        tier: Tier,
        spec: PyramidSpec,
        submit: Callable[[_Level, NDArray[Any]], None],
        coarser: _Level | None,
    ) -> None:
        self.tier = tier
        self.offsets = array("Q")
        self.byte_counts = array("Q")
        self._submit = submit
        self._coarser = coarser
        self._band = np.empty((NORMALIZED_TILE, tier.columns * NORMALIZED_TILE, spec.n_samples), spec.dtype)
        self._filled = 0
        self._missing = tier.height

    def append(self, rows: NDArray[Any]) -> None:
        """Take (any number, width, samples); pass on every row of tiles that becomes complete."""
        width, start = self.tier.width, 0
        while start < len(rows):
            part = rows[start : start + NORMALIZED_TILE - self._filled]
            target = self._band[self._filled : self._filled + len(part)]
            target[:, :width] = part
            target[:, width:] = part[:, -1:]
            start += len(part)
            self._filled += len(part)
            self._missing -= len(part)
            if self._filled == NORMALIZED_TILE or self._missing == 0:
                self._flush()

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        self._band[filled:] = self._band[filled - 1]
        for column in range(self.tier.columns):
            left = column * NORMALIZED_TILE
            self._submit(self, self._band[:, left : left + NORMALIZED_TILE].copy())
        if self._coarser is not None:
            even_height, even_width = filled + filled % 2, self.tier.width + self.tier.width % 2
            self._coarser.append(halve(self._band[:even_height, :even_width]))


def halve(pixels: NDArray[Any]) -> NDArray[Any]:
    """The mean of every 2 x 2 pixels, of integers with halves rounded up: (a + b + c + d + 2) // 4.

    `pixels` is (height, width, samples), both sides even; the result has half of each.
    """
    return block_means(pixels, 2)


def _resolution_fields(spec: PyramidSpec, tier: Tier) -> list[Field]:
    """Pixels per centimetre of a level, as far as they are known and can be written."""
    sizes = (
        (Tag.X_RESOLUTION, spec.physical_size_x_um, tier.factor_x),
        (Tag.Y_RESOLUTION, spec.physical_size_y_um, tier.factor_y),
    )
    fields = []
    for tag, size_um, factor in sizes:
        if size_um is not None and math.isfinite(size_um) and size_um > 0:
            per_cm = Fraction(MICROMETRES_PER_CM) / (Fraction(size_um) * Fraction(factor))
            if Fraction(1, 2**31) <= per_cm < 2**31:
                fields.append(Field.rational(tag, per_cm))
    return [*fields, Field.short(Tag.RESOLUTION_UNIT, CENTIMETRE)] if fields else []
