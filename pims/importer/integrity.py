"""Whether an image can be read: its metadata, and pixels of every tier and every plane.

What passes is served later without surprises: every array had the promised shape and type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pims.errors import CorruptFile
from pims.formats.abstract import AbstractFormat, Tile
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE, Plane
from pims.model.pyramid import Tier
from pims.model.shown import check_shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_integrity"]

LARGE_TILE = 1 << 24
"""Pixels of a tile above which only a part of it is read: a strip or a whole image can be any size."""
PART = 1024
"""Pixels a side of that part."""
PREVIEW = 256
"""Pixels a side of the thumb, the window and the associated images that are tried."""


def check_integrity(image: AbstractFormat, progress: Callable[[float], None]) -> None:
    """Read all metadata, then a sample of the pixels of every tier and plane.

    Raises CorruptFile, UnsupportedFeature, LimitExceeded or StorageError.
    """
    check_metadata(image)
    places = sum(len(_places(tier)) for tier in image.pyramid.tiers)
    total = places + image.main_imd.n_planes - 1 + 5
    for done, _ in enumerate(_reading_all(image), start=1):
        progress(min(1.0, done / total))


def check_metadata(image: AbstractFormat) -> None:
    """Evaluate every attribute; refuse what contradicts itself or could not be stored."""
    main, full = image.main_imd, image.full_imd
    counts = (main.width, main.height, main.n_samples, main.depth, main.duration, main.n_concrete_channels)
    if min(counts) < 1:
        raise CorruptFile(f"The image has no pixels: {main.width} x {main.height}, {main.n_planes} planes.")
    check_shown(main)
    if not 1 <= main.significant_bits <= main.bits:
        raise CorruptFile(f"{main.significant_bits} significant bits don't fit in {main.pixel_type}.")
    if (full.width, full.height, full.n_planes, full.n_samples) != (
        main.width,
        main.height,
        main.n_planes,
        main.n_samples,
    ):
        raise CorruptFile("The file says two different sizes of the image.")
    if full.channels and len(full.channels) != full.n_channels:
        raise CorruptFile(f"{len(full.channels)} channels are described, the image has {full.n_channels}.")
    _check_storable(image)
    tiers, base = image.pyramid.tiers, image.pyramid.base
    if (base.width, base.height) != (main.width, main.height):
        raise CorruptFile(
            f"The largest tier is {base.width} x {base.height}, the image {main.width} x {main.height}."
        )
    if any(min(tier.width, tier.height, tier.tile_width, tier.tile_height) < 1 for tier in tiers):
        raise CorruptFile("A tier of the pyramid is empty.")


def _check_storable(image: AbstractFormat) -> None:
    try:
        json.dumps(image.full_imd.as_dict(), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise CorruptFile(f"The metadata hold a value that can't be stored: {error}.") from error
    for key, _ in image.raw_metadata.items():
        if not isinstance(key, str):
            raise CorruptFile(f"The metadata hold a key that is no text: {key!r}.")


def _reading_all(image: AbstractFormat) -> Iterator[None]:
    """Try every reading, small tiers first; yields after each."""
    for tier in reversed(image.pyramid.tiers):
        for column, row in sorted(_places(tier)):
            _check_tile(image, Tile(tier, column, row), FIRST_PLANE)
            yield
    smallest = image.pyramid.tiers[-1]
    middle = Tile(smallest, smallest.columns // 2, smallest.rows // 2)
    for plane in _planes(image):
        if plane != FIRST_PLANE:
            _check_tile(image, middle, plane)
            yield
    _check_thumb(image)
    yield
    _check_window(image)
    yield
    _check_associated(image, "label", image.reader.read_label)
    yield
    _check_associated(image, "macro", image.reader.read_macro)
    yield
    _check_associated(image, "thumb", image.reader.read_thumbnail)
    yield


def _places(tier: Tier) -> set[tuple[int, int]]:
    """(column, row) of the four corners and of the middle."""
    right, bottom = tier.columns - 1, tier.rows - 1
    return {(0, 0), (right, 0), (0, bottom), (right, bottom), (tier.columns // 2, tier.rows // 2)}


def _planes(image: AbstractFormat) -> Iterator[Plane]:
    main = image.main_imd
    for t in range(main.duration):
        for z in range(main.depth):
            for c in range(main.n_concrete_channels):
                yield Plane(c, z, t)


def _check_tile(image: AbstractFormat, tile: Tile, plane: Plane) -> None:
    region = tile.region
    what = f"level {tile.tier.level}, tile ({tile.column}, {tile.row}), plane {plane}"
    if region.width * region.height <= LARGE_TILE:
        pixels = image.reader.read_tile(tile, plane.c, plane.z, plane.t)
    else:
        # The last rows: what is compressed as a whole is decoded to its end to give them.
        width, height = min(PART, region.width), min(PART, region.height)
        region = Region(region.right - width, region.bottom - height, width, height)
        pixels = image.reader.read_region(tile.tier, region, plane)
    _check_array(image, pixels, what, (region.height, region.width))


def _check_thumb(image: AbstractFormat) -> None:
    width, height = _fit(image.main_imd.width, image.main_imd.height)
    pixels = image.reader.read_thumb(width, height)
    _check_array(image, pixels, "the thumb")
    _check_large_enough(pixels, width, height, "the thumb")


def _check_window(image: AbstractFormat) -> None:
    main = image.main_imd
    region = Region(main.width // 4, main.height // 4, max(1, main.width // 2), max(1, main.height // 2))
    width, height = _fit(region.width, region.height)
    pixels = image.reader.read_window(region, width, height)
    _check_array(image, pixels, "a window")
    _check_large_enough(pixels, width, height, "a window")


def _check_large_enough(pixels: NDArray[Any], width: int, height: int, what: str) -> None:
    # A tier may be half a pixel short of its exact factor, see Pyramid.most_appropriate_tier.
    if pixels.shape[0] < height - 1 or pixels.shape[1] < width - 1:
        raise CorruptFile(
            f"Reading {what} gives {pixels.shape[1]} x {pixels.shape[0]} px; {width} x {height} were asked."
        )


def _check_associated(
    image: AbstractFormat, name: str, read: Callable[[int, int], NDArray[Any] | None]
) -> None:
    promised = any(associated.name == name for associated in image.full_imd.associated)
    pixels = read(PREVIEW, PREVIEW)
    if pixels is None and promised:
        raise CorruptFile(f"The {name} image that the file lists can't be read.")
    if pixels is not None and (pixels.ndim != 3 or pixels.size == 0):
        raise CorruptFile(f"The {name} image has no pixels.")


def _fit(width: int, height: int) -> tuple[int, int]:
    """The size within PREVIEW, never upsampled."""
    factor = max(1.0, width / PREVIEW, height / PREVIEW)
    return max(1, int(width / factor)), max(1, int(height / factor))


def _check_array(
    image: AbstractFormat, pixels: NDArray[Any], what: str, size: tuple[int, int] | None = None
) -> None:
    """`size` is (height, width) when it has to be met exactly."""
    main = image.main_imd
    shape = (*(size or pixels.shape[:2]), main.n_samples)
    if pixels.shape != shape or pixels.size == 0:
        raise CorruptFile(f"Reading {what} gives {pixels.shape}, where {shape} was promised.")
    if pixels.dtype != main.pixel_type:
        raise CorruptFile(f"Reading {what} gives {pixels.dtype}, where {main.pixel_type} was promised.")
    if not pixels.flags.c_contiguous:
        raise CorruptFile(f"Reading {what} gives an array that is not contiguous.")
