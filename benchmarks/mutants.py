"""Damaged files: valid ones of every core format, changed at random but the same for the same seed."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from pims.formats.engines.tiff.encode import TileCodec
from pims.testing.slides import coded_pixels, gradient, write_pyramid

__all__ = ["mutant", "originals"]

SAMPLE_KINDS = (
    "bigtiff",
    "bmp",
    "jp2",
    "jpeg",
    "ndpi",
    "png",
    "pnm",
    "sis-tiff",
    "svs",
    "tiff-planar",
    "tiff-pyramidal",
    "webp",
)
MAX_SAMPLE_BYTES = 300_000
HEADER_BYTES = 1024
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def originals(folder: Path) -> list[Path]:
    """Generated files in `folder` and the smaller samples, when there are any, in a fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    generated = [_written(folder / name, make) for name, make in GENERATED.items()]
    for codec in TileCodec:
        path = folder / f"pyramid-{codec}.tif"
        path.unlink(missing_ok=True)
        generated.append(write_pyramid(path, coded_pixels(600, 500), codec=codec))
    sample = Path(os.environ.get("PIMS_SAMPLES") or Path(__file__).parents[2] / "shared" / "samples")
    taken = [path for kind in SAMPLE_KINDS for path in sorted((sample / "real" / kind).glob("*"))]
    taken += [path for kind in ("huron", "sis-tiff") for path in sorted((sample / "synth" / kind).glob("*"))]
    return generated + [p for p in taken if p.is_file() and p.stat().st_size <= MAX_SAMPLE_BYTES]


def mutant(paths: Sequence[Path], seed: int) -> tuple[Path, bytes]:
    """Which file was damaged, and its bytes after one to four changes."""
    chance = random.Random(seed)
    path = chance.choice(paths)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        chance.choice(CHANGES)(data, chance)
    return path, bytes(data)


def _flip(data: bytearray, chance: random.Random) -> None:
    """Single bits anywhere."""
    for _ in range(chance.randint(1, 16)):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _flip_header(data: bytearray, chance: random.Random) -> None:
    """Single bits where headers are: at the beginning and at the end."""
    for _ in range(chance.randint(1, 4)):
        if data:
            data[_in_header(data, chance)] ^= 1 << chance.randrange(8)


def _edge(data: bytearray, chance: random.Random) -> None:
    """An integer of 1, 2, 4 or 8 bytes at the edge of what it can hold."""
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice(EDGES) & ((1 << 8 * size) - 1)
    position = _in_header(data, chance) if data else 0
    data[position : position + size] = value.to_bytes(size, chance.choice(("little", "big")))


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _splice(data: bytearray, chance: random.Random) -> None:
    """A piece of the file over another."""
    if data:
        start, length = chance.randrange(len(data)), chance.randint(1, 4096)
        piece, target = data[start : start + length], chance.randrange(len(data))
        data[target : target + (length if chance.random() < 0.7 else 0)] = piece


def _cut(data: bytearray, chance: random.Random) -> None:
    """A piece taken out."""
    if data:
        start = chance.randrange(len(data))
        del data[start : start + chance.randint(1, 512)]


def _in_header(data: bytearray, chance: random.Random) -> int:
    near = min(len(data), HEADER_BYTES)
    position = chance.randrange(near)
    return position if chance.random() < 0.7 else len(data) - 1 - position


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip_header,
    _flip_header,
    _edge,
    _edge,
    _truncate,
    _splice,
    _cut,
)


def _written(path: Path, make: Callable[[], bytes]) -> Path:
    path.write_bytes(make())
    return path


def _pillow(kind: str, mode: str = "RGB", **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        Image.fromarray(coded_pixels(300, 200)).convert(mode).save(out, kind, **options)
        return out.getvalue()

    return make


def _tiff(dtype: str, n_samples: int, **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        pixels = gradient(300, 200, n_samples, "uint16").astype(dtype)
        tifffile.imwrite(out, np.squeeze(pixels), **options)  # a grey one has no axis of samples
        return out.getvalue()

    return make


GENERATED: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": _pillow("JPEG"),
    "progressive.jpg": _pillow("JPEG", progressive=True),
    "cmyk.jpg": _pillow("JPEG", "CMYK"),
    "rgb.png": _pillow("PNG"),
    "palette.png": _pillow("PNG", "P"),
    "grey16.png": lambda: bytes(imagecodecs.png_encode(gradient(300, 200, 1, "uint16")[..., 0])),
    "lossy.webp": _pillow("WEBP"),
    "lossless.webp": _pillow("WEBP", lossless=True),
    "rgb.bmp": _pillow("BMP"),
    "palette.bmp": _pillow("BMP", "P"),
    "rgb.ppm": _pillow("PPM"),
    "bits.pbm": _pillow("PPM", "1"),
    "rgb.jp2": lambda: bytes(imagecodecs.jpeg2k_encode(coded_pixels(300, 200), level=0, codecformat="jp2")),
    "rgb.j2k": lambda: bytes(imagecodecs.jpeg2k_encode(coded_pixels(300, 200), level=30, codecformat="j2k")),
    "float32.tif": _tiff("float32", 1, compression="deflate", predictor=True),
    "grey16.tif": _tiff("uint16", 1, compression="lzw"),
    "strips.tif": _tiff("uint8", 3, photometric="rgb", rowsperstrip=16),
    "planar.tif": _tiff("uint8", 3, photometric="rgb", planarconfig="separate", tile=(64, 64)),
    "packbits.tif": _tiff("uint8", 3, photometric="rgb", compression="packbits"),
    "jpeg2000.tif": _tiff("uint8", 3, photometric="rgb", compression="jpeg2000", tile=(128, 128)),
    "webp.tif": _tiff("uint8", 3, photometric="rgb", compression="webp", tile=(128, 128)),
}
