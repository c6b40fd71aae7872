"""From a request for pixels to an encoded image.

A rectangle of the image is read from the stored tier that suits the output, shrunk while it is decoded
where that saves work, run through the pipeline, and encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pims.errors import LimitExceeded
from pims.formats.abstract import covering_region, reduction_for
from pims.images.image import OpenedImage
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.pyramid import Pyramid, Tier
from pims.processing.encode import encode, max_bits
from pims.processing.pipeline import plan, run
from pims.processing.request import AutoBound, DisplaySettings

__all__ = [
    "RENDER_EPOCH",
    "RenderRequest",
    "ThumbRequest",
    "TileRequest",
    "WindowRequest",
    "render",
    "stored_tier",
    "stored_tile",
    "tile_pyramid",
]

RENDER_EPOCH = 1
"""Raised whenever the same request would give other pixels than before: it is part of every ETag."""
MAX_READ_BYTES = 2 << 30
"""Decoded bytes one request may need at once."""
JPEG = "image/jpeg"


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


RenderRequest = TileRequest | ThumbRequest | WindowRequest


def tile_pyramid(image: OpenedImage, *, normalized: bool) -> Pyramid:
    """The pyramid whose tiles a request counts."""
    return image.normalized_pyramid if normalized else image.pyramid


def stored_tier(image: OpenedImage, request: TileRequest) -> Tier | None:
    """The tier whose stored tiles may be sent as they are for a request and all others of its tier.

    That takes a request for JPEG without any processing, and a tier with the same size and tiles.
    """
    if request.media_type != JPEG or image.metadata.bits != 8:
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


def render(image: OpenedImage, request: RenderRequest) -> bytes:
    """Read, process and encode. Blocks: not for an event loop.

    Raises InvalidParameter, LimitExceeded, FileError, StorageError.
    """
    match request:
        case TileRequest():
            same = _same_tiles(image, request)
            if same is not None:
                return _stored_pixels(image, request, same)
            tier = tile_pyramid(image, normalized=request.normalized).tiers[request.level]
            region = tier.tile_region(request.column, request.row)
            view = _View(tier, region, region.width, region.height, tier.scale_x, tier.scale_y)
            return _encoded(image, view, request.display, AutoBound.AUTO_IMAGE, 8, request.media_type)
        case ThumbRequest():
            view = _View.sized(image.pyramid.base, image.pyramid.base.region, request.width, request.height)
            return _encoded(image, view, request.display, AutoBound.AUTO_IMAGE, 8, request.media_type)
        case WindowRequest():
            view = _View.sized(request.tier, request.region, request.width, request.height)
            bits = min(max_bits(request.media_type), 16 if image.metadata.significant_bits > 8 else 8)
            return _encoded(image, view, request.display, None, bits, request.media_type)


def _same_tiles(image: OpenedImage, request: TileRequest) -> Tier | None:
    """The stored tier whose pixels and tiles are those of the tier asked, when there is one."""
    return image.stored_tiers[request.level] if request.normalized else image.pyramid.tiers[request.level]


def _stored_pixels(image: OpenedImage, request: TileRequest, tier: Tier) -> bytes:
    """A tile of exactly the pixels that are stored: nothing to fit or to resize."""
    region = tier.tile_region(request.column, request.row)
    _check_read(image, region.width * region.height)
    adjust = image.adjustment(request.display, AutoBound.AUTO_IMAGE, 8)
    pixels = image.reader.read_region(tier, region, image.default_plane)
    steps = plan(adjust, crop=None, out_width=region.width, out_height=region.height)
    return encode(run(pixels, steps), request.media_type)


@dataclass(frozen=True, slots=True)
class _View:
    """What is looked at and how large it comes out."""

    tier: Tier
    region: Region
    """In pixels of `tier`."""
    width: int
    height: int
    scale_x: float
    """Base pixels that one pixel of the output may cover at most when it is read."""
    scale_y: float

    @classmethod
    def sized(cls, tier: Tier, region: Region, width: int, height: int) -> _View:
        """For an output of any size: one that fits a tier but for half a pixel is read from that tier,
        whose size was rounded."""
        if (width, height) == (region.width, region.height):
            return cls(tier, region, width, height, tier.scale_x, tier.scale_y)
        scale_x = region.width * tier.scale_x / max(width - 0.5, 0.5)
        scale_y = region.height * tier.scale_y / max(height - 0.5, 0.5)
        return cls(tier, region, width, height, scale_x, scale_y)


def _encoded(
    image: OpenedImage,
    view: _View,
    display: DisplaySettings,
    default: AutoBound | None,
    output_bits: int,
    media_type: str,
) -> bytes:
    adjust = image.adjustment(display, default, output_bits)
    pixels, crop = _read(image, view)
    steps = plan(adjust, crop=crop, out_width=view.width, out_height=view.height)
    return encode(run(pixels, steps), media_type)


def _read(image: OpenedImage, view: _View) -> tuple[NDArray[Any], tuple[float, float, float, float] | None]:
    """Pixels that hold the view, and the rectangle of them that is the view (None: all of them)."""
    tier = image.pyramid.most_appropriate_tier(view.scale_x, view.scale_y)
    reduction = reduction_for(tier, view.scale_x, view.scale_y)
    step_x, step_y = view.tier.scale_x / tier.scale_x, view.tier.scale_y / tier.scale_y
    # Both sizes were rounded, maybe in opposite directions: what would lie mostly beyond the edge of the
    # tier is fitted to it.
    if (view.region.left + view.region.right) * step_x > 2 * tier.width:
        step_x = view.tier.factor_x / tier.factor_x
    if (view.region.top + view.region.bottom) * step_y > 2 * tier.height:
        step_y = view.tier.factor_y / tier.factor_y
    left, top = view.region.left * step_x, view.region.top * step_y
    right, bottom = view.region.right * step_x, view.region.bottom * step_y
    # Between stored pixels, the pixels around the rectangle count as well: tiles then join without a seam.
    margin = 0 if left.is_integer() and top.is_integer() else reduction
    region = covering_region(tier, reduction, left - margin, top - margin, right + margin, bottom + margin)
    _check_read(image, region.width * region.height // reduction**2)
    pixels = image.reader.read_region(tier, region, image.default_plane, reduction)
    crop = (
        (left - region.left) / reduction,
        (top - region.top) / reduction,
        (right - left) / reduction,
        (bottom - top) / reduction,
    )
    aligned = abs(crop[0]) < 1e-3 and abs(crop[1]) < 1e-3
    whole = view.region == image.pyramid.base.region  # every tier shows it, give or take its rounding
    if whole or (aligned and pixels.shape[:2] == (view.height, view.width)):
        return pixels, None  # the last row and column may stand for less than a whole pixel
    return pixels, crop


def _check_read(image: OpenedImage, pixel_count: int) -> None:
    needed = pixel_count * image.metadata.n_samples * image.metadata.bits // 8
    if needed > MAX_READ_BYTES:
        raise LimitExceeded(
            f"Reading this part of the image at this size needs {needed >> 20} MiB at once; "
            "ask for a smaller part, or for a larger output of a smaller part."
        )
