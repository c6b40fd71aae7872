"""`make samples`: imports the sample files and compares their pixels with what independent readers show.

Writes docs/reference/samples.md. Exit codes: 0 written, 1 pixels differ or an import ended badly, 2 wrong
usage or no samples.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.other_readers import Pixels, shown_by
from pims.errors import FileError
from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry, discover_formats
from pims.importer.events import ImportResult
from pims.importer.flow import ImportOptions
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from pims.tasks.local import ImportProcesses
from pims.tasks.protocol import ProcessLimits

__all__ = ["FOLDERS", "SampleRow", "compared", "look_at", "main", "page"]

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "reference" / "samples.md"
KINDS = ("jpeg", "png", "webp", "bmp", "pnm", "jp2", "tiff-planar", "tiff-pyramidal", "bigtiff", "sis-tiff")
FOLDERS = (*(f"real/{kind}" for kind in (*KINDS, "svs", "ndpi")), "synth/huron", "synth/sis-tiff")
SIDE_FILES = frozenset({".txt", ".md", ".json", ".tsv", ".ini"})
MAX_PIXELS = 100_000_000
"""Of what is decoded as a whole: no sample needs more, but for a bomb."""
SECONDS = 120.0
NEAR = 2
"""Levels of 8 bits that two decoders of lossy data may differ; more is told as a difference."""

ROUNDING = 1


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What became of one file."""

    file: str
    format: str
    size: str
    result: str
    compared_with: str
    good: bool
    """Equal or nearly, or refused with a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Import, compare, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.samples", description="Compare the samples.")
    parser.add_argument("--out", type=Path, default=PAGE, metavar="FILE", help="the page; - for none")
    parser.add_argument("--folders", metavar="NAMES", default=",".join(FOLDERS), help="some of the folders")
    given = parser.parse_args(arguments)
    samples = Path(os.environ.get("PIMS_SAMPLES") or REPOSITORY.parent / "shared" / "samples")
    if not samples.is_dir():
        print(f"samples: there is no folder {samples}; name it in PIMS_SAMPLES", file=sys.stderr)
        return 2
    paths = [path for folder in given.folders.split(",") for path in _files(samples / folder)]
    rows = look_at(paths, samples)
    bad = [row for row in rows if not row.good]
    if str(given.out) != "-":
        given.out.write_text(page(rows), "utf-8")
    for row in bad:
        print(f"{row.file}: {row.format} {row.size}: {row.result} ({row.compared_with})")
    print(f"{len(rows)} files, {len(bad)} to look at")
    return int(bool(bad))


def look_at(paths: Sequence[Path], folder: Path) -> list[SampleRow]:
    """Import all files; a row for each, named from `folder`."""
    registry = discover_formats()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        options = ImportOptions(root, root / ".pending", Limits(max_decode_pixels=MAX_PIXELS))
        with ImportProcesses(options, ProcessLimits(seconds=SECONDS)) as processes:
            futures: list[Future[ImportResult]] = [processes.submit(path) for path in paths]
            return [
                _row(path, str(path.relative_to(folder)), future.result(), registry)
                for path, future in zip(paths, futures, strict=True)
            ]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() not in SIDE_FILES)


def _row(path: Path, name: str, result: ImportResult, registry: FormatRegistry) -> SampleRow:
    if not result.status.is_good:
        reason = result.error or "no reason given"
        crashed = "decoder stopped" in reason or "unexpected" in reason or "took longer" in reason
        return SampleRow(name, result.format or "", "", f"refused: {reason}", _openers(path), not crashed)
    try:
        ours, told = _ours(path, registry)
    except FileError as error:
        return SampleRow(name, result.format or "", "", f"imported, but not read again: {error}", "", False)
    height, width, samples = ours.shape
    size = f"{width} x {height} x {samples} {ours.dtype.name}"
    outcome, reader, good = compared(ours, shown_by(path), lossy=told)
    return SampleRow(name, result.format or "", size, outcome, reader, good)


def _ours(path: Path, registry: FormatRegistry) -> tuple[Pixels, bool]:
    """The base of the file as its format reads it, and whether it was compressed with loss."""
    context = ReadContext(limits=Limits(max_decode_pixels=MAX_PIXELS))
    with LocalSource(path) as source:
        fmt = registry.identify(Probe(source, context.limits))
        with fmt(source, context=context) as image:
            base = image.pyramid.base
            pixels: Pixels = image.reader.read_region(base, base.region, FIRST_PLANE)
            return np.array(pixels), image.full_imd.lossy


def compared(ours: Pixels, theirs: Iterable[tuple[str, Pixels]], *, lossy: bool) -> tuple[str, str, bool]:
    """In words, with whom, and whether it is good: the reader that agrees best is told."""
    best: tuple[float, float, str] | None = None
    sizes = set()
    for reader, pixels in theirs:
        name = reader
        if pixels.shape[:2] != ours.shape[:2]:
            sizes.add(f"{name}: {pixels.shape[1]} x {pixels.shape[0]}")
            continue
        cut = ours.dtype == np.uint16 and pixels.dtype == np.uint8
        worst, mean = _difference(np.asarray(ours >> 8, np.uint8) if cut else ours, pixels)
        if cut:  # they show the upper 8 bits, so that 1 is a rounding
            worst, mean, name = worst * 257, mean * 257, f"{reader}, which shows 8 bits"
        if best is None or worst < best[0]:
            best = (worst, mean, name)
    if best is None:
        return (
            ("other sizes", ", ".join(sorted(sizes)), False) if sizes else ("read", "no other reader", True)
        )
    worst, mean, name = best
    if worst == 0 and not name.endswith("8 bits"):
        return "equal", name, True
    told = f"within {worst:g} of {_top(ours):g}, {mean:.2g} on average"
    near = NEAR if lossy else ROUNDING if name.endswith("8 bits") else 0
    return told, name, worst <= near * max(1.0, _top(ours) / 255)


def _difference(ours: Pixels, theirs: Pixels) -> tuple[float, float]:
    """The largest and the mean difference, in our units; samples that were repeated count as one."""
    ours, theirs = (p.astype(np.float64) for p in (ours, theirs))
    if ours.shape[2] == 1 < theirs.shape[2]:
        ours = np.repeat(ours, theirs.shape[2], axis=2)
    if theirs.shape[2] == 1 < ours.shape[2]:
        theirs = np.repeat(theirs, ours.shape[2], axis=2)
    if ours.shape[2] != theirs.shape[2]:
        return float("inf"), float("inf")
    difference = np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs))
    return float(difference.max()), float(difference.mean())


def _top(pixels: Pixels) -> float:
    return float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else float(np.nanmax(pixels))


def _openers(path: Path) -> str:
    """Who opens what we refuse."""
    return "read by " + (", ".join(dict.fromkeys(name for name, _ in shown_by(path))) or "nobody asked")


def page(rows: Sequence[SampleRow]) -> str:
    """The page of the reference."""
    lines = [
        "# Samples",
        "",
        "<!-- Written by `make samples` from the sample files; change the code, then run it. -->",
        "",
        "Every sample file of the core formats, imported, and its pixels at the best resolution against",
        "those of independent readers: Pillow, tifffile, OpenSlide and imagecodecs. The one that agrees best",
        "is named. Of a refused file, the reason and who reads it all the same (maybe another part of it).",
        "",
        f"{len(rows)} files, of which {_count(rows, 'equal')} equal, {_count(rows, 'within')} close, "
        f"{_count(rows, 'refused')} refused.",
        "",
        "| File | Format | Size | Result | Compared with |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (f"`{row.file}`", row.format, row.size, row.result, row.compared_with)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _count(rows: Sequence[SampleRow], word: str) -> int:
    return sum(row.result.startswith(word) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
