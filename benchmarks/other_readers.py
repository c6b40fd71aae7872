"""What independent readers show of a file: Pillow, tifffile, OpenSlide and imagecodecs, each asked."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tests.samples.independent import ASSOCIATED, UNASSOCIATED, composed, png_pixels

__all__ = ["Pixels", "shown_by"]

Pixels = NDArray[Any]
"""(height, width, samples)."""
MAX_PIXELS = 100_000_000
SEPARATED = 5
"""Photometric interpretation: inks."""
PNG = b"\x89PNG"
ALPHA_MODES = ("LA", "PA", "La", "RGBA", "RGBa")


def shown_by(path: Path) -> Iterator[tuple[str, Pixels]]:
    """The name of a reader and its pixels, without alpha, of each that can read the file."""
    for name, read in READERS:
        try:
            with _quiet():
                found = list(read(path))
        except Exception:  # noqa: BLE001 - a reader that can't read it, for whatever reason, says nothing
            continue
        for pixels in found:
            yield name, pixels.reshape(*pixels.shape[:2], -1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Readers complain of files from the wild in many ways."""
    before, logging.root.manager.disable = logging.root.manager.disable, logging.CRITICAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.manager.disable = before


def _pillow(path: Path) -> Iterator[Pixels]:
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    with Image.open(path) as image:
        image.load()
        if image.mode in ALPHA_MODES or "transparency" in image.info:
            whole = image.convert("RGBA")
            for ground in ("white", "black"):
                yield np.asarray(
                    Image.alpha_composite(Image.new("RGBA", image.size, ground), whole).convert("RGB")
                )
            yield np.asarray(whole)[..., :3]
        elif image.mode in ("1", "L", "RGB", "F") or image.mode.startswith("I"):
            yield np.asarray(image)
        else:
            yield np.asarray(image.convert("RGB"))


def _tifffile(path: Path) -> Iterator[Pixels]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        pixels = np.asarray(page.asarray())
        if pixels.ndim > 3 or page.planarconfig == 2:
            pixels = np.moveaxis(pixels.reshape(-1, *pixels.shape[-2:]), 0, -1)
        if page.photometric == 0:  # white is zero
            top = (1 << int(page.bitspersample)) - 1
            pixels = top - pixels if pixels.dtype != bool else ~pixels
        if page.photometric == 3 and page.colormap is not None:
            colours = page.colormap
            pixels = (np.moveaxis(colours[:, pixels.reshape(pixels.shape[:2])], 0, -1) >> 8).astype(np.uint8)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        samples = 3 if pixels.shape[2] >= 3 else 1
        kinds = [int(kind) for kind in page.extrasamples]
        if page.photometric == SEPARATED and pixels.shape[2] >= 4:
            yield _without_ink(pixels[..., :4])
        elif kinds and kinds[0] in (ASSOCIATED, UNASSOCIATED):
            yield composed(pixels[..., : samples + 1], kinds[0], None)
        yield pixels[..., :samples]


def _without_ink(cmyk: Pixels) -> Pixels:
    """RGB of 8 bits of four inks, without a profile: what is left of white by the colour and by the black."""
    left = 1 - cmyk / np.iinfo(cmyk.dtype).max
    return np.asarray(np.rint(255 * left[..., :3] * left[..., 3:]), np.uint8)


def _openslide(path: Path) -> Iterator[Pixels]:
    with openslide.OpenSlide(path) as slide:
        yield np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def _imagecodecs(path: Path) -> Iterator[Pixels]:
    data = path.read_bytes()
    if data.startswith(PNG):
        yield png_pixels(data)  # over the background it declares
        return
    pixels = np.asarray(imagecodecs.imread(path))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    yield pixels[..., : 3 if pixels.shape[2] >= 3 else 1]


READERS: tuple[tuple[str, Callable[[Path], Iterator[Pixels]]], ...] = (
    ("tifffile", _tifffile),
    ("imagecodecs", _imagecodecs),
    ("OpenSlide", _openslide),
    ("Pillow", _pillow),
)
