"""TIFF files made for tests: whole ones by tifffile, and hand-made ones byte by byte."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

CODES = {
    1: "B", 2: "s", 3: "H", 4: "I", 5: "I", 6: "b", 7: "s", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d",
    13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, FLOAT, DOUBLE, LONG8 = 1, 2, 3, 4, 5, 7, 11, 12, 16


def smooth(width: int, height: int, samples: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    """Pixels that change slowly, with another direction in every sample (and no zero)."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 37) + np.cos(y / 23), np.sin((x + y) / 31), np.cos(x / 19) * np.sin(y / 41)]
    top = np.iinfo(dtype).max
    planes = [np.round((waves[i % 3] / 4.4 + 0.5) * top * (0.9 - i * 0.05)) + 1 for i in range(samples)]
    return np.stack(planes, axis=-1).astype(dtype)


def noise(width: int, height: int, samples: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return random.integers(0, np.iinfo(dtype).max, (height, width, samples), dtype, endpoint=True)


def write_levels(path: Path, levels: list[NDArray[Any]], tile: tuple[int, int], **options: Any) -> Path:
    """A pyramidal TIFF of these levels by tifffile; the levels may be (height, width) or have samples."""
    big, order = options.pop("bigtiff", False), options.pop("byteorder", "<")
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as tiff:
        for index, pixels in enumerate(levels):
            tiff.write(
                pixels,
                tile=tile,
                photometric="rgb" if pixels.ndim == 3 else "minisblack",
                subfiletype=min(index, 1),
                metadata=None,
                **options,
            )
    return path


def jpeg_of(
    pixels: NDArray[np.uint8], *, rgb: bool = False, subsampling: int = 0, quality: int = 90
) -> bytes:
    """A complete JPEG by Pillow: YCbCr, or RGB as it is."""
    stream = io.BytesIO()
    options = {"keep_rgb": True} if rgb else {"subsampling": subsampling}
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(stream, "JPEG", quality=quality, **options if pixels.shape[2] == 3 else {})
    return stream.getvalue()


def split_tables(jpeg: bytes) -> tuple[bytes, bytes]:
    """The JPEGTables of a JPEG, and its stream without them and without JFIF and Adobe markers."""
    tables, rest, position = [], [], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if jpeg[position + 1] in (0xDB, 0xC4):
            tables.append(jpeg[position:end])
        elif jpeg[position + 1] not in (0xE0, 0xEE):
            rest.append(jpeg[position:end])
        position = end
    soi, eoi = b"\xff\xd8", b"\xff\xd9"
    return soi + b"".join(tables) + eoi, soi + b"".join(rest) + jpeg[position:]


def tiles_of(pixels: NDArray[Any], tile_width: int, tile_height: int) -> Iterator[NDArray[Any]]:
    """Row by row, edge tiles padded with their last pixels."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % tile_height), (0, -width % tile_width), (0, 0)), mode="edge")
    for top in range(0, height, tile_height):
        for left in range(0, width, tile_width):
            yield padded[top : top + tile_height, left : left + tile_width]


@dataclass
class Page:
    """One hand-made directory: tags as (type, values), and the stored segments."""

    tags: dict[int, tuple[int, Any]] = field(default_factory=dict)
    segments: list[bytes | None] = field(default_factory=list)
    """None: not stored (offset and byte count 0)."""
    tiled: bool = True
    sub: list[Page] = field(default_factory=list)
    """Its SubIFDs."""


def page_of(
    pixels: NDArray[Any], segments: list[bytes | None], tile: tuple[int, int] | None = None, **tags: Any
) -> Page:
    """The tags an image needs; `tile` is (width, height), none: strips of `rows` rows."""
    height, width, samples = pixels.shape
    rows = tags.pop("rows", height)
    code = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [pixels.dtype.itemsize * 8] * samples),
        259: (SHORT, [tags.pop("compression", 1)]),
        262: (SHORT, [tags.pop("photometric", 2 if samples >= 3 else 1)]),
        277: (SHORT, [samples]),
    }
    code |= {322: (LONG, [tile[0]]), 323: (LONG, [tile[1]])} if tile else {278: (LONG, [rows])}
    return Page(code | tags.pop("tags", {}), segments, tiled=tile is not None, **tags)


def build(pages: list[Page], *, order: str = "<", big: bool = False) -> bytes:
    """The file of these pages, chained."""
    out = bytearray(b"II" if order == "<" else b"MM")
    out += struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    link = len(out) - (8 if big else 4)
    for page in pages:
        start, link_after = _append(out, page, order, big)
        _put(out, link, start, order, big)
        link = link_after
    return bytes(out)


def _append(out: bytearray, page: Page, order: str, big: bool) -> tuple[int, int]:
    tags = dict(page.tags)
    places = []
    for segment in page.segments:
        places.append((len(out), len(segment)) if segment is not None else (0, 0))
        out += segment or b""
    if places:
        kind = LONG8 if big else LONG
        offsets, counts = (324, 325) if page.tiled else (273, 279)
        tags.setdefault(offsets, (kind, [offset for offset, _ in places]))
        tags.setdefault(counts, (kind, [count for _, count in places]))
    if page.sub:
        tags[330] = (LONG8 if big else LONG, [_append(out, sub, order, big)[0] for sub in page.sub])
    pointer, size = ("Q", 8) if big else ("I", 4)
    entries = b""
    for code, (kind, values) in sorted(tags.items()):
        data = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)
        )
        count = len(values) // (2 if kind in (5, 10) else 1)
        if len(data) > size:
            out += bytes(len(out) % 2)
            position = len(out)
            out += data
            data = struct.pack(order + pointer, position)
        entries += struct.pack(order + "HH" + pointer, code, kind, count) + data.ljust(size, b"\0")
    out += bytes(len(out) % 2)
    start = len(out)
    out += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
    link = len(out)
    out += bytes(size)
    return start, link


def _put(out: bytearray, position: int, value: int, order: str, big: bool) -> None:
    struct.pack_into(order + ("Q" if big else "I"), out, position, value)
