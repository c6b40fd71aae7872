"""The slides that are served: made once, imported into a ROOT of the benchmark."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import pims_command, pims_environment
from pims.testing.slides import write_demonstration_slide

__all__ = ["SIDE", "BenchSlide", "demonstration_slide", "svs_slide"]

SIDE = 20_000
TILE = 256
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
    if not file.exists():
        unfinished = file.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        write_demonstration_slide(unfinished, SIDE, SIDE).rename(file)
    return BenchSlide(file, _imported(folder, file), "normalized-tile", SIDE // TILE, SIDE // TILE)


def svs_slide(folder: Path) -> BenchSlide | None:
    """A real slide in tiles of 240 px, when the folder of samples is there."""
    samples = os.environ.get("PIMS_SAMPLES", "")
    file = (Path(samples) if samples else REPOSITORY.parent / "shared" / "samples") / SVS
    if not file.is_file():
        return None
    return BenchSlide(file, _imported(folder, file), "tile", SVS_COLUMNS, SVS_ROWS)


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
