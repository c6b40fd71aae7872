"""What an image says of itself; units are in the names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["AssociatedImage", "Channel", "ImageMetadata", "Objective"]


NUMBER_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32", "float64")
FIELD_TYPES: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("width", "height", "significant_bits", "n_samples", "depth", "duration"), int),
    (("n_concrete_channels", "orientation"), int),
    (("physical_size_x_um", "physical_size_y_um", "physical_size_z_um", "frame_rate_hz"), float | int | None),
    (("description", "microscope_model"), str | None),
    (("brightfield", "lossy", "subsampled"), bool),
)
"""What fields of ImageMetadata must be when they come from outside."""
MAX_COUNT = 1 << 31
LARGEST = {"significant_bits": 64, "n_samples": 64, "n_concrete_channels": 65_536, "orientation": 255}


@dataclass(frozen=True, slots=True)
class Channel:
    """One apparent channel."""

    index: int
    suggested_name: str | None = None
    color: str | None = None
    """#rrggbb, or none when the file and the name suggest none."""
    emission_wavelength_nm: float | None = None
    excitation_wavelength_nm: float | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective the image was taken with."""

    nominal_magnification: float | None = None
    calibrated_magnification: float | None = None


@dataclass(frozen=True, slots=True)
class AssociatedImage:
    """A small picture stored beside the image."""

    name: str
    """label, macro or thumb."""
    width: int
    height: int
    n_channels: int


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """Size, type and calibration of one image."""

    width: int
    height: int
    pixel_type: str
    """numpy name: uint8, uint16 ..."""
    significant_bits: int
    n_samples: int
    """Samples of one pixel of one plane: 3 for RGB, 1 for grey. Alpha does not count."""
    depth: int = 1
    duration: int = 1
    n_concrete_channels: int = 1
    channels: tuple[Channel, ...] = ()
    """One per apparent channel: concrete channel * n_samples + sample."""
    brightfield: bool = False
    lossy: bool = False
    """Whether the pixels were already compressed with loss (decides the codec of a conversion)."""
    subsampled: bool = False
    """Whether chroma was stored at a lower resolution."""
    physical_size_x_um: float | None = None
    physical_size_y_um: float | None = None
    physical_size_z_um: float | None = None
    frame_rate_hz: float | None = None
    acquired_at: datetime | None = None
    description: str | None = None
    orientation: int = 1
    """EXIF/TIFF orientation tag; reported only, pixels stay as stored."""
    microscope_model: str | None = None
    objective: Objective = Objective()
    associated: tuple[AssociatedImage, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the user should know of how this file was understood."""

    @property
    def n_channels(self) -> int:
        """Apparent channels."""
        return self.n_concrete_channels * self.n_samples

    @property
    def n_planes(self) -> int:
        return self.n_concrete_channels * self.depth * self.duration

    @property
    def bits(self) -> int:
        """Bits of the stored type."""
        return int("".join(filter(str.isdigit, self.pixel_type)))

    @property
    def is_float(self) -> bool:
        """Whether intensities are real numbers, of any size, among which there may be NaN and infinity."""
        return self.pixel_type.startswith("float")

    @property
    def full_range(self) -> tuple[int, int] | None:
        """The lowest and highest intensity that the significant bits can hold; none for real numbers."""
        if self.is_float:
            return None
        if self.pixel_type.startswith("int"):
            half = 1 << (self.significant_bits - 1)
            return -half, half - 1
        return 0, (1 << self.significant_bits) - 1

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is the inverse."""
        values = dataclasses.asdict(self)
        values["acquired_at"] = self.acquired_at.isoformat() if self.acquired_at else None
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageMetadata:
        """Inverse of `as_dict`; unknown keys are left out, so that an older server reads a newer manifest.

        Raises ValueError when the values are not those of an image.
        """
        try:
            metadata = cls._from_dict(values)
            metadata._check_types()
            return metadata
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are not the metadata of an image: {error}") from error

    def _check_types(self) -> None:
        """Raises TypeError: what comes from a disk may be anything."""
        for names, kind in FIELD_TYPES:
            for name in names:
                value = getattr(self, name)
                if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 1)):
                    raise TypeError(f"{name} is {value!r}")
                if kind is int and value > LARGEST.get(name, MAX_COUNT):
                    raise TypeError(f"{name} is {value}")
        if self.pixel_type not in NUMBER_TYPES:
            raise TypeError(f"pixel_type is {self.pixel_type!r}")

    @classmethod
    def _from_dict(cls, values: dict[str, Any]) -> ImageMetadata:
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}
        kept["channels"] = tuple(Channel(**channel) for channel in kept.get("channels", ()))
        kept["associated"] = tuple(AssociatedImage(**image) for image in kept.get("associated", ()))
        kept["objective"] = Objective(**kept.get("objective", {}))
        kept["warnings"] = tuple(kept.get("warnings", ()))
        if kept.get("acquired_at") is not None:
            kept["acquired_at"] = datetime.fromisoformat(kept["acquired_at"])
        return cls(**kept)
