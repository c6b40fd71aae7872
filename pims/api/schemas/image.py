"""What an image says of itself, as clients see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from pims.api.schemas.files import RepresentationInfo
from pims.model.metadata import AssociatedImage, Channel, ImageMetadata

__all__ = [
    "AssociatedInfo",
    "ChannelInfo",
    "ImageFullInfo",
    "ImageInfo",
    "InstrumentInfo",
    "MicroscopeInfo",
    "ObjectiveInfo",
]


class ImageInfo(BaseModel):
    """Size, type and calibration."""

    original_format: str
    width: int
    height: int
    depth: int = Field(description="Focal planes.")
    duration: int = Field(description="Time points.")
    physical_size_x: float | None = Field(description="Micrometres.")
    physical_size_y: float | None = Field(description="Micrometres.")
    physical_size_z: float | None = Field(description="Micrometres.")
    frame_rate: float | None = Field(description="Hertz.")
    n_channels: int = Field(description="n_concrete_channels x n_samples.")
    n_concrete_channels: int
    n_samples: int
    n_planes: int = Field(description="n_concrete_channels x depth x duration.")
    are_rgb_planes: bool
    n_distinct_channels: int = Field(description="Always 1; kept for clients of older servers.")
    acquired_at: datetime | None
    description: str | None
    pixel_type: str
    significant_bits: int
    bits: int

    @classmethod
    def of(cls, original_format: str, metadata: ImageMetadata) -> ImageInfo:
        return cls(
            original_format=original_format,
            width=metadata.width,
            height=metadata.height,
            depth=metadata.depth,
            duration=metadata.duration,
            physical_size_x=_rounded(metadata.physical_size_x_um),
            physical_size_y=_rounded(metadata.physical_size_y_um),
            physical_size_z=_rounded(metadata.physical_size_z_um),
            frame_rate=metadata.frame_rate_hz,
            n_channels=metadata.n_channels,
            n_concrete_channels=metadata.n_concrete_channels,
            n_samples=metadata.n_samples,
            n_planes=metadata.n_planes,
            are_rgb_planes=metadata.n_samples > 1,
            n_distinct_channels=1,
            acquired_at=metadata.acquired_at,
            description=metadata.description,
            pixel_type=metadata.pixel_type,
            significant_bits=metadata.significant_bits,
            bits=metadata.bits,
        )


class MicroscopeInfo(BaseModel):
    model: str | None


class ObjectiveInfo(BaseModel):
    nominal_magnification: float | None
    calibrated_magnification: float | None


class InstrumentInfo(BaseModel):
    """What the image was taken with."""

    microscope: MicroscopeInfo
    objective: ObjectiveInfo

    @classmethod
    def of(cls, metadata: ImageMetadata) -> InstrumentInfo:
        return cls(
            microscope=MicroscopeInfo(model=metadata.microscope_model),
            objective=ObjectiveInfo(
                nominal_magnification=metadata.objective.nominal_magnification,
                calibrated_magnification=metadata.objective.calibrated_magnification,
            ),
        )


class ChannelInfo(BaseModel):
    """One apparent channel."""

    index: int
    suggested_name: str | None
    emission_wavelength: float | None = Field(description="Nanometres.")
    excitation_wavelength: float | None = Field(description="Nanometres.")
    color: str | None = Field(description="Hexadecimal, as short as possible: #f00.")

    @classmethod
    def of(cls, channel: Channel) -> ChannelInfo:
        return cls(
            index=channel.index,
            suggested_name=channel.suggested_name,
            emission_wavelength=channel.emission_wavelength_nm,
            excitation_wavelength=channel.excitation_wavelength_nm,
            color=_short_hex(channel.color),
        )


class AssociatedInfo(BaseModel):
    """A small picture stored beside the image."""

    name: str = Field(description="macro, label or thumb.")
    width: int
    height: int
    n_channels: int

    @classmethod
    def of(cls, associated: AssociatedImage) -> AssociatedInfo:
        return cls(
            name=associated.name,
            width=associated.width,
            height=associated.height,
            n_channels=associated.n_channels,
        )


class ImageFullInfo(BaseModel):
    """Everything at once; the lists are bare here."""

    image: ImageInfo
    instrument: InstrumentInfo
    associated: list[AssociatedInfo]
    channels: list[ChannelInfo]
    representations: list[RepresentationInfo]


def _rounded(micrometres: float | None) -> float | None:
    return None if micrometres is None else round(micrometres, 6)


def _short_hex(color: str | None) -> str | None:
    """#ff0000 as #f00; #123456 has no shorter form."""
    if color is not None and len(color) == 7 and color[1::2] == color[2::2]:
        return "#" + color[1::2]
    return color
