"""The slides that are served: made once, imported into a ROOT of the benchmark."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.servers import pims_command, pims_environment
from benchmarks.tiled import picture, write_levels, write_repeated
from pims.formats.engines.tiff.encode import TileCodec
from pims.importer.flow import ImportOptions
from pims.tasks.local import ImportProcesses
from pims.testing.slides import coded_pixels, write_demonstration_slide, write_pyramid

__all__ = [
    "SIDE",
    "BenchSlide",
    "coded_slide",
    "demonstration_slide",
    "foreign_slide",
    "one_level_slide",
    "repeated_slide",
    "small_slides",
    "svs_slide",
]

SIDE = 20_000
TILE = 256
FOREIGN_SIDE, FOREIGN_TILE, FOREIGN_LEVELS = 8_000, 240, 4
SMALL_SIDE = 5_000
APERIO = "Aperio Image Library v11.2.1\r\n5000x5000 (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = 0.5"
REPOSITORY = Path(__file__).resolve().parents[1]
SVS = Path("real", "svs", "CMU-1-Small-Region.svs")
SVS_COLUMNS, SVS_ROWS = 9, 12
"""Whole tiles of that file: 2220 x 2967 px in tiles of 240 px."""


@dataclass(frozen=True, slots=True)
class BenchSlide:
    """An imported slide."""

    file: Path
    path: str
    """In URLs."""
    kind: str
    """tile or normalized-tile."""
    columns: int
    rows: int
    """Whole tiles of the base; those cut at the edges are left out."""

    def tiles(self) -> Iterator[tuple[int, int]]:
        """(column, row) of every whole tile of the base."""
        return ((column, row) for row in range(self.rows) for column in range(self.columns))

    def tile_url(self, column: int, row: int, query: str = "") -> str:
        return f"/image/{self.path}/{self.kind}/level/0/tx/{column}/ty/{row}.jpg{query}"


def demonstration_slide(folder: Path) -> BenchSlide:
    """A picture of tissue, 20,000 px a side, JPEG in tiles of 256 px; made when it is not there yet."""
    file = folder / f"demonstration-{SIDE}.tiff"
    _made(file, lambda unfinished: write_demonstration_slide(unfinished, SIDE, SIDE))
    return BenchSlide(file, _imported(folder, file), "normalized-tile", SIDE // TILE, SIDE // TILE)


def svs_slide(folder: Path) -> BenchSlide | None:
    """A real slide in tiles of 240 px, when the folder of samples is there."""
    samples = os.environ.get("PIMS_SAMPLES", "")
    file = (Path(samples) if samples else REPOSITORY.parent / "shared" / "samples") / SVS
    if not file.is_file():
        return None
    return BenchSlide(file, _imported(folder, file), "tile", SVS_COLUMNS, SVS_ROWS)


def foreign_slide(folder: Path) -> BenchSlide:
    """Tissue, 8,000 px a side, in JPEG tiles of 240 px that the normalized grid of 256 px lies across."""
    file = folder / f"foreign-{FOREIGN_LEVELS}-{FOREIGN_SIDE}.tiff"
    if not file.exists():
        write_levels(file, FOREIGN_SIDE, FOREIGN_TILE, FOREIGN_LEVELS)
    whole = FOREIGN_SIDE // TILE
    return BenchSlide(file, _imported(folder, file), "normalized-tile", whole, whole)


def one_level_slide(folder: Path) -> BenchSlide:
    """Tissue, 5,000 px a side, in JPEG tiles of 256 px, without a lower resolution.

    It says to be an SVS, which is served as it is; other tiled files of one level are converted.
    """
    file = folder / f"one-level-{SMALL_SIDE}.svs"
    if not file.exists():
        write_levels(file, SMALL_SIDE, TILE, 1, APERIO)
    whole = SMALL_SIDE // TILE
    return BenchSlide(file, _imported(folder, file), "normalized-tile", whole, whole)


def coded_slide(folder: Path, codec: TileCodec, bits: int) -> BenchSlide:
    """Tissue, 5,000 px a side, without loss: RGB of 8 bits, or grey of 16."""
    file = folder / f"{codec}-{bits}-{SMALL_SIDE}.tiff"

    def write(unfinished: Path) -> Path:
        pixels = picture(SMALL_SIDE)
        if bits == 8:
            return write_pyramid(unfinished, pixels, codec=codec)
        random = np.random.default_rng(1)
        grey = pixels[..., 1:2].astype(np.uint16) << 8
        return write_pyramid(unfinished, grey + random.integers(0, 32, grey.shape, np.uint16), codec=codec)

    _made(file, write)
    whole = SMALL_SIDE // TILE
    return BenchSlide(file, _imported(folder, file), "normalized-tile", whole, whole)


def repeated_slide(folder: Path, side: int) -> BenchSlide:
    """A pyramid of any size whose tiles are all the same."""
    file = folder / f"repeated-{side}.tiff"
    if not file.exists():
        write_repeated(file, side)
    return BenchSlide(file, _imported(folder, file), "normalized-tile", side // TILE, side // TILE)


def small_slides(folder: Path, count: int) -> list[str]:
    """The paths in URLs of many images of 600 x 500 px, each with pixels of its own."""
    (folder / "small").mkdir(exist_ok=True)
    files = [folder / "small" / f"{number}.tiff" for number in range(count)]
    for number, file in enumerate(files):
        _made(file, partial(_small, number=number))
    root = folder / "root"
    with ImportProcesses(ImportOptions(root, root / ".pending")) as processes:
        paths = [result.path for result in processes.run(files)]
    if None in paths:
        raise RuntimeError("a small slide can't be imported")
    return [path for path in paths if path is not None]


def _small(path: Path, *, number: int) -> Path:
    pixels = coded_pixels(600, 500)
    pixels[0, 0] = (number & 255, number >> 8, 0)
    return write_pyramid(path, pixels, codec=TileCodec.JPEG)


def _made(file: Path, write: Callable[[Path], Path]) -> None:
    """Write a file unless it is there: beside, then renamed."""
    if not file.exists():
        unfinished = file.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        write(unfinished).rename(file)


def _imported(folder: Path, file: Path) -> str:
    """The path of the image in URLs, after `pims import`. RuntimeError when it can't be imported."""
    done = subprocess.run(
        pims_command("import", "--json", str(file)),
        cwd=folder,
        env=pims_environment(folder / "root"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{file.name} can't be imported: {done.stdout or done.stderr}")
    return str(json.loads(done.stdout)["path"])
