"""What an image says of itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pims.api.params.filepath import Filepath
from pims.api.responses import describe
from pims.api.schemas.envelope import Items
from pims.api.schemas.files import RepresentationInfo, RepresentationName, representations
from pims.api.schemas.image import AssociatedInfo, ChannelInfo, ImageFullInfo, ImageInfo, InstrumentInfo
from pims.api.schemas.problem import problems
from pims.api.schemas.pyramid import PyramidInfo
from pims.errors import RepresentationNotFound
from pims.images.image import OpenedImage

__all__ = ["router"]

IMAGE = "/image/{filepath:path}"
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already."}}

router = APIRouter(tags=["Metadata"], responses={**NOT_MODIFIED, **problems(404, 409, 422, 503)})


@router.get(f"{IMAGE}/info", summary="Everything about an image", response_model=ImageFullInfo)
def full_info(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, _full_info)


@router.get(f"{IMAGE}/info/image", summary="Size, type and calibration", response_model=ImageInfo)
def image_info(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, _image_info)


@router.get(f"{IMAGE}/info/channels", summary="The channels", response_model=Items[ChannelInfo])
def channels(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, lambda image: Items.of(_channels(image)))


@router.get(f"{IMAGE}/info/normalized-pyramid", summary="The normalized pyramid", response_model=PyramidInfo)
def normalized_pyramid(request: Request, filepath: Filepath) -> Response:
    """Every tier is half the one below, rounded up, in tiles of 256 pixels."""
    return describe(request, filepath, lambda image: PyramidInfo.of(image.normalized_pyramid))


@router.get(f"{IMAGE}/info/instrument", summary="Microscope and objective", response_model=InstrumentInfo)
def instrument(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, lambda image: InstrumentInfo.of(image.metadata))


@router.get(f"{IMAGE}/info/associated", summary="Label, macro, thumb", response_model=Items[AssociatedInfo])
def associated(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, lambda image: Items.of(_associated(image)))


@router.get(
    f"{IMAGE}/info/representations",
    summary="The files an image has",
    response_model=Items[RepresentationInfo],
)
def list_representations(request: Request, filepath: Filepath) -> Response:
    return describe(request, filepath, lambda image: Items.of(_representations(image)))


@router.get(
    f"{IMAGE}/info/representations/{{representation}}",
    summary="The file that has a role",
    response_model=RepresentationInfo,
)
def representation(request: Request, filepath: Filepath, representation: RepresentationName) -> Response:
    def view(image: OpenedImage) -> RepresentationInfo:
        for found in _representations(image):
            if found.role == representation:
                return found
        raise RepresentationNotFound(representation)

    return describe(request, filepath, view)


def _image_info(image: OpenedImage) -> ImageInfo:
    return ImageInfo.of(image.manifest.original_format, image.metadata)


def _channels(image: OpenedImage) -> list[ChannelInfo]:
    return [ChannelInfo.of(channel) for channel in image.metadata.channels]


def _associated(image: OpenedImage) -> list[AssociatedInfo]:
    return [AssociatedInfo.of(associated) for associated in image.metadata.associated]


def _representations(image: OpenedImage) -> list[RepresentationInfo]:
    return list(representations(image.directory, image.manifest, image.pyramid))


def _full_info(image: OpenedImage) -> ImageFullInfo:
    return ImageFullInfo(
        image=_image_info(image),
        instrument=InstrumentInfo.of(image.metadata),
        associated=_associated(image),
        channels=_channels(image),
        representations=_representations(image),
    )
