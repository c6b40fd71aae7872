"""The tiers above the coarsest one that is stored in an image: a small file written at import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, AbstractReader, ReadContext
from pims.formats.registry import FormatRegistry
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.planes import Plane
from pims.model.pyramid import NORMALIZED_TILE, Pyramid, Tier

__all__ = ["OVERVIEWS_FORMAT", "Overviews", "WithOverviews", "overviews_size"]

OVERVIEWS_FORMAT = "PYRTIFF"
"""Identifier of the format they are stored in."""


def overviews_size(pyramid: Pyramid) -> tuple[int, int] | None:
    """(width, height) of the first tier that is missing: half of the coarsest stored one, rounded up.

    None when that one fits in a tile, so that none is missing.
    """
    coarsest = pyramid.tiers[-1]
    if max(coarsest.width, coarsest.height) <= NORMALIZED_TILE:
        return None
    return -(-coarsest.width // 2), -(-coarsest.height // 2)


class Overviews:
    """The opened file. Whoever opened it closes it."""

    def __init__(
        self, image: AbstractFormat, source: LocalSource, registry: FormatRegistry, context: ReadContext
    ) -> None:
        """Open and check them; the source is taken over, also when that fails.

        Raises FileError, StorageError, FormatNotFound.
        """
        self._source = source
        try:
            self.format = registry.get(OVERVIEWS_FORMAT)(source, context=context)
            self._check_fit(image)
        except BaseException:
            source.close()
            raise

    def _check_fit(self, image: AbstractFormat) -> None:
        """Raises CorruptFile when they are not those of this image."""
        base, expected = self.format.pyramid.base, overviews_size(image.pyramid)
        ours, theirs = self.format.main_imd, image.main_imd
        if (base.width, base.height) != expected:
            raise CorruptFile(f"The overviews start at {base.width} x {base.height} px, not at {expected}.")
        if (ours.pixel_type, ours.n_samples) != (theirs.pixel_type, theirs.n_samples):
            raise CorruptFile(f"The overviews have pixels of {ours.n_samples} x {ours.pixel_type}.")

    def above(self, stored: Pyramid) -> Pyramid:
        """The tiers of the image, then these, with levels that go on."""
        tiers = (*stored.tiers, *self.format.pyramid.tiers)
        completed = Pyramid.of((t.width, t.height, t.tile_width, t.tile_height) for t in tiers)
        return Pyramid((*stored.tiers, *completed.tiers[len(stored.tiers) :]))

    def close(self) -> None:
        try:
            self.format.close()
        finally:
            self._source.close()


class WithOverviews(AbstractReader):
    """Reads the stored tiers from the image and those above from the overviews.

    Closing is left to who opened the two.
    """

    def __init__(self, image: AbstractFormat, overviews: Overviews) -> None:
        super().__init__(image)
        self._image = image.reader
        self._overviews = overviews.format.reader
        self._tiers = overviews.format.pyramid.tiers
        self._first = len(image.pyramid.tiers)

    def _place(self, tier: Tier) -> tuple[AbstractReader, Tier]:
        """Who has a tier, and what it is called there."""
        if tier.level < self._first:
            return self._image, tier
        return self._overviews, self._tiers[tier.level - self._first]

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        reader, own = self._place(tier)
        return reader.read_region(own, region, plane, reduction)

    def read_planes(
        self, region: Region, tier: Tier, planes: Sequence[Plane], reduction: int = 1
    ) -> NDArray[Any]:
        reader, own = self._place(tier)
        return reader.read_planes(region, own, planes, reduction)

    def read_stored_tile(
        self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
    ) -> EncodedTile | None:
        reader, own = self._place(tier)
        return reader.read_stored_tile(own, column, row, plane, may_block=may_block)

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._image.read_label(out_width, out_height)

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._image.read_macro(out_width, out_height)

    def read_thumbnail(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._image.read_thumbnail(out_width, out_height)
