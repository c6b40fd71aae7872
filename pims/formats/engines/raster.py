"""Images that are stored as one picture and decoded as a whole: what JPEG, PNG and their like share."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pims.errors import LimitExceeded
from pims.formats.abstract import AbstractFormat, AbstractReader
from pims.model.geometry import Region
from pims.model.limits import Limits
from pims.model.metadata import Channel, ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Tier
from pims.model.source import ByteSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_NATIVE_SIDE", "RasterReader", "check_size", "raster_metadata", "read_file"]

MAX_NATIVE_SIDE = 1024
"""Images no side of which is longer are served as they are."""
RGB_CHANNELS = (Channel(0, "R", "#ff0000"), Channel(1, "G", "#00ff00"), Channel(2, "B", "#0000ff"))


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises LimitExceeded for an image that is too large to be decoded as a whole."""
    if max(width, height) > limits.max_side:
        raise LimitExceeded(
            f"The image says it is {width} x {height} px; at most {limits.max_side} px a side are read."
        )
    if width * height > limits.max_decode_pixels:
        raise LimitExceeded(
            f"The image says it is {width} x {height} px and can only be decoded as a whole, which is done "
            f"up to {limits.max_decode_pixels} px. A tiled pyramidal TIFF has no such limit."
        )


def read_file(source: ByteSource, limits: Limits, *, may_block: bool = True) -> bytes:
    """All bytes of a file. Raises LimitExceeded, or what ByteSource.pread raises."""
    if source.size > limits.max_segment_bytes:
        raise LimitExceeded(
            f"The file has {source.size} bytes; one that is decoded as a whole may have "
            f"{limits.max_segment_bytes}."
        )
    return source.pread(0, source.size, may_block=may_block)


def raster_metadata(width: int, height: int, n_samples: int, bits: int) -> ImageMetadata:
    """The main metadata of a picture of 8 or 16 bits; three samples are R, G and B."""
    return ImageMetadata(
        width=width,
        height=height,
        pixel_type=f"uint{bits}",
        significant_bits=bits,
        n_samples=n_samples,
        channels=RGB_CHANNELS if n_samples == 3 else (Channel(0),),
        brightfield=n_samples == 3 and bits == 8,
    )


class RasterReader(AbstractReader):
    """Reads regions of a picture that is decoded as a whole, once.

    The decoded picture is kept in the tile cache. One too heavy for it is kept here until the reader is
    closed: a conversion reads it band by band.
    """

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        super().__init__(format)
        self._lock = threading.RLock()
        self._held: tuple[int, NDArray[Any]] | None = None

    @abstractmethod
    def decode(self) -> NDArray[Any]:
        """The whole picture: (height, width, samples), as the main metadata says. Raises FileError."""

    def decode_reduced(self, reduction: int) -> NDArray[Any]:
        """The whole picture shrunk by 2, 4 or 8; overridden where the decoder can do it. Raises FileError."""
        from pims.formats.engines.reduce import box_reduce

        return box_reduce(self.whole(1), reduction)

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        import numpy as np

        left, top = region.left // reduction, region.top // reduction
        width, height = -(-region.width // reduction), -(-region.height // reduction)
        return np.ascontiguousarray(self.whole(reduction)[top : top + height, left : left + width])

    def whole(self, reduction: int) -> NDArray[Any]:
        """The whole picture shrunk by 1, 2, 4 or 8; shared and read-only."""
        held = self._held
        if held is not None and held[0] == reduction:
            return held[1]
        key = (self.format.source.revision, self.format.series, "raster", reduction)
        return self.format.context.tile_cache.get_or_decode(key, lambda: self._decode(reduction))

    def _decode(self, reduction: int) -> NDArray[Any]:
        # One at a time: two threads would otherwise hold the same large picture twice.
        with self._lock:
            held = self._held
            if held is not None and held[0] == reduction:
                return held[1]
            try:
                pixels = self.decode() if reduction == 1 else self.decode_reduced(reduction)
            except MemoryError as error:
                raise LimitExceeded("There is not enough memory to decode the image as a whole.") from error
            if not self.format.context.tile_cache.keeps(pixels.nbytes):
                pixels.flags.writeable = False
                self._held = (reduction, pixels)
            return pixels

    def close(self) -> None:
        with self._lock:
            self._held = None
