"""An opened image: what it is and how to read it, shared by all requests that look at it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from pims.cache.object import SimpleDataCache, cached_property
from pims.errors import CorruptFile, RepresentationNotFound
from pims.files.layout import UploadDirectory
from pims.files.manifest import Manifest
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat
from pims.images.histogram import read_channel_bounds
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier
from pims.processing.pipeline import AdjustIntensities, adjustment
from pims.processing.request import AutoBound, DisplaySettings, resolve_display

__all__ = ["OpenedImage"]

MAX_ADJUSTMENTS = 64
"""Display settings that are remembered resolved; viewers ask many tiles with the same ones."""


class OpenedImage(SimpleDataCache):
    """The SPATIAL representation of one upload with the metadata of its original.

    Made by the opener, closed by the pool when nobody leases it any more; any thread may use it meanwhile.
    """

    def __init__(
        self, directory: UploadDirectory, manifest: Manifest, source: LocalSource, spatial: AbstractFormat
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
        self.reader = spatial.reader
        self.pyramid: Pyramid = spatial.pyramid
        self.normalized_pyramid: Pyramid = spatial.normalized_pyramid
        self.stored_tiers = tuple(self._stored_tier(tier) for tier in self.normalized_pyramid.tiers)
        """By normalized level, the stored tier that has the same size and the same tiles, or None."""
        self.default_plane = Plane(0, self.metadata.depth // 2, 0)
        """Shown when none is asked for: the middle of the stack, the first time point."""
        self._source = source
        self.views: dict[Hashable, Any] = {}
        """What a caller remembers about ways to look at this image; it goes when the image is closed."""
        self._adjustments: dict[tuple[DisplaySettings, AutoBound | None, int], AdjustIntensities | None] = {}

    def adjustment(
        self, asked: DisplaySettings, default: AutoBound | None, output_bits: int
    ) -> AdjustIntensities | None:
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

    def _intensity_bounds(self) -> Sequence[tuple[int, int]]:
        return self._histogram_bounds

    @property
    def bounds_are_known(self) -> bool:
        """Whether the bounds of the histogram were read already."""
        return self.is_in_cache("_histogram_bounds")

    @cached_property
    def _histogram_bounds(self) -> Sequence[tuple[int, int]]:
        """(lowest, highest) intensity by channel; the full range for an upload without histogram."""
        try:
            return read_channel_bounds(self.directory.histogram)
        except RepresentationNotFound:
            return ((0, (1 << self.metadata.significant_bits) - 1),) * self.metadata.n_channels

    def _stored_tier(self, normalized: Tier) -> Tier | None:
        for tier in self.pyramid.tiers:
            if (tier.width, tier.height) == (normalized.width, normalized.height):
                same_tiles = (tier.tile_width, tier.tile_height) == (
                    normalized.tile_width,
                    normalized.tile_height,
                )
                return tier if same_tiles else None
        return None

    def close(self) -> None:
        """Close the reader and the file."""
        try:
            self.spatial.close()
        finally:
            self._source.close()
