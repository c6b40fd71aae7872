"""The header of a JPEG 2000 image: the boxes of a JP2 file, and the main header of its codestream.

Boxes: ITU-T T.800, annex I; markers: annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.formats.engines.exif import Density
from pims.model.source import ByteSource

__all__ = ["CODESTREAM", "JP2", "Component2000", "Jpeg2000Color", "Jpeg2000Header", "read_jpeg2000_header"]

JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
SIZ, COD, COM, SOT, SOD, EOC = 0xFF51, 0xFF52, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
BARE = range(0xFF30, 0xFF40)
"""Markers without a segment."""
MAX_BOXES = 4096
MAX_SEGMENTS = 4096
MAX_BOX_BYTES = 1 << 20
MAX_COMMENT = 4096
MAX_PRECISION = 16
MAX_TILES = 65_535
MAX_COMPONENTS = 4
MAX_PACKETS = 20_000_000
"""Tiles x layers x resolutions x components: each costs time though it may hold nothing."""
MIN_CHECKED_SAMPLES = 1 << 24
MAX_RATIO = 4096
"""Samples a byte, of an image of more than MIN_CHECKED_SAMPLES."""
CMYK, LAB, SYCC = 12, 14, 18
"""Numbers of the colour box (EnumCS)."""
SYCC_STEPS = (((1, 1), (2, 1), (2, 1)), ((1, 1), (2, 2), (2, 2)))
INCHES_PER_METRE = 1 / 0.0254


class Jpeg2000Color(Enum):
    """What the components are, once the decoder has converted what it can."""

    GREY = "grey"
    RGB = "RGB"
    YCC = "sYCC"
    CMYK = "CMYK"
    PALETTE = "palette"


@dataclass(frozen=True, slots=True)
class Component2000:
    """One component of the codestream."""

    bits: int
    signed: bool
    step_x: int
    """Its sampling: 1 when it has every pixel."""
    step_y: int


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """What the boxes and the main header say."""

    width: int = 0
    height: int = 0
    tile_width: int = 0
    tile_height: int = 0
    tile_left: int = 0
    tile_top: int = 0
    tiles: int = 1
    components: tuple[Component2000, ...] = ()
    layers: int = 1
    resolutions: int = 1
    lossless: bool = False
    color_code: int | None = None
    """EnumCS of the colour box."""
    size_box: int | None = None
    """Offset of what the boxes say of the size."""
    profile_boxes: tuple[int, ...] = ()
    """Offsets of the colour boxes that hold an ICC profile."""
    palette_columns: int = 0
    density: Density | None = None
    comments: tuple[str, ...] = field(default=())
    codestream: int = 0
    """Its offset in the file."""

    @property
    def bits(self) -> int:
        """Of a sample, as stored; those of a palette have 8."""
        return 8 if self.palette_columns else max(component.bits for component in self.components)

    @property
    def signed(self) -> bool:
        return self.components[0].signed and not self.palette_columns

    @property
    def channels(self) -> int:
        """Samples of a pixel, alpha included, as they are decoded."""
        return self.palette_columns or len(self.components)

    @property
    def color(self) -> Jpeg2000Color:
        if self.palette_columns:
            return Jpeg2000Color.PALETTE
        if self.channels < 3:
            return Jpeg2000Color.GREY
        if self.channels == 4 and self.color_code == CMYK:
            return Jpeg2000Color.CMYK
        return Jpeg2000Color.YCC if self.color_code == SYCC else Jpeg2000Color.RGB

    @property
    def has_alpha(self) -> bool:
        """The last of 2 or 4 samples, whether or not the file says so."""
        return self.channels in (2, 4) and self.color is not Jpeg2000Color.CMYK

    @property
    def samples(self) -> int:
        return 1 if self.channels < 3 else 3

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """The sampling of every component."""
        return tuple((component.step_x, component.step_y) for component in self.components)

    @property
    def steps_are_one(self) -> bool:
        return set(self.steps) == {(1, 1)}

    @property
    def steps_are_removable(self) -> bool:
        """Whether all components have one sampling, and tiles begin where a sample does."""
        if len(set(self.steps)) > 1:
            return False
        x, y = self.steps[0]
        across, down = (self.tile_width, self.tile_left), (self.tile_height, self.tile_top)
        return self.tiles == 1 or not (any(side % x for side in across) or any(side % y for side in down))

    @property
    def has_known_subsampling(self) -> bool:
        """Whether it is sYCC with chroma of half the width, and maybe half the height."""
        return self.color is Jpeg2000Color.YCC and self.steps in SYCC_STEPS

    @property
    def pixel_type(self) -> str:
        return f"{'int' if self.signed else 'uint'}{8 if self.bits <= 8 else 16}"


def read_jpeg2000_header(source: ByteSource) -> Jpeg2000Header:
    """Read the boxes of a JP2 file, if it is one, and the main header of the codestream.

    Raises CorruptFile when it is no JPEG 2000, UnsupportedFeature when it can't be decoded here,
    LimitExceeded when it has too many parts.
    """
    start = source.pread(0, min(source.size, len(JP2)))
    header = Jpeg2000Header()
    if start.startswith(JP2):
        header = _with_boxes(header, source)
    elif not start.startswith(CODESTREAM):
        raise CorruptFile("This file does not start as a JPEG 2000 image does.")
    header = _with_main_header(header, source)
    _check_supported(header)
    _check_cost(header, source.size - header.codestream)
    return header


def _boxes(source: ByteSource, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, offset of the content, its length) of the boxes between two positions."""
    position = start
    for _ in range(MAX_BOXES):
        if position + 8 > end:
            return
        length, kind = struct.unpack(">I4s", source.pread(position, 8))
        head = 8
        if length == 1:
            length, head = int.from_bytes(source.pread(position + 8, 8), "big"), 16
        elif length == 0:
            length = end - position
        if length < head:
            raise CorruptFile("This JPEG 2000 file is damaged: a box is shorter than its own head.")
        yield kind, position + head, min(length, end - position) - head
        position += length
    raise LimitExceeded(f"This JPEG 2000 file has more than {MAX_BOXES} boxes.")


def _with_boxes(header: Jpeg2000Header, source: ByteSource) -> Jpeg2000Header:
    for kind, offset, length in _boxes(source, 0, source.size):
        if kind == b"jp2h":
            for inner, at, size in _boxes(source, offset, offset + length):
                header = _with_box(header, source, inner, at, size)
        elif kind == b"jp2c":
            return replace(header, codestream=offset)
    raise CorruptFile("This JPEG 2000 file holds no image.")


def _with_box(
    header: Jpeg2000Header, source: ByteSource, kind: bytes, offset: int, length: int
) -> Jpeg2000Header:
    if kind == b"res ":
        for inner, at, size in _boxes(source, offset, offset + length):
            header = _with_box(header, source, inner, at, size)
        return header
    if kind == b"ihdr" and length >= 8:
        return replace(header, size_box=offset)
    if kind not in (b"colr", b"pclr", b"cmap", b"resc") or length > MAX_BOX_BYTES:
        return header
    body = source.pread(offset, length)
    if kind == b"colr" and len(body) >= 3:
        if body[0] == 1 and len(body) >= 7 and header.color_code is None:
            return replace(header, color_code=int.from_bytes(body[3:7], "big"))
        return replace(header, profile_boxes=(*header.profile_boxes, offset - 8))
    if kind == b"pclr" and len(body) >= 3:
        if any(bits & 0x7F > 7 for bits in body[3 : 3 + body[2]]):
            raise UnsupportedFeature("The palette of this JPEG 2000 image has more than 8 bits.")
        return replace(header, palette_columns=header.palette_columns or body[2])
    if kind == b"cmap" and len(body) % 4 == 0 and body:
        return replace(header, palette_columns=len(body) // 4)
    if kind == b"resc" and len(body) >= 10:
        return replace(header, density=_density(body))
    return header


def _density(body: bytes) -> Density | None:
    """Pixels per metre as a fraction and a power of ten, down before across: T.800, I.5.3.7.1."""
    down, below_down, across, below_across, power_down, power_across = struct.unpack_from(">HHHHbb", body)
    if not below_down or not below_across or abs(power_down) > 12 or abs(power_across) > 12:
        return None
    x = across / below_across * 10.0**power_across / INCHES_PER_METRE
    y = down / below_down * 10.0**power_down / INCHES_PER_METRE
    return Density(x, y)


def _with_main_header(header: Jpeg2000Header, source: ByteSource) -> Jpeg2000Header:
    """The header completed with the marker segments before the first tile."""
    position = header.codestream
    if source.pread(position, 4) != CODESTREAM:
        raise CorruptFile("This JPEG 2000 image is damaged: its codestream has no beginning.")
    position += 2
    for _ in range(MAX_SEGMENTS):
        marker, length = struct.unpack(">HH", source.pread(position, 4))
        if marker in BARE:
            position += 2
            continue
        if marker == SOT:
            if not header.width:
                break
            return header
        if marker < 0xFF00 or marker in (SOD, EOC) or length < 2:
            raise CorruptFile("This JPEG 2000 image is damaged: no marker where one must be.")
        if marker in (SIZ, COD, COM):
            body = source.pread(position + 4, length - 2)
            header = _with_segment(header, marker, body)
        position += 2 + length
    raise CorruptFile("This JPEG 2000 image is damaged: its main header never ends.")


def _with_segment(header: Jpeg2000Header, marker: int, body: bytes) -> Jpeg2000Header:
    if marker == SIZ and not header.width:
        return _with_size(header, body)
    if marker == COD and len(body) >= 10:
        layers, levels = int.from_bytes(body[2:4], "big"), body[5]
        if levels > 32 or layers == 0:
            raise CorruptFile("This JPEG 2000 image is damaged: its coding style is impossible.")
        return replace(header, layers=layers, resolutions=levels + 1, lossless=body[9] == 1)
    if marker == COM and body[:2] == b"\0\1" and len(header.comments) < 16:
        comment = body[2 : 2 + MAX_COMMENT].decode("latin-1").strip("\0 \r\n\t")
        return replace(header, comments=(*header.comments, comment)) if comment else header
    return header


def _with_size(header: Jpeg2000Header, body: bytes) -> Jpeg2000Header:
    if len(body) < 36:
        raise CorruptFile("This JPEG 2000 image is damaged: its size segment is too short.")
    _, right, bottom, left, top, tile_width, tile_height, tile_x, tile_y, count = struct.unpack_from(
        ">HIIIIIIIIH", body
    )
    if not 1 <= count <= 16_384 or len(body) != 36 + 3 * count:
        raise CorruptFile("This JPEG 2000 image is damaged: its number of components is impossible.")
    if right <= left or bottom <= top or not tile_width or not tile_height or tile_x > left or tile_y > top:
        raise CorruptFile("This JPEG 2000 image is damaged: its sizes are impossible.")
    if tile_x + tile_width <= left or tile_y + tile_height <= top:
        raise CorruptFile("This JPEG 2000 image is damaged: its first tile lies outside of it.")
    components = tuple(
        Component2000((body[at] & 0x7F) + 1, bool(body[at] & 0x80), body[at + 1], body[at + 2])
        for at in range(36, len(body), 3)
    )
    if any(component.step_x == 0 or component.step_y == 0 for component in components):
        raise CorruptFile("This JPEG 2000 image is damaged: a component has no sampling.")
    step_x, step_y = components[0].step_x, components[0].step_y
    return replace(
        header,
        width=-(-right // step_x) - -(-left // step_x),
        height=-(-bottom // step_y) - -(-top // step_y),
        tile_width=tile_width,
        tile_height=tile_height,
        tile_left=tile_x,
        tile_top=tile_y,
        tiles=-(-(right - tile_x) // tile_width) * -(-(bottom - tile_y) // tile_height),
        components=components,
    )


def _check_supported(header: Jpeg2000Header) -> None:
    components = header.components
    if not 1 <= len(components) <= MAX_COMPONENTS or not 1 <= header.channels <= MAX_COMPONENTS:
        raise UnsupportedFeature(
            f"This JPEG 2000 image has {max(len(components), header.channels)} components; "
            f"this version reads 1 to {MAX_COMPONENTS}."
        )
    if not (header.steps_are_one or header.steps_are_removable or header.has_known_subsampling):
        raise UnsupportedFeature(
            "This JPEG 2000 image stores some components at a lower resolution than others (or all, in "
            "tiles that don't fit), which this version can't read; save it without subsampling."
        )
    if len({(component.bits, component.signed) for component in components}) > 1:
        raise UnsupportedFeature(
            "The components of this JPEG 2000 image have different numbers of bits, which this version "
            "can't read."
        )
    if header.bits > MAX_PRECISION:
        raise UnsupportedFeature(
            f"This JPEG 2000 image has {header.bits} bits a sample; this version reads {MAX_PRECISION}."
        )
    if header.color_code == LAB and header.channels >= 3:
        raise UnsupportedFeature(
            "This JPEG 2000 image is in CIELab, which this version can't convert to RGB."
        )
    if header.width < 1 or header.height < 1:
        raise CorruptFile(f"This JPEG 2000 image says it is {header.width} x {header.height} px.")


def _check_cost(header: Jpeg2000Header, size: int) -> None:
    """Refuses what would take long or much memory to find out that nothing is there."""
    if header.tiles > MAX_TILES:
        raise CorruptFile(f"This JPEG 2000 image says it has {header.tiles} tiles; {MAX_TILES} may be.")
    if header.tiles * 12 > size:
        raise CorruptFile(
            f"This JPEG 2000 image ends too early: {size} bytes can't hold {header.tiles} tiles."
        )
    if header.tiles * header.layers * header.resolutions * len(header.components) > MAX_PACKETS:
        raise LimitExceeded(
            f"This JPEG 2000 image has {header.layers} layers of {header.tiles} tiles of "
            f"{header.resolutions} resolutions, which would take too long to decode."
        )
    samples = header.width * header.height * len(header.components)
    if samples > MIN_CHECKED_SAMPLES and size * MAX_RATIO < samples:
        raise CorruptFile(
            f"This JPEG 2000 image ends too early: {size} bytes can't hold {header.width} x "
            f"{header.height} px."
        )
