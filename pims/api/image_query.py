"""The questions clients ask of an image, put together from path, query, headers and body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.types import Scope

from pims.api.answer import Conditions, ImageQuery
from pims.api.negotiation import Preference, negotiate
from pims.api.params.display import DisplayQuery
from pims.api.params.size import OutputSize, SizeLimits, SizeSafety
from pims.api.params.tile import TileAddress
from pims.api.params.window import WindowArea
from pims.errors import InvalidParameter, RepresentationNotFound
from pims.images.image import OpenedImage
from pims.images.render import AssociatedRequest, ThumbRequest, TileRequest, WindowRequest, tile_pyramid
from pims.model.pyramid import Pyramid

__all__ = [
    "ClientHeaders",
    "associated_query",
    "resized_query",
    "thumb_query",
    "tile_query",
    "whole",
    "window_query",
]


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ClientHeaders:
    """The request headers that matter to an image."""

    accept: str | None = None
    if_none_match: bytes | None = None
    no_store: bool = False
    size_safety: SizeSafety | None = None

    @classmethod
    def of(cls, scope: Scope) -> ClientHeaders:
        """Raises InvalidParameter for a wrong X-Image-Size-Safety."""
        accept: str | None = None
        if_none_match: bytes | None = None
        no_store, safety = False, None
        for name, value in scope["headers"]:
            if name == b"accept":
                text = value.decode("latin-1")
                accept = text if accept is None else f"{accept},{text}"
            elif name == b"if-none-match":
                if_none_match = value if if_none_match is None else if_none_match + b"," + value
            elif name == b"cache-control":
                no_store = no_store or b"no-store" in value.lower()
            elif name == b"x-image-size-safety":
                safety = _safety(value.decode("latin-1"))
        return cls(accept, if_none_match, no_store, safety)

    def conditions(self, extension: str | None, told: Mapping[str, str] = NOTHING) -> Conditions:
        """What decides about the answer besides the question; `told` are further headers of it."""
        return Conditions(extension is None, self.if_none_match, self.no_store, told)


def tile_query(
    headers: ClientHeaders, filepath: str, address: TileAddress, display: DisplayQuery, extension: str | None
) -> ImageQuery:
    """One tile. Raises NotAcceptable."""
    media_type = negotiate(extension, headers.accept, Preference.VISUALISATION)

    def make_request(image: OpenedImage) -> TileRequest:
        display.check_supported(image.metadata)
        level, column, row = address.locate(tile_pyramid(image, normalized=address.normalized))
        return TileRequest(address.normalized, level, column, row, display.settings, media_type)

    return ImageQuery(filepath, make_request, headers.conditions(extension))


def thumb_query(
    headers: ClientHeaders,
    filepath: str,
    size: OutputSize,
    limits: SizeLimits,
    display: DisplayQuery,
    extension: str | None,
) -> ImageQuery:
    """The whole image at a size, for people. Raises NotAcceptable."""
    media_type = negotiate(extension, headers.accept, Preference.VISUALISATION)
    told: dict[str, str] = {}

    def make_request(image: OpenedImage) -> ThumbRequest:
        display.check_supported(image.metadata)
        base = image.pyramid.base
        width, height = size.resolve(base.region, base, image.pyramid)
        width, height, resized = limits.apply(width, height, headers.size_safety)
        told.update(resized)
        return ThumbRequest(width, height, display.settings, media_type)

    return ImageQuery(filepath, make_request, headers.conditions(extension, told))


def resized_query(
    headers: ClientHeaders,
    filepath: str,
    size: OutputSize,
    limits: SizeLimits,
    display: DisplayQuery,
    extension: str | None,
) -> ImageQuery:
    """The whole image at a size, for programs. Raises NotAcceptable."""
    media_type = negotiate(extension, headers.accept, Preference.PROCESSING)
    told: dict[str, str] = {}

    def make_request(image: OpenedImage) -> WindowRequest:
        display.check_supported(image.metadata)
        base = image.pyramid.base
        width, height = size.resolve(base.region, base, image.pyramid)
        width, height, resized = limits.apply(width, height, headers.size_safety)
        told.update(resized)
        return WindowRequest(base.region, base, width, height, display.settings, media_type)

    return ImageQuery(filepath, make_request, headers.conditions(extension, told))


def associated_query(
    headers: ClientHeaders, filepath: str, name: str, size: OutputSize, limits: SizeLimits
) -> ImageQuery:
    """The picture of the label or of the whole glass slide. Raises NotAcceptable."""
    media_type = negotiate(None, headers.accept, Preference.VISUALISATION)
    told: dict[str, str] = {}

    def make_request(image: OpenedImage) -> AssociatedRequest:
        stored = next((found for found in image.metadata.associated if found.name == name), None)
        if stored is None:
            raise RepresentationNotFound(name)
        tier = Pyramid.of([(stored.width, stored.height, stored.width, stored.height)]).base
        width, height = size.resolve(tier.region, tier, image.pyramid)
        width, height, resized = limits.apply(width, height, headers.size_safety)
        told.update(resized)
        return AssociatedRequest(name, width, height, media_type)

    return ImageQuery(filepath, make_request, headers.conditions(None, told))


def whole(query: ImageQuery) -> ImageQuery:
    """The same asked by POST: such an answer is always given whole."""
    return query._replace(conditions=query.conditions._replace(if_none_match=None))


def window_query(
    headers: ClientHeaders,
    filepath: str,
    area: WindowArea,
    size: OutputSize,
    limits: SizeLimits,
    display: DisplayQuery,
    extension: str | None,
) -> ImageQuery:
    """A rectangle at a size. Raises NotAcceptable."""
    media_type = negotiate(extension, headers.accept, Preference.VISUALISATION)
    told: dict[str, str] = {}

    def make_request(image: OpenedImage) -> WindowRequest:
        display.check_supported(image.metadata)
        tier, region = area.locate(image.pyramid)
        width, height = size.resolve(region, tier, image.pyramid)
        width, height, resized = limits.apply(width, height, headers.size_safety)
        told.update(resized)
        return WindowRequest(region, tier, width, height, display.settings, media_type)

    return ImageQuery(filepath, make_request, headers.conditions(extension, told))


def _safety(text: str) -> SizeSafety:
    try:
        return SizeSafety(text.strip())
    except ValueError:
        choices = ", ".join(SizeSafety)
        raise InvalidParameter("X-Image-Size-Safety", f"must be one of {choices}", text, "header") from None
