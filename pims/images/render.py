"""From a request for pixels to an encoded image.

A rectangle of the image is read from the stored tier that suits the output, shrunk while it is decoded
where that saves work, run through the pipeline, and encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pims.images.image import OpenedImage
from pims.images.reading import Abandoned, Reading, View
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.pyramid import Pyramid, Tier
from pims.processing.encode import encode, max_bits
from pims.processing.pipeline import plan, run
from pims.processing.request import AutoBound, DisplaySettings
from pims.processing.resize import resize

__all__ = [
    "RENDER_EPOCH",
    "AssociatedRequest",
    "RenderRequest",
    "ThumbRequest",
    "TileRequest",
    "WindowRequest",
    "needed_bytes",
    "render",
    "stored_tier",
    "stored_tile",
    "tile_pyramid",
]

RENDER_EPOCH = 2
"""Raised whenever the same request would give other pixels than before: it is part of every ETag."""
JPEG = "image/jpeg"
LOSSY = frozenset({JPEG, "image/jpg", "image/webp"})


def _never() -> bool:
    return False


class TileRequest(NamedTuple):
    """One tile of one tier. A tuple: it is made for every tile."""

    normalized: bool
    """Of the normalized pyramid, or of the stored one."""
    level: int
    column: int
    row: int
    display: DisplaySettings
    media_type: str

    def key(self) -> str:
        """Equal for requests that give the same image."""
        return f"{self.tier_key()}/{self.column}/{self.row}"

    def tier_key(self) -> str:
        """The part of the key that all tiles of the tier share."""
        kind = "normalized-tile" if self.normalized else "tile"
        return f"{kind}/{self.level}/{self.display}/{self.media_type}"


@dataclass(frozen=True, slots=True)
class ThumbRequest:
    """The whole image at a size, for human eyes: 8 bits."""

    width: int
    height: int
    display: DisplaySettings
    media_type: str

    def key(self) -> str:
        return f"thumb/{self.width}/{self.height}/{self.display}/{self.media_type}"


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """A rectangle of the image at a size, for processing: as many bits as image and encoding have."""

    region: Region
    """In pixels of `tier`."""
    tier: Tier
    width: int
    height: int
    """Size of the output."""
    display: DisplaySettings
    media_type: str

    def key(self) -> str:
        place = f"{self.region}@{self.tier.width}x{self.tier.height}"
        return f"window/{place}/{self.width}/{self.height}/{self.display}/{self.media_type}"


@dataclass(frozen=True, slots=True)
class AssociatedRequest:
    """A picture stored beside the image, at a size: 8 bits."""

    name: str
    width: int
    height: int
    media_type: str

    def key(self) -> str:
        return f"associated/{self.name}/{self.width}/{self.height}/{self.media_type}"


PlaneRequest = TileRequest | ThumbRequest | WindowRequest
RenderRequest = TileRequest | ThumbRequest | WindowRequest | AssociatedRequest


def tile_pyramid(image: OpenedImage, *, normalized: bool) -> Pyramid:
    """The pyramid whose tiles a request counts."""
    return image.normalized_pyramid if normalized else image.pyramid


def stored_tier(image: OpenedImage, request: TileRequest) -> Tier | None:
    """The tier whose stored tiles may be sent as they are for a request and all others of its tier.

    That takes a request for JPEG without any processing, and a tier with the same size and tiles.
    """
    if request.media_type != JPEG or image.metadata.pixel_type != "uint8":
        return None
    tier = _same_tiles(image, request)
    if tier is None or image.adjustment(request.display, AutoBound.AUTO_IMAGE, 8) is not None:
        return None
    return tier


def stored_tile(image: OpenedImage, request: TileRequest, *, may_block: bool = True) -> EncodedTile | None:
    """The tile as it is stored, when that is exactly what was asked.

    Raises BlockingIOError when `may_block` is false and the disk would have to be waited for; FileError.
    """
    tier = stored_tier(image, request)
    if tier is None:
        return None
    return image.reader.read_stored_tile(
        tier, request.column, request.row, image.default_plane, may_block=may_block
    )


def render(image: OpenedImage, request: RenderRequest, *, stop: Callable[[], bool] = _never) -> bytes:
    """Read, process and encode. Blocks: not for an event loop.

    Raises InvalidParameter, LimitExceeded, FileError, StorageError; Abandoned when `stop` says so.
    """
    if isinstance(request, AssociatedRequest):
        return _associated(image, request)
    if isinstance(request, TileRequest):
        equal = image.equal_tiers[request.level] if request.normalized else image.pyramid.tiers[request.level]
        if equal is not None:
            return _stored_pixels(image, request, equal)
    view = _view(image, request)
    default, bits = _intensities(image, request)
    adjust = image.adjustment(request.display, default, bits)
    reading = Reading.of(image, view)
    reading.check(image)
    pixels = reading.pixels(image, stop)
    steps = plan(adjust, crop=reading.crop, out_width=view.width, out_height=view.height)
    shown = run(pixels, steps)
    del pixels
    if stop():
        raise Abandoned
    return encode(shown, request.media_type)


def needed_bytes(image: OpenedImage, request: RenderRequest) -> int:
    """About what `render` needs at once, in bytes: pixels as they are read, as they come out, encoded."""
    if isinstance(request, AssociatedRequest):
        stored = (a.width * a.height for a in image.metadata.associated if a.name == request.name)
        return 3 * max((request.width * request.height, *stored))
    view = _view(image, request)
    reading = Reading.of(image, view)
    _, bits = _intensities(image, request)
    output = view.width * view.height * image.metadata.n_samples * bits // 8
    same_size = reading.crop is None and reading.size == (view.width, view.height)
    encoded = output // 4 if request.media_type in LOSSY else output  # noise can't be made smaller
    return reading.byte_size(image) + (0 if same_size else output) + encoded


def _intensities(image: OpenedImage, request: PlaneRequest) -> tuple[AutoBound | None, int]:
    """The bounds of intensities that were not asked for, and the bits of the output."""
    if not isinstance(request, WindowRequest):
        return AutoBound.AUTO_IMAGE, 8
    return None, min(max_bits(request.media_type), 16 if image.metadata.significant_bits > 8 else 8)


def _same_tiles(image: OpenedImage, request: TileRequest) -> Tier | None:
    """The stored tier whose pixels and tiles are those of the tier asked, when there is one."""
    return image.stored_tiers[request.level] if request.normalized else image.pyramid.tiers[request.level]


def _stored_pixels(image: OpenedImage, request: TileRequest, tier: Tier) -> bytes:
    """A tile of exactly the pixels that are stored: nothing to fit or to resize."""
    asked = image.normalized_pyramid.tiers[request.level] if request.normalized else tier
    region = asked.tile_region(request.column, request.row)
    adjust = image.adjustment(request.display, AutoBound.AUTO_IMAGE, 8)
    pixels = image.reader.read_region(tier, region, image.default_plane)
    steps = plan(adjust, crop=None, out_width=region.width, out_height=region.height)
    return encode(run(pixels, steps), request.media_type)


def _associated(image: OpenedImage, request: AssociatedRequest) -> bytes:
    pixels = image.read_associated(request.name, request.width, request.height)
    return encode(resize(pixels, request.width, request.height), request.media_type)


def _view(image: OpenedImage, request: PlaneRequest) -> View:
    """What is looked at, and how large it comes out."""
    if isinstance(request, TileRequest):
        tier = tile_pyramid(image, normalized=request.normalized).tiers[request.level]
        region = tier.tile_region(request.column, request.row)
        return View(tier, region, region.width, region.height, tier.scale_x, tier.scale_y)
    if isinstance(request, WindowRequest):
        return View.sized(request.tier, request.region, request.width, request.height)
    base = image.pyramid.base
    return View.sized(base, base.region, request.width, request.height)
