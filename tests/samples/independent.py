"""What other readers show of a file: Pillow, tifffile, OpenSlide and imagecodecs."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Levels = dict[tuple[int, int], NDArray[Any]]
"""Pixels (height, width, samples) by (width, height)."""
ASSOCIATED, UNASSOCIATED = 1, 2
WHITE_IS_ZERO, GREY, PALETTE, INKS, YCBCR = 0, 1, 3, 5, 6
JPEGS = (6, 7)
SEPARATE = 2


def levels_of(path: Path) -> Levels:
    """Every resolution of an image, without alpha: over white when it is 8-bit RGB, over black otherwise."""
    data = path.read_bytes()
    if data[:4] == b"\x89PNG":
        return by_size(png_pixels(data))
    if data[:2] == b"\xff\xd8":
        return by_size(jpeg_pixels(data))
    if b"Aperio" in data[-65536:] or path.suffix == ".svs":
        return slide_levels(path)
    try:
        return tiff_levels(path)
    except (KeyError, RuntimeError, ValueError):  # tifffile gives up on some tags, and on old-style JPEG
        return by_size(decoded(data))


def tiff_levels(path: Path) -> Levels:
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        pages = [tiff.pages[index] for index in range(len(tiff.pages))] + list(first.pages or [])
        found: Levels = {}
        for page in pages:
            if isinstance(page, tifffile.TiffPage) and (page is first or page.subfiletype & 1):
                found = by_size(page_pixels(page)) | found
        return found


def by_size(pixels: NDArray[Any]) -> Levels:
    return {(pixels.shape[1], pixels.shape[0]): pixels}


def slide_levels(path: Path) -> Levels:
    with openslide.OpenSlide(path) as slide:
        return {
            size: np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
            for level, size in enumerate(slide.level_dimensions)
        }


def decoded(data: bytes) -> NDArray[Any]:
    """A picture by Pillow, 8 bits a sample, grey or RGB."""
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter("ignore")
        image.load()
        pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def jpeg_pixels(data: bytes) -> NDArray[Any]:
    """A JPEG by Pillow; of the kinds it does not know, by imagecodecs."""
    try:
        return decoded(data)
    except UnidentifiedImageError:
        pixels: NDArray[Any] = imagecodecs.jpeg_decode(data)
        return pixels.reshape(*pixels.shape[:2], -1)


def png_pixels(data: bytes) -> NDArray[Any]:
    pixels: NDArray[Any] = imagecodecs.png_decode(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    samples = (pixels.shape[2] + 1) // 2 * 2 - 1
    if samples == pixels.shape[2]:
        return pixels
    return composed(pixels, UNASSOCIATED, png_background(data, pixels))


def png_background(data: bytes, pixels: NDArray[Any]) -> tuple[int, ...] | None:
    """What bKGD says, as samples of the decoded type."""
    chunks = dict(png_chunks(data))
    body = chunks.get(b"bKGD")
    if body is None:
        return None
    depth, color = chunks[b"IHDR"][8], chunks[b"IHDR"][9]
    if color == 3:
        return tuple(chunks[b"PLTE"][body[0] * 3 : body[0] * 3 + 3])
    scale = (1 << pixels.dtype.itemsize * 8) - 1
    return tuple(value * scale // ((1 << depth) - 1) for value in struct.unpack(f">{len(body) // 2}H", body))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def png_first_row(path: Path) -> bytes:
    """The filter byte and the samples of the first row, of a picture too large to be decoded here."""
    chunks = png_chunks(path.read_bytes())
    header = next(body for kind, body in chunks if kind == b"IHDR")
    body = next(body for kind, body in chunks if kind == b"IDAT")
    return zlib.decompressobj().decompress(body, 1 + int.from_bytes(header[:4], "big"))


def page_pixels(page: tifffile.TiffPage) -> NDArray[Any]:
    """A page by tifffile, its colours by plain formulas; ValueError for those it can't read."""
    pixels: NDArray[Any] = page.asarray()
    if page.planarconfig == SEPARATE and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels.reshape(page.samplesperpixel, page.imagelength, page.imagewidth), 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    pixels, samples = colors_of(page, pixels)
    kinds = [int(kind) for kind in page.extrasamples]
    if pixels.shape[2] > samples and kinds and kinds[0] in (ASSOCIATED, UNASSOCIATED):
        return composed(pixels[..., : samples + 1], kinds[0], None)
    return pixels[..., :samples]


def colors_of(page: tifffile.TiffPage, pixels: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Samples that are grey or RGB, others behind them, and how many the former are."""
    stored, photometric = pixels.shape[2], int(page.photometric) if 262 in page.tags else None
    top = (1 << page.bitspersample) - 1
    if photometric == WHITE_IS_ZERO:
        return (top - pixels.astype(np.int64)).astype(pixels.dtype), 1
    if photometric == PALETTE:
        wide = page.colormap.T
        colors = (wide if wide.max() < 256 else wide >> 8).astype(np.uint8)[pixels[..., 0]]
        return np.concatenate([colors, pixels[..., 1:]], -1), 3
    if photometric == INKS or (photometric is None and stored == 4):
        light = 1 - pixels[..., :4] / top
        colors = np.rint(255 * light[..., :3] * light[..., 3:]).astype(np.uint8)
        return np.concatenate([colors, pixels[..., 4:]], -1), 3
    if photometric == YCBCR and page.compression not in JPEGS:
        raise ValueError("tifffile leaves YCbCr as it is")
    if photometric == GREY and (stored != 3 or page.extrasamples):
        return pixels, 1
    return pixels, 3 if stored >= 3 else 1


def composed(pixels: NDArray[Any], kind: int, background: tuple[int, ...] | None) -> NDArray[Any]:
    """Without the last sample, which is alpha."""
    samples, top = pixels.shape[2] - 1, np.iinfo(pixels.dtype).max
    default = top if samples == 3 and top == 255 else 0
    ground = np.array(background or (default,) * samples)
    alpha = pixels[..., samples:] / top
    front = pixels[..., :samples] * (alpha if kind == UNASSOCIATED else 1)
    whole: NDArray[Any] = np.rint(np.clip(front + ground * (1 - alpha), 0, top)).astype(pixels.dtype)
    return whole
