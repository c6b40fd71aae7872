"""What a conversion costs: memory of the import's process, and CPU against its parts measured alone.

The sources are striped RGB TIFFs of any size that take little room: their strips repeat after a row of tiles.

    python -m benchmarks.conversion [--full] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext
from pims.formats.engines.tiff.bigtiff import HEADER_BYTES, Field, FieldType, pack_directories, pack_header
from pims.formats.engines.tiff.encode import TileCodec, TileEncoder
from pims.formats.engines.tiff.tags import Compression, Photometric, Tag
from pims.formats.engines.tiff.writer import PyramidSpec, halve
from pims.formats.probe import Probe
from pims.formats.registry import discover_formats
from pims.importer.convert import convert_to_pyramid
from pims.importer.flow import ImportOptions
from pims.model.pyramid import NORMALIZED_TILE
from pims.tasks.local import ImportProcesses

__all__ = ["ConversionRow", "main", "measure", "table"]

SIDE, FULL_SIDE = 10_000, 40_000
STRIP_ROWS = 16
SAMPLE_SECONDS = 0.02
MAX_ANON_MB = 500
MAX_RATIO = 1.2


@dataclass(frozen=True, slots=True)
class ConversionRow:
    """One conversion."""

    work: str
    anon_mb: float
    """Largest anonymous memory of the process of the import."""
    seconds: float
    """Of the whole import."""
    cpu: float
    """Seconds of the conversion: read, halve, encode, write."""
    parts_cpu: float
    """Seconds of halving and encoding the same tiles, and of inflating the strips, from memory to memory."""

    @property
    def ratio(self) -> float:
        return self.cpu / self.parts_cpu

    @property
    def missed(self) -> bool:
        return self.anon_mb > MAX_ANON_MB or self.ratio > MAX_RATIO


def measure(side: int) -> list[ConversionRow]:
    """Convert an uncompressed and a deflated image of side x side px."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for compression in (Compression.NONE, Compression.DEFLATE):
            source = Path(folder, f"{compression.name.lower()}.tif")
            write_strips(source, side, compression)
            work = f"{side} x {side} px RGB, strips, {compression.name.lower()} -> zstd"
            anon_mb, seconds = _import(source, Path(folder, "root"))
            cpu = min(_cpu_of(partial(_convert, source)) for _ in range(2))
            deflated = compression is Compression.DEFLATE
            strips = [_stored(strip, compression) for strip in _strips(side)] if deflated else []
            row = _tile_row(-(-side // NORMALIZED_TILE) * NORMALIZED_TILE)
            parts = min(_cpu_of(partial(_parts, side, row, strips)) for _ in range(2))
            rows.append(ConversionRow(work, anon_mb, seconds, cpu, parts))
            shutil.rmtree(Path(folder, "root"))
    return rows


def write_strips(path: Path, side: int, compression: Compression) -> None:
    """A TIFF whose strips repeat after a row of tiles."""
    distinct = [_stored(strip, compression) for strip in _strips(side)]
    counts = [len(data) for data in distinct]
    offsets = [HEADER_BYTES + sum(counts[:index]) for index in range(len(counts))]
    strips = -(-side // STRIP_ROWS)
    times = -(-strips // len(distinct))
    fields = [
        Field.long(Tag.IMAGE_WIDTH, side),
        Field.long(Tag.IMAGE_LENGTH, side),
        Field.short(Tag.BITS_PER_SAMPLE, 8, 8, 8),
        Field.short(Tag.COMPRESSION, compression),
        Field.short(Tag.PHOTOMETRIC, Photometric.RGB),
        Field.short(Tag.SAMPLES_PER_PIXEL, 3),
        Field.long(Tag.ROWS_PER_STRIP, STRIP_ROWS),
        Field.integers(Tag.STRIP_OFFSETS, (offsets * times)[:strips], FieldType.LONG8),
        Field.integers(Tag.STRIP_BYTE_COUNTS, (counts * times)[:strips], FieldType.LONG8),
    ]
    directory = -(-(HEADER_BYTES + sum(counts)) // 8) * 8
    with path.open("wb") as file:
        file.write(pack_header(directory) + b"".join(distinct))
        file.seek(directory)
        file.write(pack_directories([fields], directory))


def _stored(strip: NDArray[np.uint8], compression: Compression) -> bytes:
    return zlib.compress(strip.tobytes(), 6) if compression is Compression.DEFLATE else strip.tobytes()


def _tile_row(width: int) -> NDArray[np.uint8]:
    """(256, width, 3): slow waves with the noise of a camera, as compressible as a stained section."""
    y, x = np.mgrid[0:NORMALIZED_TILE, 0:width]
    waves = 128 + 50 * (np.sin(x / 37) + np.cos(y / 23))
    random = np.random.default_rng(1)
    row = np.empty((NORMALIZED_TILE, width, 3), np.uint8)
    for sample in range(3):
        row[..., sample] = (waves + random.normal(0, 4, waves.shape)).clip(0, 255)
    return row


def _strips(width: int) -> list[NDArray[np.uint8]]:
    row = _tile_row(width)
    return [row[top : top + STRIP_ROWS] for top in range(0, NORMALIZED_TILE, STRIP_ROWS)]


def _import(source: Path, root: Path) -> tuple[float, float]:
    """MB of anonymous memory, seconds."""
    peak, ended = [0.0], threading.Event()
    watching = threading.Thread(target=_watch, args=(peak, ended))
    watching.start()
    start = time.monotonic()
    try:
        with ImportProcesses(ImportOptions(root, root / ".pending")) as processes:
            (result,) = processes.run([source])
    finally:
        ended.set()
        watching.join()
    if not result.status.is_good:
        raise RuntimeError(f"{source.name}: {result.error}")
    return peak[0], time.monotonic() - start


def _watch(peak: list[float], ended: threading.Event) -> None:
    """Look at the processes below this one that are below another: those of imports."""
    while not ended.wait(SAMPLE_SECONDS):
        for server in _children(os.getpid()):
            for worker in _children(server):
                peak[0] = max(peak[0], _anon_mb(worker))


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _anon_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def _cpu_of(work: Callable[[], None]) -> float:
    """CPU seconds, in a process of its own that has everything loaded."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            before = _used()
            work()
            code = 0
            Path(_report(os.getpid())).write_text(str(_used() - before))
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    report = Path(_report(pid))
    if status != 0:
        raise RuntimeError(f"a measurement ended with status {status}")
    seconds = float(report.read_text())
    report.unlink()
    return seconds


def _report(pid: int) -> str:
    return os.path.join(tempfile.gettempdir(), f"conversion-{pid}")


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _convert(source: Path) -> None:
    with LocalSource(source) as file, tempfile.TemporaryDirectory() as folder:
        fmt = discover_formats().identify(Probe(file))
        with fmt(file, context=ReadContext()) as image:
            convert_to_pyramid(image, Path(folder, "out"), lossless_codec="zstd", jpeg_quality=90, threads=1)


def _parts(side: int, row: NDArray[np.uint8], strips: Sequence[bytes]) -> None:
    """Encode as many tiles of every level as the image has, halve every row of tiles, inflate every strip."""
    for index in range(-(-side // STRIP_ROWS) if strips else 0):
        imagecodecs.zlib_decode(strips[index % len(strips)])
    encoder: TileEncoder = PyramidSpec(side, side, 3, "uint8", codec=TileCodec.ZSTD).encoder
    for tier in PyramidSpec(side, side, 3, "uint8").pyramid.tiers:
        for _ in range(tier.rows):
            for column in range(tier.columns):
                left = column * NORMALIZED_TILE
                encoder.encode(row[:, left : left + NORMALIZED_TILE].copy())
            halved = halve(row)
        width = max(-(-tier.columns // 2), 1) * NORMALIZED_TILE
        row = np.tile(halved, (2, 2, 1))[:, :width].copy()


def table(rows: Sequence[ConversionRow]) -> str:
    """In Markdown."""
    lines = [
        "| Work | Anonymous memory MB | CPU s | Its parts alone s | Ratio | Import s | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = f"{row.anon_mb:.0f} | {row.cpu:.1f} | {row.parts_cpu:.1f} | **{row.ratio:.2f}**"
        lines.append(f"| {row.work} | {numbers} | {row.seconds:.1f} | {'missed' if row.missed else 'met'} |")
    lines.append("")
    lines.append(f"Bars: at most {MAX_ANON_MB} MB, at most {MAX_RATIO} times the parts.")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 the bars are met, 1 one is missed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="benchmarks/conversion.py", description="Measure conversions.")
    parser.add_argument("--full", action="store_true", help=f"{FULL_SIDE} px a side instead of {SIDE}")
    parser.add_argument("--side", type=int, help="pixels a side")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where a JSON list is written")
    given = parser.parse_args(arguments)
    rows = measure(given.side or (FULL_SIDE if given.full else SIDE))
    print(table(rows))
    if given.out:
        given.out.write_text(
            json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=1) + "\n"
        )
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
