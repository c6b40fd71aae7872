"""An opened image: what it is and how to read it, shared by all requests that look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from pims.cache.object import SimpleDataCache, cached_property
from pims.errors import CorruptFile, RepresentationNotFound
from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, AbstractReader
from pims.images.histogram import read_channel_bounds
from pims.images.overviews import Overviews, WithOverviews
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import NORMALIZED_TILE, Pyramid, Tier
from pims.processing.pipeline import AdjustIntensities, StretchIntensities, adjustment
from pims.processing.request import AutoBound, Bounds, DisplaySettings, resolve_display

__all__ = ["OpenedImage"]

Adjustment: TypeAlias = AdjustIntensities | StretchIntensities

MAX_ADJUSTMENTS = 64
"""Display settings that are remembered resolved; viewers ask many tiles with the same ones."""


class OpenedImage(SimpleDataCache):
    """The SPATIAL representation of one upload with the metadata of its original.

    Made by the opener, closed by the pool when nobody leases it any more; any thread may use it meanwhile.
    """

    def __init__(
        self,
        directory: UploadDirectory,
        manifest: Manifest,
        source: LocalSource,
        spatial: AbstractFormat,
        overviews: Overviews | None = None,
    ) -> None:
        super().__init__()
        self.directory = directory
        self.manifest = manifest
        self.filepath = f"{directory.path.name}/{manifest.file_name}"
        self.identity = f"{manifest.uuid}/{manifest.series}/{manifest.revision}"
        """The same for every alias and in every process; changes when what can be seen does."""
        try:
            self.metadata = ImageMetadata.from_dict(manifest.metadata)
        except ValueError as error:
            raise CorruptFile(f"{directory.manifest.name}: {error}") from error
        self.spatial = spatial
        self.reader: AbstractReader = spatial.reader
        self.pyramid: Pyramid = spatial.pyramid
        """The tiers of the image itself: what clients count."""
        self.reading_pyramid = self.pyramid
        """These and the tiers of the overviews: what pixels are read from."""
        if overviews is not None:
            self.reader = WithOverviews(spatial, overviews)
            self.reading_pyramid = overviews.above(spatial.pyramid)
        self._overviews = overviews
        self.normalized_pyramid: Pyramid = spatial.normalized_pyramid
        self.equal_tiers = tuple(self._equal_tier(tier) for tier in self.normalized_pyramid.tiers)
        """By normalized level, the stored tier that has the same size, or None."""
        self.stored_tiers = tuple(
            tier
            if tier and (tier.tile_width, tier.tile_height) == (NORMALIZED_TILE, NORMALIZED_TILE)
            else None
            for tier in self.equal_tiers
        )
        """The same, where the tiles are the same as well."""
        self.default_plane = Plane(0, self.metadata.depth // 2, 0)
        """Shown when none is asked for: the middle of the stack, the first time point."""
        self._source = source
        self.views: dict[Hashable, Any] = {}
        """What a caller remembers about ways to look at this image; it goes when the image is closed."""
        self._adjustments: dict[tuple[DisplaySettings, AutoBound | None, int], Adjustment | None] = {}

    def adjustment(
        self, asked: DisplaySettings, default: AutoBound | None, output_bits: int
    ) -> Adjustment | None:
        """What shows the channels as asked; None when all pixel values stay as stored.

        Raises InvalidParameter, UnsupportedFeature, CorruptFile (the stored histogram is damaged).
        """
        key = (asked, default, output_bits)
        try:
            return self._adjustments[key]
        except KeyError:
            channels = resolve_display(asked, self.metadata, self._intensity_bounds, default=default)
            found = adjustment(self.metadata, channels, output_bits)
            if len(self._adjustments) >= MAX_ADJUSTMENTS:
                self._adjustments.clear()
            self._adjustments[key] = found
            return found

    def _intensity_bounds(self) -> Bounds:
        return self._histogram_bounds

    @property
    def bounds_are_known(self) -> bool:
        """Whether the bounds of the histogram were read already."""
        return self.is_in_cache("_histogram_bounds")

    @cached_property
    def _histogram_bounds(self) -> Bounds:
        """(lowest, highest) intensity by channel; for an upload without histogram the full range, or 0 to 1
        for real numbers."""
        try:
            return read_channel_bounds(self.directory.histogram)
        except RepresentationNotFound:
            return (self.metadata.full_range or (0.0, 1.0),) * self.metadata.n_channels

    def _equal_tier(self, normalized: Tier) -> Tier | None:
        size = normalized.width, normalized.height
        equal = (tier for tier in self.reading_pyramid.tiers if (tier.width, tier.height) == size)
        return next(equal, None)

    def read_associated(self, name: str, out_width: int, out_height: int) -> NDArray[Any]:
        """The picture `name` stored beside the image (height, width, samples), at least that large if it is.

        Raises RepresentationNotFound, FileError, StorageError.
        """
        readers = {
            "label": self.reader.read_label,
            "macro": self.reader.read_macro,
            "thumb": self.reader.read_thumbnail,
        }
        # A conversion holds the image alone.
        read = readers.get(name) if self.manifest.conversion is None else None
        pixels = None if read is None else read(out_width, out_height)
        if pixels is None:
            raise RepresentationNotFound(name)
        return pixels

    def close(self) -> None:
        """Close the reader and the files."""
        with contextlib.ExitStack() as closing:
            closing.callback(self._source.close)
            closing.callback(self.spatial.close)
            if self._overviews is not None:
                closing.callback(self._overviews.close)
