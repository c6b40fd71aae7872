"""Bare ASGI applications that do the least a server has to do for the same answers.

Started by uvicorn with the settings of `pims serve`. What they need comes from the environment:
BENCH_ANSWERS for `recorded`, BENCH_SLIDE for the others.
"""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from starlette.types import ASGIApp, Receive, Scope, Send

from pims.files.source import LocalSource
from pims.formats.engines.tiff.directory import parse_tiff
from pims.formats.engines.tiff.jpeg import JpegSplicer
from pims.formats.engines.tiff.segments import SegmentTable
from pims.formats.engines.tiff.tags import Compression, Tag
from pims.model.limits import Limits
from pims.tasks.parent import die_with_parent

__all__ = ["Recorded", "codec", "deepzoom", "foreign", "lossless", "recorded", "write_answers"]

TILE = 256
QUALITY = 75
Headers = list[tuple[bytes, bytes]]
Recorded = dict[str, tuple[Headers, bytes]]
"""Headers and body by path."""


def write_answers(folder: Path, answers: Recorded) -> None:
    """Keep answers for the application `recorded`."""
    index, position = [], 0
    with (folder / "answers.bin").open("wb") as bodies:
        for path, (headers, body) in answers.items():
            text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
            index.append((path, text, position, len(body)))
            position += bodies.write(body)
    (folder / "answers.json").write_text(json.dumps(index))


def recorded() -> ASGIApp:
    """The same bytes under the same headers, from memory: what the HTTP server alone costs."""
    _end_with_supervisor()
    folder = Path(os.environ["BENCH_ANSWERS"])
    bodies = (folder / "answers.bin").read_bytes()
    answers: Recorded = {}
    for path, headers, position, size in json.loads((folder / "answers.json").read_text()):
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        answers[path] = (raw, bodies[position : position + size])
    del bodies

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers, body = answers[scope["path"]]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return application


def codec() -> ASGIApp:
    """A tile of the slide (/column/row): read, decoded and encoded in as many threads, nothing kept."""
    source = LocalSource(Path(os.environ["BENCH_SLIDE"]))
    base = parse_tiff(source, Limits()).directories[0]
    splicer = JpegSplicer(base.raw(Tag.JPEG_TABLES), rgb=False, grey=False)
    table = SegmentTable(base)
    columns = table.columns
    places = [table.locate(index) for index in range(columns * table.rows)]

    def make(column: int, row: int) -> bytes:
        place = places[row * columns + column]
        assert place is not None
        pixels = simplejpeg.decode_jpeg(splicer.complete(source.pread(*place)), colorspace="RGB")
        return bytes(simplejpeg.encode_jpeg(pixels, QUALITY, colorspace="RGB", colorsubsampling="420"))

    return _in_threads(make)


def foreign() -> ASGIApp:
    """The parts of a tile of 256 px on a grid of 240 px whose neighbours are in memory.

    1.14 tiles (256**2 / 240**2) are read and decoded, as much as a tile is put together and encoded.
    """
    source = LocalSource(Path(os.environ["BENCH_SLIDE"]))
    table = SegmentTable(parse_tiff(source, Limits()).directories[0])

    def decoded(index: int) -> NDArray[np.uint8]:
        place = table.locate(index % (table.columns * table.rows))
        assert place is not None
        return np.asarray(simplejpeg.decode_jpeg(source.pread(*place), colorspace="RGB"))

    def make(column: int, row: int) -> bytes:
        index = row * table.columns + column
        stored = decoded(index)
        if index % 7 == 0:
            decoded(index + 1)
        side = stored.shape[0]
        tile = np.empty((TILE, TILE, 3), np.uint8)
        tile[:side, :side], tile[side:, :side] = stored, stored[: TILE - side]
        tile[:, side:] = tile[:, : TILE - side]
        return bytes(simplejpeg.encode_jpeg(tile, QUALITY, colorspace="RGB", colorsubsampling="420"))

    return _in_threads(make)


def lossless() -> ASGIApp:
    """A tile compressed without loss (/column/row): read, inflated, added up, encoded; 16 bits cut to 8."""
    source = LocalSource(Path(os.environ["BENCH_SLIDE"]))
    base = parse_tiff(source, Limits()).directories[0]
    table = SegmentTable(base)
    bits, samples = base.integers(Tag.BITS_PER_SAMPLE)[0], base.integer(Tag.SAMPLES_PER_PIXEL, 1)
    zstd = base.integer(Tag.COMPRESSION, 1) == Compression.ZSTD
    inflate = imagecodecs.zstd_decode if zstd else imagecodecs.zlib_decode
    shape, dtype = (TILE, TILE, samples), np.dtype(f"<u{bits // 8}")

    def make(column: int, row: int) -> bytes:
        place = table.locate(row * table.columns + column)
        assert place is not None
        differences = np.frombuffer(inflate(source.pread(*place)), dtype).reshape(shape)
        pixels = np.asarray(imagecodecs.delta_decode(differences, axis=1))
        if bits > 8:
            pixels = (pixels >> bits - 8).astype(np.uint8)
        kind, chroma = ("RGB", "420") if samples == 3 else ("GRAY", "Gray")
        return bytes(simplejpeg.encode_jpeg(pixels, QUALITY, colorspace=kind, colorsubsampling=chroma))

    return _in_threads(make)


def deepzoom() -> ASGIApp:
    """The same tile through openslide-python's DeepZoomGenerator, in as many threads."""
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    slide = openslide.OpenSlide(os.environ["BENCH_SLIDE"])
    generator = DeepZoomGenerator(slide, TILE, 0)
    last = generator.level_count - 1

    def make(column: int, row: int) -> bytes:
        out = io.BytesIO()
        generator.get_tile(last, (column, row)).save(out, "jpeg", quality=QUALITY)
        return out.getvalue()

    return _in_threads(make)


def _in_threads(make: Callable[[int, int], bytes]) -> ASGIApp:
    """An application that answers /column/row with the JPEG that `make` gives."""
    _end_with_supervisor()
    threads = ThreadPoolExecutor(os.cpu_count(), "render")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            _, column, row = scope["path"].split("/")
            body = await asyncio.get_running_loop().run_in_executor(threads, make, int(column), int(row))
            headers = [(b"content-type", b"image/jpeg"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return application


def _end_with_supervisor() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
