"""Pictures found in the wild: read as other readers show them, or refused for a reason listed here."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pims.errors import CorruptFile, FileError, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext
from pims.formats.probe import Probe
from pims.formats.registry import discover_formats
from pims.model.limits import Limits
from pims.model.metadata import ImageMetadata
from pims.model.planes import FIRST_PLANE

FOLDERS = ("bmp", "webp", "pnm", "jp2", "jpeg", "png", "sis-tiff")
BAD_FOLDERS = ("bmp", "webp", "pnm", "jp2", "jpeg", "png")
REGISTRY = discover_formats()
STEPS = "stores some components at a lower resolution"
REFUSED = {
    "rgb24jpeg.bmp": "holds its pixels as JPEG",
    "00r1_graya_la.jp2": STEPS,
    "a4_colr.j2c": STEPS,
    "a6_mono_colr.j2c": STEPS,
    "b2_mono.j2c": STEPS,
    "p0_05.j2k": STEPS,
    "p0_06.j2k": STEPS,
    "p1_03.j2k": STEPS,
    "p1_07.j2k": STEPS,
}
"""Part of the sentence. What the JPEG 2000 binding can't decode: components of different resolutions."""
NOT_COMPARED = ("badrle.bmp", "p0_02.j2k", "p1_01.j2k")
"""Runs that leave their rows, which no two readers show alike; no other reader here opens the others."""
SECONDS = 5.0
MAX_PIXELS = 50_000_000


def files(samples: Path, kind: str, folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        paths = sorted(path for path in (samples / kind / folder).iterdir() if path.is_file())
        assert paths, folder
        yield from paths


def read(path: Path) -> tuple[NDArray[Any], ImageMetadata] | FileError:
    """Pixels and metadata, of which everything was asked; or why not."""
    context = ReadContext(limits=Limits(max_decode_pixels=MAX_PIXELS))
    try:
        with LocalSource(path) as source:
            fmt = REGISTRY.identify(Probe(source))
            with fmt(source, context=context) as image:
                found, base = image.full_imd, image.pyramid.base
                _ = image.raw_metadata, image.need_conversion
                pixels = image.reader.read_region(base, base.region, FIRST_PLANE)
                assert pixels.shape == (found.height, found.width, found.n_samples), path.name
                assert pixels.dtype == found.pixel_type and pixels.flags.c_contiguous, path.name
                return pixels, found
    except FileError as error:
        return error


def shaped(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.reshape(*pixels.shape[:2], -1)


def composed(pixels: NDArray[Any], ours: NDArray[Any], highest: int) -> NDArray[Any]:
    """Without alpha: on white for 8-bit RGB, on black otherwise; alpha that is 0 everywhere is none."""
    samples = ours.shape[2]
    if pixels.shape[2] == samples or not pixels[..., samples:].any():
        return pixels[..., :samples]
    ground = highest if samples == 3 and highest == 255 else 0
    alpha = pixels[..., -1:] / highest
    whole: NDArray[Any] = np.rint(pixels[..., :-1] * alpha + ground * (1 - alpha))
    return whole


def by_pillow(data: bytes, samples: int) -> NDArray[Any]:
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter("ignore")
        image.load()
        if image.mode.startswith(("I", "F")):
            return shaped(np.asarray(image))
        shown: Image.Image = image
        if image.has_transparency_data:
            ground = Image.new("RGBA", image.size, "white" if samples == 3 else "black")
            shown = Image.alpha_composite(ground, image.convert("RGBA"))
        return shaped(np.asarray(shown.convert("RGB" if samples == 3 else "L")))


def by_imagecodecs(data: bytes) -> NDArray[Any]:
    if data.startswith(b"BM"):
        return shaped(imagecodecs.bmp_decode(data, asrgb=True))
    if data.startswith(b"\x89PNG"):
        return shaped(imagecodecs.png_decode(data))
    if data.startswith(b"\xff\xd8"):
        return shaped(imagecodecs.jpeg8_decode(data))
    return shaped(imagecodecs.jpeg2k_decode(data))


def expected(path: Path, ours: NDArray[Any], found: ImageMetadata) -> NDArray[Any]:
    """What an independent reader shows; a second one where the first can't, or drops bits."""
    data = path.read_bytes()
    if path.parent.name == "sis-tiff":
        with tifffile.TiffFile(path) as tiff:
            return shaped(tiff.pages[0].asarray())
    if path.name == "rgb24rle24.bmp":
        return by_pillow((path.parent / "pal8rle.bmp").read_bytes(), 3)  # the same picture
    if path.name == "subsampling_2.jp2":  # every sample shown as four pixels
        return by_pillow(data, 3)[::2, ::2]
    if path.name.startswith("p0_10"):  # sixteen
        return by_pillow(data, 3)[::4, ::4]
    two_readers = path.name in ("issue412.jp2", "file409752.jp2", "text_GBR.jp2", "V5_A1_R5_G5_B5.bmp")
    bits = found.significant_bits
    if path.suffix == ".jp2" and bits > 8:  # without the profile in its boxes
        data = data[data.index(b"\xff\x4f\xff\x51") :]
    if path.parent.name != "pnm" and (two_readers or bits > 8 or found.pixel_type == "int8"):
        return composed(by_imagecodecs(data), ours, (1 << bits) - 1)
    try:
        theirs = by_pillow(data, ours.shape[2])
    except OSError:
        return composed(by_imagecodecs(data), ours, (1 << bits) - 1)
    return theirs // 255 if bits == 1 else theirs


def test_real_pictures_are_read_alike_or_refused_for_a_listed_reason(samples: Path) -> None:
    different = {}
    for path in files(samples, "real", FOLDERS):
        found = read(path)
        if path.name in REFUSED:
            assert isinstance(found, UnsupportedFeature) and REFUSED[path.name] in str(found), path.name
            continue
        assert not isinstance(found, FileError), f"{path.name}: {found}"
        ours, metadata = found
        if path.name in NOT_COMPARED or b"bKGD" in path.read_bytes()[:4096]:
            continue  # the background of a PNG: tests of PNG compare it
        theirs = expected(path, ours, metadata)
        assert ours.shape == theirs.shape, path.name
        worst = np.abs(ours.astype(np.float64) - theirs).max()
        if worst > 1:
            different[path.name] = worst
    assert not different


def test_what_is_refused_is_not_more_than_listed(samples: Path) -> None:
    names = {path.name for path in files(samples, "real", FOLDERS)}
    assert REFUSED.keys() <= names


def test_bad_pictures_are_read_or_refused_in_little_time(samples: Path) -> None:
    for path in files(samples, "bad", BAD_FOLDERS):
        began = time.perf_counter()
        found = read(path)
        assert time.perf_counter() - began < SECONDS, path.name
        if isinstance(found, FileError):
            reason = str(found)
            assert reason.endswith(".") and "\n" not in reason and len(reason) < 300, (path.name, reason)


def test_a_cut_or_changed_picture_is_read_or_refused_in_little_time(samples: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    changed = tmp_path / "changed"
    for path in files(samples, "real", ("bmp", "webp", "pnm", "jp2")):
        data = path.read_bytes()
        if len(data) > 100_000:
            continue
        for attempt in range(4):
            wrong = bytearray(data)
            for at in random.integers(0, min(len(wrong), 400), 3):
                wrong[at] = random.integers(256)
            changed.write_bytes(wrong if attempt else data[: int(random.integers(len(data)))])
            began = time.perf_counter()
            found = read(changed)
            assert time.perf_counter() - began < SECONDS, (path.name, attempt)
            assert not isinstance(found, FileError) or str(found).endswith("."), (path.name, found)
    assert isinstance(read(changed), tuple | CorruptFile | FileError)
