"""What the tags of a TIFF directory say of an image, and the reader every TIFF format shares."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from typing import Any, ClassVar

from numpy.typing import NDArray

from pims.cache.object import cached_property
from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.formats.abstract import AbstractFormat, AbstractParser, AbstractReader
from pims.formats.engines.exif import UNITS_PER_INCH, Density, parse_date
from pims.formats.engines.tiff.compose import TiffImage
from pims.formats.engines.tiff.decode import SegmentDecoder
from pims.formats.engines.tiff.directory import TiffDirectory, TiffFile, parse_tiff
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.metadata import Channel, ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Pyramid, Tier

__all__ = [
    "PagesParser",
    "PicturesFormat",
    "PicturesReader",
    "TiffFormat",
    "TiffParser",
    "TiffReader",
    "has_fast_tiles",
    "looks_like_level",
    "pixel_size_um",
    "reduced_levels",
]

MAX_TEXT = 65_536
LABEL, MACRO = 1, 9
"""NewSubfileType of the pages in strips that are not the thumbnail."""
MAX_ASSOCIATED_PIXELS = 1 << 26
"""Larger pages in strips are no small pictures."""
MAX_NATIVE_TILE = 1 << 22
"""Pixels of a tile; an image with larger ones is converted."""
MIN_PROFILE, MAX_PROFILE = 128, 4 << 20
"""Bytes of a colour profile: its header, and more than any that was seen."""
JPEGS = (Compression.JPEG, Compression.OLD_JPEG)
LOSSY = (*JPEGS, Compression.JPEG2000_YCBCR, Compression.JPEG2000_RGB)
"""Codecs that always lose something, as they are used."""
TYPE_TAGS = (Tag.BITS_PER_SAMPLE, Tag.SAMPLE_FORMAT)
"""What two levels of one image have in common."""
STRUCTURAL_TAGS = frozenset(
    (Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS, Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS, Tag.JPEG_TABLES)
)


class TiffFormat(AbstractFormat):
    """A format that is a TIFF: says which directories are the tiers of the image."""

    media_type: ClassVar[str] = "image/tiff"
    bits: ClassVar[tuple[int, ...]] = tuple(range(1, 33))
    floating_point: ClassVar[bool] = True

    @cached_property
    def tiff(self) -> TiffFile:
        """The parsed file. Raises FileError."""
        return parse_tiff(self.source, self.context.limits)

    @cached_property
    def levels(self) -> tuple[TiffDirectory, ...]:
        """The directories of the tiers, largest first."""
        return self.find_levels(self.tiff)

    @cached_property
    def images_of_levels(self) -> tuple[TiffImage, ...]:
        """The tiers opened for reading. Raises FileError."""
        return tuple(TiffImage(level, self.context.tile_cache) for level in self.levels)

    @property
    def icc_profile(self) -> bytes:
        """That of the base, unless its colours are converted."""
        base = self.levels[0]
        entry = base.entries.get(Tag.ICC_PROFILE)
        if entry is None or not MIN_PROFILE <= entry.byte_size <= MAX_PROFILE:
            return b""
        if not self.images_of_levels[0].decoder.keeps_colors:
            return b""
        profile = base.raw(Tag.ICC_PROFILE)
        return profile if profile[36:40] == b"acsp" else b""

    @classmethod
    def find_levels(cls, tiff: TiffFile) -> tuple[TiffDirectory, ...]:
        """Which directories are tiers of the image."""
        return (tiff.directories[0],)


class TiffParser(AbstractParser):
    """Reads the baseline tags."""

    format: TiffFormat

    def parse_main_metadata(self) -> ImageMetadata:
        base = self.format.levels[0]
        decoder = SegmentDecoder(base)  # refuses what it can't decode
        samples = decoder.samples
        rgb = (("R", "#ff0000"), ("G", "#00ff00"), ("B", "#0000ff"))
        return ImageMetadata(
            width=base.width,
            height=base.height,
            pixel_type=decoder.dtype.name,
            significant_bits=decoder.significant_bits,
            n_samples=samples,
            channels=tuple(Channel(i, *rgb[i]) if samples == 3 else Channel(i) for i in range(samples)),
            brightfield=samples == 3 and decoder.dtype.name == "uint8",
            lossy=base.compression in LOSSY,
            subsampled=base.compression in JPEGS
            and base.photometric == Photometric.YCBCR
            and base.integers(Tag.YCBCR_SUBSAMPLING) != (1, 1),
            warnings=_warnings_of(base, decoder),
        )

    def parse_known_metadata(self) -> ImageMetadata:
        base = self.format.levels[0]
        width_um, height_um = pixel_size_um(base)
        return replace(
            self.format.main_imd,
            physical_size_x_um=width_um,
            physical_size_y_um=height_um,
            acquired_at=parse_date(base.text(Tag.DATE_TIME)),
            description=base.description[:MAX_TEXT] or None,
            orientation=orientation if 1 <= (orientation := base.integer(Tag.ORIENTATION, 1)) <= 8 else 1,
            microscope_model=base.text(Tag.MODEL)[:256] or None,
        )

    def parse_raw_metadata(self) -> Mapping[str, Any]:
        base = self.format.levels[0]
        found: dict[str, Any] = {}
        for code, entry in sorted(base.entries.items()):
            if code in STRUCTURAL_TAGS or entry.byte_size > MAX_TEXT:
                continue
            name = Tag(code).name if code in Tag._value2member_map_ else str(code)
            key = "TIFF." + "".join(part.capitalize() for part in name.split("_"))
            try:
                if entry.kind == 2:
                    found[key] = base.text(code)
                elif entry.kind != 7 and 0 < entry.count <= 64:
                    values = [value if isfinite(value) else None for value in base.numbers(code)]
                    found[key] = values[0] if len(values) == 1 else values
            except CorruptFile:
                continue  # a tag nobody needs points out of the file
        return found

    def parse_pyramid(self) -> Pyramid:
        return Pyramid.of(
            (level.width, level.height, level.tile_width, level.tile_height) for level in self.format.levels
        )


class PagesParser(TiffParser):
    """Takes the first page; a stack needs a format that knows what its pages mean."""

    def parse_main_metadata(self) -> ImageMetadata:
        tiff = self.format.tiff
        pages = sum(not (page.is_reduced or page.is_mask) for page in tiff.directories)
        if pages <= 1:
            return super().parse_main_metadata()
        description = tiff.directories[0].description
        if "<OME" in description or description.startswith("ImageJ="):
            raise UnsupportedFeature(
                f"This TIFF is a stack of {pages} pages described by "
                f"{'OME-XML' if '<OME' in description else 'ImageJ'}, which this version can't read."
            )
        warning = f"The file has {pages} pages and does not say what they mean; only the first is shown."
        main = super().parse_main_metadata()
        return replace(main, warnings=(warning, *main.warnings))


class TiffReader(AbstractReader):
    """Reads the tiers of a TIFF."""

    format: TiffFormat
    _images: tuple[TiffImage, ...] | None = None

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        return self.format.images_of_levels[tier.level].read(region, reduction)

    def read_stored_tile(
        self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
    ) -> EncodedTile | None:
        images = self._images
        if images is None:
            if not may_block:
                raise BlockingIOError
            images = self._images = self.format.images_of_levels
        return images[tier.level].stored(column, row, may_block=may_block)


class PicturesFormat(TiffFormat):
    """A TIFF whose tiled pages are the tiers, and whose pages in strips are small pictures."""

    @cached_property
    def associated(self) -> dict[str, TiffImage]:
        """The pages of the thumbnail, the label and the macro, by name. A damaged one is left out."""
        found: dict[str, TiffImage] = {}
        for page in self.tiff.directories[1:]:
            if page.is_tiled:
                continue
            name = {LABEL: "label", MACRO: "macro"}.get(page.integer(Tag.NEW_SUBFILE_TYPE, 0), "thumb")
            with suppress(FileError):
                if page.width * page.height <= MAX_ASSOCIATED_PIXELS:
                    found.setdefault(name, TiffImage(page, self.context.tile_cache))
        return found


class PicturesReader(TiffReader):
    """Reads tiers as any TIFF; the thumbnail, the label and the macro from their pages."""

    format: PicturesFormat

    def read_label(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._associated("label")

    def read_macro(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._associated("macro")

    def read_thumbnail(self, out_width: int, out_height: int) -> NDArray[Any] | None:
        return self._associated("thumb")

    def _associated(self, name: str) -> NDArray[Any] | None:
        page = self.format.associated.get(name)
        if page is None:
            return None
        return page.read(Region(0, 0, page.width, page.height))


def _warnings_of(directory: TiffDirectory, decoder: SegmentDecoder) -> tuple[str, ...]:
    """What the user should know of how the samples were understood."""
    found = []
    if directory.has_undeclared_colors:
        found.append("The file calls its three samples a pixel grey; they are shown as red, green and blue.")
    if decoder.extra_samples:
        found.append(
            f"Of every pixel, {decoder.extra_samples} of {decoder.stored_samples} samples are neither colour "
            "nor transparency; they are not shown."
        )
    return tuple(found)


def reduced_levels(tiff: TiffFile) -> tuple[TiffDirectory, ...]:
    """The first directory and those that say they are smaller versions of it, largest first.

    They follow it in the file, or are its SubIFDs (which need not say it).
    """
    base = tiff.directories[0]
    found = {base.offset: base}
    for directory in tiff.directories[1:]:
        if directory.is_reduced and looks_like_level(directory, base):
            found.setdefault(directory.offset, directory)
    for directory in tiff.sub_directories(base):
        if looks_like_level(directory, base):
            found.setdefault(directory.offset, directory)
    return tuple(sorted(found.values(), key=lambda level: -level.width * level.height))


def has_fast_tiles(directory: TiffDirectory) -> bool:
    """Whether it is cut in tiles small enough to be decoded for every request."""
    return directory.is_tiled and directory.tile_width * directory.tile_height <= MAX_NATIVE_TILE


def looks_like_level(directory: TiffDirectory, base: TiffDirectory) -> bool:
    """Whether a directory is `base` at a lower resolution: its shape, give or take rounding, its samples."""
    if directory.width > base.width or directory.height > base.height:
        return False
    if (directory.width, directory.height) == (base.width, base.height):
        return False
    if directory.is_mask or directory.is_tiled != base.is_tiled:
        return False
    if directory.samples_per_pixel != base.samples_per_pixel:
        return False
    if any(directory.integer(tag, 1) != base.integer(tag, 1) for tag in TYPE_TAGS):
        return False
    return (
        abs(directory.width - directory.height * base.width / base.height) < 2
        or abs(directory.height - directory.width * base.height / base.width) < 2
    )


def pixel_size_um(directory: TiffDirectory) -> tuple[float | None, float | None]:
    """Width and height of a pixel in micrometres: the inverse of the resolution, TIFF 6.0 page 38.

    None without a unit, and for resolutions of a screen.
    """
    per_inch = UNITS_PER_INCH.get(directory.integer(Tag.RESOLUTION_UNIT, 2))
    x, y = directory.number(Tag.X_RESOLUTION), directory.number(Tag.Y_RESOLUTION)
    if per_inch is None or x is None:
        return None, None
    width_um, height_um = Density(x * per_inch, (x if y is None else y) * per_inch).pixel_size_um()
    return width_um, None if y is None else height_um
