"""The plug-in API: what a format is made of.

A format is five small classes. The checker recognises a file, the parser says what it holds, the reader
gives its pixels, the convertor says what it becomes when it can't be read fast, the histogram reader
gives a histogram stored in the file. `XYZFormat` names them and answers questions about itself::

    class XYZFormat(AbstractFormat):
        checker_class = XYZChecker
        parser_class = XYZParser
        reader_class = XYZReader

Only `AbstractReader.read_region` and `AbstractParser.parse_main_metadata` have to be written; the rest
has defaults on top of them. Nothing here imports a codec.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import TYPE_CHECKING, Any, ClassVar

from pims.cache.object import SimpleDataCache, cached_property
from pims.formats.engines.tile_cache import TileCache
from pims.formats.facts import Axis, ConversionClass, FileGrouping
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.image_ref import ImageRef
from pims.model.limits import Limits
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier, normalized_pyramid
from pims.model.source import ByteSource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pims.formats.probe import Probe

__all__ = [
    "API_VERSION",
    "AbstractChecker",
    "AbstractConvertor",
    "AbstractFormat",
    "AbstractHistogramReader",
    "AbstractParser",
    "AbstractReader",
    "DefaultHistogramReader",
    "ReadContext",
    "SignatureChecker",
    "Tile",
    "covering_region",
    "reduction_for",
]

API_VERSION = 1
"""Raised when a plug-in written for the version before would no longer work."""

MAX_REDUCTION = 8
"""The largest factor a reader is asked to shrink by while decoding (what a JPEG decoder can do)."""


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What the process lends to every format it opens."""

    limits: Limits = field(default_factory=Limits)
    tile_cache: TileCache = field(default_factory=TileCache)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of one tier."""

    tier: Tier
    column: int
    row: int

    @property
    def region(self) -> Region:
        """Its pixels in the tier, cut at the edges."""
        return self.tier.tile_region(self.column, self.row)


class AbstractChecker(ABC):
    """Recognises the files of one format."""

    @classmethod
    @abstractmethod
    def match(cls, probe: Probe) -> bool:
        """Whether the file is of this format. Reads as little as possible; a broken file is no error here."""


class SignatureChecker(AbstractChecker):
    """Recognises a format by its first bytes."""

    signatures: ClassVar[tuple[bytes, ...]] = ()

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return probe.signature.startswith(cls.signatures)


class AbstractParser(ABC):
    """Says what an image holds. Made by its format, used while the format is open."""

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        self.format = format

    @abstractmethod
    def parse_main_metadata(self) -> ImageMetadata:
        """What is needed to read pixels: sizes, type, channels. Raises FileError."""

    def parse_known_metadata(self) -> ImageMetadata:
        """The main metadata completed with what people want to know: calibration, objective, dates ..."""
        return self.format.main_imd

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        """Everything else the file says, by `NAMESPACE.Key`."""
        return {}

    def parse_pyramid(self) -> Pyramid:
        """The stored tiers. By default one tier of one tile."""
        width, height = self.format.main_imd.width, self.format.main_imd.height
        return Pyramid.of([(width, height, width, height)])


class AbstractReader(ABC):
    """Gives the pixels of an image. Made by its format, closed with it, called from any thread.

    Every array is C-contiguous, (height, width, samples), native type, samples in stored order, no alpha.
    """

    thread_safe: ClassVar[bool] = True
    """Whether several threads may read at once; if not, images are read in a process of their own."""
    trusted: ClassVar[bool] = True
    """Whether its codec may be run in the server on files that were checked at import; likewise."""

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        self.format = format

    @abstractmethod
    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        """The pixels of `region` of `tier`, shrunk by `reduction`.

        Parameters
        ----------
        region : in pixels of `tier`, inside it; its left and top are multiples of `reduction`
        reduction : 1, 2, 4 or 8; each output pixel is about the mean of reduction x reduction stored ones

        Returns
        -------
        array (ceil(height / reduction), ceil(width / reduction), samples): read-only when it is shared with
        anything, otherwise the caller may overwrite it

        Raises
        ------
        CorruptFile, UnsupportedFeature, LimitExceeded, StorageError
        """

    def read_planes(
        self, region: Region, tier: Tier, planes: Sequence[Plane], reduction: int = 1
    ) -> NDArray[Any]:
        """The same region of several planes, stacked: (planes, height, width, samples)."""
        import numpy as np

        return np.stack([self.read_region(tier, region, plane, reduction) for plane in planes])

    def read_tile(
        self, tile: Tile, c: int | None = None, z: int | None = None, t: int | None = None
    ) -> NDArray[Any]:
        """One tile of one tier, cut at the edges."""
        return self.read_region(tile.tier, tile.region, Plane(c or 0, z or 0, t or 0))

    def read_window(
        self,
        region: Region,
        out_width: int,
        out_height: int,
        c: int | None = None,
        z: int | None = None,
        t: int | None = None,
    ) -> NDArray[Any]:
        """A rectangle of the base, from the tier that suits an output of that size.

        Returns an array as large as asked or larger, never smaller (but where the base itself is smaller).
        """
        scale_x, scale_y = region.width / out_width, region.height / out_height
        tier = self.format.pyramid.most_appropriate_tier(scale_x, scale_y)
        reduction = reduction_for(tier, scale_x, scale_y)
        inner = covering_region(
            tier,
            reduction,
            region.left / tier.scale_x,
            region.top / tier.scale_y,
            region.right / tier.scale_x,
            region.bottom / tier.scale_y,
        )
        return self.read_region(tier, inner, Plane(c or 0, z or 0, t or 0), reduction)

    def read_thumb(
        self,
        out_width: int,
        out_height: int,
        precomputed: bool | None = None,
        c: int | None = None,
        z: int | None = None,
        t: int | None = None,
    ) -> NDArray[Any]:
        """The whole image, at least that large."""
        return self.read_window(self.format.pyramid.base.region, out_width, out_height, c, z, t)

    def read_stored_tile(
        self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
    ) -> EncodedTile | None:
        """The stored bytes of a tile as a complete image file, when they show exactly what `read_tile` reads.

        None when they don't (another codec, more than 8 bits, an edge tile with padding). Raises
        BlockingIOError when `may_block` is false and the disk would have to be waited for.
        """
        return None

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        """The picture of the slide's label, when there is one."""
        return None

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        """The picture of the whole glass slide, when there is one."""
        return None

    def read_thumbnail(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        """The small picture of the image that the file itself holds, when there is one."""
        return None

    def close(self) -> None:
        """Give back what the reader holds. The source is closed by who opened it."""


class AbstractConvertor:
    """Says what an image becomes when it can't be read fast as it is."""

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        self.format = format

    def conversion_format(self) -> str:
        """Identifier of the format to convert to."""
        return "PYRTIFF"

    def convert(self, destination: Path) -> bool:
        """Write the conversion. False leaves it to the importer, which streams pixels from the reader."""
        return False


class AbstractHistogramReader(ABC):
    """Gives a histogram that the file itself holds."""

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        self.format = format

    @abstractmethod
    def channel_histograms(self) -> NDArray[Any] | None:
        """Counts (apparent channel, intensity), or None."""


class DefaultHistogramReader(AbstractHistogramReader):
    """For the formats that hold no histogram: it is computed at import."""

    def channel_histograms(self) -> NDArray[Any] | None:
        return None


class AbstractFormat(SimpleDataCache):
    """One opened image of one file, and the class facts about its format.

    Parameters
    ----------
    source : the bytes; closed by the caller, after `close`
    series : which image of the file
    context : limits and caches of the process
    """

    checker_class: ClassVar[type[AbstractChecker]]
    parser_class: ClassVar[type[AbstractParser]]
    reader_class: ClassVar[type[AbstractReader]]
    convertor_class: ClassVar[type[AbstractConvertor] | None] = None
    histogram_reader_class: ClassVar[type[AbstractHistogramReader]] = DefaultHistogramReader

    name: ClassVar[str] = ""
    """For people; by default made of the class name."""
    remarks: ClassVar[str] = ""
    extensions: ClassVar[tuple[str, ...]] = ()
    """For information: no format is recognised by them."""
    media_type: ClassVar[str] = "application/octet-stream"
    revision: ClassVar[int] = 1
    """Raised when the format reads other pixels or metadata than before."""
    generic: ClassVar[bool] = False
    """Tried after all others: takes what no vendor's format claims."""
    bits: ClassVar[tuple[int, ...]] = (8,)
    """Of the integer samples it reads."""
    floating_point: ClassVar[bool] = False
    """Whether it reads floating-point samples as well."""
    samples: ClassVar[tuple[int, ...]] = (1, 3)
    """Of a pixel, without alpha."""
    planes: ClassVar[tuple[Axis, ...]] = ()
    """What the planes of one image may differ by; nothing: every image is one plane."""
    brightfield: ClassVar[bool] = True
    """Whether its images may be of stained tissue under white light."""
    grouping: ClassVar[FileGrouping] = FileGrouping.FILE
    conversion_class: ClassVar[ConversionClass | None] = None
    """By default native without a convertor, light with one."""

    def __init__(self, source: ByteSource, *, series: int = 0, context: ReadContext | None = None) -> None:
        super().__init__()
        self.source = source
        self.series = series
        self.context = context or ReadContext()
        self.parser = self.parser_class(self)
        self.reader = self.reader_class(self)
        self.histogram_reader = self.histogram_reader_class(self)
        self.convertor = self.convertor_class(self) if self.convertor_class else None

    @classmethod
    def get_identifier(cls, uppercase: bool = True) -> str:
        identifier = cls.__name__.removesuffix("Format")
        return identifier.upper() if uppercase else identifier

    @classmethod
    def get_name(cls) -> str:
        return cls.name or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.get_identifier(uppercase=False))

    @classmethod
    def get_remarks(cls) -> str:
        return cls.remarks

    @classmethod
    def get_plugin_name(cls) -> str:
        """The package that brought the format."""
        return cls.__module__.rpartition(".")[0] or cls.__module__

    @classmethod
    def is_readable(cls) -> bool:
        return True

    @classmethod
    def is_writable(cls) -> bool:
        return False

    @classmethod
    def is_importable(cls) -> bool:
        return True

    @classmethod
    def is_convertible(cls) -> bool:
        return cls.convertor_class is not None

    @classmethod
    def get_conversion_class(cls) -> ConversionClass:
        """What it takes to serve its images."""
        return cls.conversion_class or (
            ConversionClass.LIGHT if cls.is_convertible() else ConversionClass.NATIVE
        )

    @classmethod
    def is_spatial(cls) -> bool:
        """Whether it may serve as the SPATIAL representation."""
        return True

    @classmethod
    def is_spectral(cls) -> bool:
        return False

    @classmethod
    def match(cls, probe: Probe) -> bool:
        return cls.checker_class.match(probe)

    @classmethod
    def images(cls, probe: Probe) -> list[ImageRef]:
        """The images that the file holds."""
        return [ImageRef()]

    @cached_property
    def main_imd(self) -> ImageMetadata:
        """Sizes, type, channels. Raises FileError."""
        return self.parser.parse_main_metadata()

    @cached_property
    def full_imd(self) -> ImageMetadata:
        """All that is known of the image. Raises FileError."""
        return self.parser.parse_known_metadata()

    @cached_property
    def raw_metadata(self) -> Mapping[str, Any]:
        return self.parser.parse_raw_metadata()

    @cached_property
    def pyramid(self) -> Pyramid:
        """The stored tiers."""
        return self.parser.parse_pyramid()

    @property
    def normalized_pyramid(self) -> Pyramid:
        return normalized_pyramid(self.main_imd.width, self.main_imd.height)

    @property
    def icc_profile(self) -> bytes:
        """The colour profile that explains the pixels as they are read; empty when there is none."""
        return b""

    @cached_property
    def need_conversion(self) -> bool:
        """Whether its pixels can't be read fast enough to be served from this file."""
        return False

    def close(self) -> None:
        """Close the reader. The source is left to its opener."""
        self.reader.close()
        self.clear_cache()

    def __enter__(self) -> AbstractFormat:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def reduction_for(tier: Tier, scale_x: float, scale_y: float) -> int:
    """The largest reduction (1, 2, 4, 8) of a tier that covers no more than these base pixels a pixel."""
    room = min(scale_x / tier.scale_x, scale_y / tier.scale_y)
    reduction = 1
    while reduction < MAX_REDUCTION and reduction * 2 <= room + 1e-6:
        reduction *= 2
    return reduction


def covering_region(
    tier: Tier, reduction: int, left: float, top: float, right: float, bottom: float
) -> Region:
    """The smallest region that a reader can be asked for and that holds a rectangle of a tier.

    The rectangle's corners may be fractional and may lie half a pixel outside; the region lies inside the
    tier, is never empty, and its left and top are multiples of `reduction`.
    """
    x0 = min(max(floor(left + 1e-6), 0), tier.width - 1) // reduction * reduction
    y0 = min(max(floor(top + 1e-6), 0), tier.height - 1) // reduction * reduction
    x1 = min(max(ceil(right - 1e-6), x0 + 1), tier.width)
    y1 = min(max(ceil(bottom - 1e-6), y0 + 1), tier.height)
    return Region(x0, y0, x1 - x0, y1 - y0)
