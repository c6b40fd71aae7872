"""JPEG 2000 streams inside TIFF, looked at before they are decoded: a hundred bytes can claim gigapixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.errors import CorruptFile
from pims.formats.engines.tiff.colors import ycbcr_to_rgb

__all__ = ["CodestreamHeader", "decode_jpeg2000", "read_codestream_header"]

BOX_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
START = b"\xff\x4f\xff\x51"
"""SOC and SIZ, with which every codestream begins (ITU T.800, annex A)."""
SIZ = struct.Struct(">HH8IH")
COD = 0xFF52
SMALL_TILES = 64
TILE_PIXELS = 1024
"""A picture has so many tiles at most, or one for so many pixels: each costs kilobytes beforehand."""
MAX_PACKETS = 2_000_000
MIN_TILE_BYTES = 12
"""Of the header of a tile."""
MAX_HEADER_SEGMENTS = 256
MAX_BOXES = 256


@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """What a codestream says of its picture."""

    width: int
    height: int
    components: int
    tiles: int
    packets: int
    """Parts it is cut in, each of which takes time even when it is empty."""
    becomes_rgb: bool
    """Whether its components are mixed, or chroma is subsampled: the decoder makes RGB of them."""


def decode_jpeg2000(
    data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], *, ycbcr: bool
) -> NDArray[Any]:
    """The pixels of a stream that must be of that (rows, width, samples) and type. Raises CorruptFile.

    `ycbcr` is whether its components are Y, Cb and Cr, as the file says; they become RGB.
    """
    rows, width, samples = shape
    header = read_codestream_header(data)
    if (header.height, header.width, header.components) != shape:
        raise CorruptFile(
            f"A JPEG 2000 tile is {header.width} x {header.height} px of {header.components} components, "
            f"not {width} x {rows} of {samples}."
        )
    most = min(max(SMALL_TILES, rows * width // TILE_PIXELS), len(data) // MIN_TILE_BYTES)
    if header.tiles > most or header.packets > MAX_PACKETS:
        raise CorruptFile(
            f"A JPEG 2000 tile of {width} x {rows} px claims {header.tiles} tiles of its own in "
            f"{header.packets} packets."
        )
    try:
        pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(data, numthreads=1)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise CorruptFile(f"A JPEG 2000 tile can't be decoded: {error}.") from error
    if pixels.size != rows * width * samples or pixels.dtype != dtype:
        raise CorruptFile(f"A JPEG 2000 tile gives {pixels.shape} of {pixels.dtype}, not {shape} of {dtype}.")
    pixels = np.ascontiguousarray(pixels.reshape(shape))
    return ycbcr_to_rgb(pixels) if ycbcr and not header.becomes_rgb else pixels


def read_codestream_header(data: bytes) -> CodestreamHeader:
    """The header of a codestream, bare or in the boxes of a JP2 file. Raises CorruptFile."""
    start = _start_of_codestream(data)
    if data[start : start + 4] != START:
        raise CorruptFile("A tile does not hold the JPEG 2000 data it should.")
    try:
        return _parse(data, start + 4)
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise CorruptFile("The header of a JPEG 2000 tile is damaged.") from error


def _start_of_codestream(data: bytes) -> int:
    if not data.startswith(BOX_SIGNATURE):
        return 0
    position = 0
    for _ in range(MAX_BOXES):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return position + head
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if length < head or position + length >= len(data):
            break
        position += length
    raise CorruptFile("A JPEG 2000 tile holds no codestream.")


def _parse(data: bytes, position: int) -> CodestreamHeader:
    """`position` is that of the length of SIZ."""
    length, _, x1, y1, x0, y0, tile_x, tile_y, first_x, first_y, components = SIZ.unpack_from(data, position)
    steps = set()
    for component in range(components):
        place = position + SIZ.size + 3 * component
        steps.add((data[place + 1], data[place + 2]))
    # The first component may not be the one of full resolution; a picture of coarse ones only is not read.
    step_x, step_y = min(x for x, _ in steps), min(y for _, y in steps)
    width, height = -(-x1 // step_x) - -(-x0 // step_x), -(-y1 // step_y) - -(-y0 // step_y)
    tiles = -(-(x1 - first_x) // tile_x) * -(-(y1 - first_y) // tile_y)
    layers, mixed, resolutions = _coding_style(data, position + length)
    return CodestreamHeader(
        width,
        height,
        components,
        tiles,
        packets=tiles * layers * resolutions * components,
        becomes_rgb=mixed or len(steps) > 1,
    )


def _coding_style(data: bytes, position: int) -> tuple[int, bool, int]:
    """Layers, multiple component transformation and resolutions of COD, which is in the main header."""
    for _ in range(MAX_HEADER_SEGMENTS):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == COD:
            layers, mixed, levels = struct.unpack_from(">HBB", data, position + 6)
            return layers, mixed == 1, levels + 1
        if length < 2:
            break
        position += 2 + length
    raise CorruptFile("The header of a JPEG 2000 tile does not say how it is coded.")
