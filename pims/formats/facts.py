"""What a format states about itself: the one source of `/formats`, `pims formats` and the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pims.formats.abstract import AbstractFormat

__all__ = ["Axis", "ConversionClass", "FileGrouping", "FormatFacts", "in_words"]


class Axis(Enum):
    """What several planes of an image may differ by."""

    CHANNEL = "c"
    FOCUS = "z"
    TIME = "t"


class FileGrouping(Enum):
    """What one image is on disk."""

    FILE = "single file"
    FOLDER = "folder"


class ConversionClass(Enum):
    """What it takes to serve an image."""

    NATIVE = "native"
    """It is always served from its own file."""
    LIGHT = "light"
    """A large one is converted at import, at the speed of its decoder."""
    HEAVY = "heavy"
    """A large one is converted at import, which takes long or much memory: it is decoded as a whole."""


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """All that can be said of a format without a file of it."""

    id: str
    name: str
    remarks: str
    extensions: tuple[str, ...]
    """For information: no format is recognised by them."""
    media_type: str
    plugin: str
    """The package that brought it."""
    readable: bool
    writable: bool
    importable: bool
    convertible: bool
    conversion: str
    """One of ConversionClass."""
    bits: tuple[int, ...]
    """Bits of the integer samples it reads."""
    floating_point: bool
    samples: tuple[int, ...]
    """Of a pixel, as they are shown: alpha does not count."""
    planes: tuple[str, ...]
    """Several channels (c), focal planes (z), time points (t) in one image; none of them: one plane."""
    brightfield: bool
    """Whether its images may be of stained tissue under white light."""
    grouping: str
    """One of FileGrouping."""

    @classmethod
    def of(cls, fmt: type[AbstractFormat]) -> FormatFacts:
        return cls(
            id=fmt.get_identifier(),
            name=fmt.get_name(),
            remarks=fmt.get_remarks(),
            extensions=fmt.extensions,
            media_type=fmt.media_type,
            plugin=fmt.get_plugin_name(),
            readable=fmt.is_readable(),
            writable=fmt.is_writable(),
            importable=fmt.is_importable(),
            convertible=fmt.is_convertible(),
            conversion=fmt.get_conversion_class().value,
            bits=fmt.bits,
            floating_point=fmt.floating_point,
            samples=fmt.samples,
            planes=tuple(axis.value for axis in fmt.planes),
            brightfield=fmt.brightfield,
            grouping=fmt.grouping.value,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def in_words(numbers: Iterable[int]) -> str:
    """Whole numbers as people write them: `1 to 8, 16`."""
    runs = groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0])
    parts = []
    for _, pairs in runs:
        run = [number for _, number in pairs]
        parts.append(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)))
    return ", ".join(parts)
