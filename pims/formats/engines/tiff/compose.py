"""Regions of a directory composed from its decoded tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile, LimitExceeded
from pims.formats.engines.reduce import box_reduce
from pims.formats.engines.tiff.decode import SegmentDecoder
from pims.formats.engines.tiff.directory import TiffDirectory
from pims.formats.engines.tiff.jpeg import SOI_BYTES, is_plain_start
from pims.formats.engines.tiff.old_jpeg import OldJpeg
from pims.formats.engines.tiff.segments import SegmentTable
from pims.formats.engines.tiff.tags import Compression
from pims.formats.engines.tile_cache import TileCache
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region

__all__ = ["TiffImage"]

BAND_PIXELS = 1 << 22
"""Pixels held at once of what is shrunk after its decoding, and ..."""
MAX_BAND_TILE = 512
"""... up to this many rows of them in any case: tiles are not decoded many times over."""


class TiffImage:
    """One directory opened for reading: where its tiles are and how they are decoded. Any thread may read."""

    def __init__(self, directory: TiffDirectory, cache: TileCache) -> None:
        """Raises FileError when the directory can't be read."""
        self.directory = directory
        self.decoder = SegmentDecoder(directory)
        self.segments = SegmentTable(directory, self.decoder.planes)
        self.width, self.height = directory.width, directory.height
        self.tile_width, self.tile_height = self.decoder.width, self.decoder.height
        self._old_jpeg = None
        if self.decoder.compression == Compression.OLD_JPEG:
            self._old_jpeg = OldJpeg(directory, self.segments, self.decoder.max_stored_bytes)
        self._tiled = directory.is_tiled and self._old_jpeg is None
        self._source = directory.file.source
        self._cache = cache
        self._whole_columns = self.width // self.tile_width
        self._whole_rows = self.height // self.tile_height
        """Tiles beyond these reach over the edge of the image."""
        self._held: tuple[tuple[int, int], NDArray[Any]] | None = None

    def read(self, region: Region, reduction: int = 1) -> NDArray[Any]:
        """The pixels of a region inside the image; see AbstractReader.read_region."""
        try:
            if reduction > 1 and (self.tile_width % reduction or self.tile_height % reduction):
                return self._shrunk(region, reduction)
            return self._compose(region, reduction)
        except MemoryError as error:
            raise LimitExceeded("There is not enough memory to read so large a part of the image.") from error

    def stored(self, column: int, row: int, *, may_block: bool) -> EncodedTile | None:
        """The complete JPEG of a tile, when it shows exactly what `read` gives; see read_stored_tile."""
        if column >= self._whole_columns or row >= self._whole_rows or not self.decoder.is_sendable:
            return None
        index = row * self.segments.columns + column
        if not may_block and self.decoder.is_common:
            place = self.segments.locate(index, may_block=False)
            if place is not None and SOI_BYTES < place[1] <= self.decoder.max_stored_bytes:
                # Straight behind what completes it: the stored stream without its first marker.
                prefix = self.decoder.prefix
                data = self._source.pread_behind(prefix, place[0] + SOI_BYTES, place[1] - SOI_BYTES)
                if is_plain_start(data, len(prefix)):
                    return EncodedTile("image/jpeg", data)
        stored = self._stored_bytes(index, may_block=may_block)
        jpeg = None if stored is None else self.decoder.as_jpeg(stored)
        return None if jpeg is None else EncodedTile("image/jpeg", jpeg)

    def _stored_bytes(self, index: int, *, may_block: bool = True) -> bytes | None:
        """A segment as it is stored; None for one that is not (sparse)."""
        if self._old_jpeg is not None:
            return self._old_jpeg.stream()
        place = self.segments.locate(index, may_block=may_block)
        if place is None:
            return None
        offset, size = place
        if size > self.decoder.max_stored_bytes:
            if self.decoder.compression != Compression.NONE:
                raise CorruptFile(f"A tile of {self.tile_width} x {self.tile_height} px claims {size} bytes.")
            size = self.decoder.max_stored_bytes
        return self._source.pread(offset, size, may_block=may_block)

    def _shrunk(self, region: Region, reduction: int) -> NDArray[Any]:
        """Read, then shrunk, band by band: for tiles that the reduction does not divide."""
        rows = max(BAND_PIXELS // region.width, min(self.tile_height, MAX_BAND_TILE), 1)
        rows = -(-rows // reduction) * reduction
        bands = [
            Region(region.left, top, region.width, min(rows, region.bottom - top))
            for top in range(region.top, region.bottom, rows)
        ]
        return np.concatenate([box_reduce(self._compose(band, 1), reduction) for band in bands])

    def _compose(self, region: Region, reduction: int) -> NDArray[Any]:
        tile_width, tile_height = self.tile_width // reduction, self.tile_height // reduction
        left, top = region.left // reduction, region.top // reduction
        width, height = -(-region.width // reduction), -(-region.height // reduction)
        first_column, last_column = left // tile_width, (left + width - 1) // tile_width
        first_row, last_row = top // tile_height, (top + height - 1) // tile_height
        if first_column == last_column and first_row == last_row:
            x, y = left - first_column * tile_width, top - first_row * tile_height
            whole = width == tile_width and height == tile_height
            tile = self._tile(first_column, first_row, reduction, shared=not whole)
            return np.ascontiguousarray(tile[y : y + height, x : x + width])
        pixels = np.empty((height, width, self.decoder.samples), self.decoder.dtype)
        for row in range(first_row, last_row + 1):
            y = row * tile_height - top
            for column in range(first_column, last_column + 1):
                x = column * tile_width - left
                # One that is all inside is needed by nobody else: a large window does not fill the cache.
                inside = x >= 0 and y >= 0 and x + tile_width <= width and y + tile_height <= height
                tile = self._tile(column, row, reduction, shared=not inside)
                part = pixels[max(y, 0) : y + tile_height, max(x, 0) : x + tile_width]
                from_y, from_x = max(-y, 0), max(-x, 0)
                part[:] = tile[from_y : from_y + part.shape[0], from_x : from_x + part.shape[1]]
        return pixels

    def _tile(self, column: int, row: int, reduction: int, *, shared: bool = True) -> NDArray[Any]:
        """A decoded tile, cut at the edges of the image; see TileCache.get_or_decode."""
        index = row * self.segments.columns + column
        key = (self._source.revision, self.directory.offset, index, reduction)
        return self._cache.get_or_decode(
            key, lambda: self._decode(column, row, index, reduction), shared=shared
        )

    def _decode(self, column: int, row: int, index: int, reduction: int) -> NDArray[Any]:
        # A tile too heavy for the cache (a giant strip) is read band by band: keep the last one.
        held = self._held
        if held is not None and held[0] == (index, reduction):
            return held[1]
        width = min(self.tile_width, self.width - column * self.tile_width)
        height = min(self.tile_height, self.height - row * self.tile_height)
        pixels = self._decode_cut(index, width, height, reduction)
        self._held = None
        if not self._cache.keeps(pixels.nbytes):
            pixels.flags.writeable = False
            self._held = ((index, reduction), pixels)
        return pixels

    def _decode_cut(self, index: int, width: int, height: int, reduction: int) -> NDArray[Any]:
        if self.decoder.planes > 1:
            return self._decode_separate(index, width, height, reduction)
        data = self._stored_bytes(index)
        if data is None:
            shape = (-(-height // reduction), -(-width // reduction), self.decoder.samples)
            return np.full(shape, self.decoder.background(), self.decoder.dtype)
        rows = self.tile_height if self._tiled else height
        if self.decoder.can_reduce and width % reduction == 0 and height % reduction == 0:
            pixels = self.decoder.decode(data, rows, reduction)
            return np.ascontiguousarray(pixels[: height // reduction, : width // reduction])
        # An edge tile whose padding would be mixed into its last pixels: decoded whole, cut, then shrunk.
        pixels = self.decoder.decode(data, rows)
        return box_reduce(np.ascontiguousarray(pixels[:height, :width]), reduction)

    def _decode_separate(self, index: int, width: int, height: int, reduction: int) -> NDArray[Any]:
        """A tile whose samples are stored one by one."""
        step = self.segments.per_plane
        parts = [self._stored_bytes(plane * step + index) for plane in range(self.decoder.planes)]
        if all(part is None for part in parts):
            shape = (-(-height // reduction), -(-width // reduction), self.decoder.samples)
            return np.full(shape, self.decoder.background(), self.decoder.dtype)
        pixels = self.decoder.decode_planes(parts, self.tile_height if self._tiled else height)
        return box_reduce(np.ascontiguousarray(pixels[:height, :width]), reduction)
