"""Damaged and hostile TIFFs: refused with a reason, or read; never anything else, slowly or greedily."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pims.errors import FileError, LimitExceeded
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry, discover_formats
from pims.importer.integrity import check_integrity
from pims.model.limits import Limits
from pims.model.planes import FIRST_PLANE
from tests.formats.tiff_files import (
    ASCII,
    BYTE,
    LONG,
    LONG8,
    SHORT,
    Page,
    build,
    jpeg_of,
    noise,
    page_of,
    smooth,
    split_tables,
    tiles_of,
)

SMALL = Limits(max_segment_bytes=64 << 20, max_decode_pixels=1 << 24)
"""So that what a change makes large is refused, not decoded: the machine is shared."""
READ_PIXELS = 1 << 20
"""Of a whole tier that is read here: changed bytes may say any size within the limits."""
SECONDS = 9.0
MEMORY = 200 << 20


@pytest.fixture(scope="module")
def registry() -> FormatRegistry:
    return discover_formats()


def outcome(data: bytes, registry: FormatRegistry, folder: Path, limits: Limits = SMALL) -> FileError | None:
    """The refusal, if it is refused; whatever else happens fails the test. All questions are asked."""
    path = folder / "hostile"
    path.write_bytes(data)
    start = time.process_time()
    try:
        with LocalSource(path) as source:
            found = registry.identify(Probe(source, limits))
            with found(source, context=ReadContext(limits)) as image:
                ask_everything(image)
        return None
    except FileError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return error
    finally:
        assert time.process_time() - start < SECONDS


def ask_everything(image: AbstractFormat) -> None:
    json.dumps(dict(image.raw_metadata), allow_nan=False)
    check_integrity(image, lambda fraction: None)
    for tier in image.pyramid.tiers:
        if tier.width * tier.height <= READ_PIXELS:
            for reduction in (1, 8):
                image.reader.read_region(tier, tier.region, FIRST_PLANE, reduction)
        image.reader.read_stored_tile(tier, 0, 0, FIRST_PLANE)


def pyramid_page(width: int, height: int, **options: Any) -> Page:
    pixels = smooth(width, height)
    coded = [split_tables(jpeg_of(part, rgb=True)) for part in tiles_of(pixels, 16, 16)]
    tags = {347: (7, coded[0][0])} | options.pop("tags", {})
    return page_of(pixels, [stream for _, stream in coded], (16, 16), compression=7, tags=tags, **options)


def seeds() -> dict[str, bytes]:
    """Small valid files of every kind."""
    base = pyramid_page(40, 24)
    base.sub = [pyramid_page(20, 12, tags={254: (LONG, [1])})]
    slide = pyramid_page(
        40, 24, tags={270: (ASCII, b"Aperio x\r\n40x24|AppMag = 20|MPP = 0.5|Date = 12/29/09")}
    )
    label = page_of(noise(9, 8), [noise(9, 8).tobytes()], tags={254: (LONG, [1])})
    plain = noise(30, 20, 4, "uint16")
    found = {
        "pyramid": build([base]),
        "slide": build([slide, label, pyramid_page(20, 12)], order=">"),
        "bigtiff": build([page_of(plain, [plain.tobytes()], tags={338: (SHORT, [2])})], big=True),
    }
    found |= rarer_seeds()
    for codec in ("lzw", "zlib", "zstd", "packbits", "lzma"):
        stream = io.BytesIO()
        options = {
            "compression": codec,
            "predictor": codec != "packbits",
            "rowsperstrip": 7,
            "metadata": None,
        }
        tifffile.imwrite(stream, noise(30, 20), **options)
        found[codec] = stream.getvalue()
    return found


def rarer_seeds() -> dict[str, bytes]:
    """Codecs, colours and layouts that few files use."""
    color, grey, floats = smooth(32, 16), noise(32, 16, 1), smooth(32, 16, 1, "uint16").astype("float32")
    pictures = {
        "jpeg 2000": (34712, imagecodecs.jpeg2k_encode(color, level=0, codecformat="j2k")),
        "jp2": (33003, imagecodecs.jpeg2k_encode(color, level=30, codecformat="jp2", mct=False)),
        "webp": (50001, imagecodecs.webp_encode(color, lossless=True)),
        "lossy webp": (50001, imagecodecs.webp_encode(color, level=50)),
        "lerc": (34887, imagecodecs.lerc_encode(color)),
        "old jpeg": (6, jpeg_of(color, rgb=False)),
    }
    found = {
        name: build([page_of(color, [bytes(data)], compression=code, photometric=6 if code == 6 else 2)])
        for name, (code, data) in pictures.items()
    }
    bits = np.packbits(grey[..., 0] > 99, axis=1).tobytes()
    one = {258: (SHORT, [1])}
    predicted = zlib.compress(imagecodecs.floatpred_encode(floats, axis=-2).tobytes())
    planes: list[bytes | None] = [zlib.compress(color[..., index].tobytes()) for index in range(3)]
    pages = {
        "lerc of floats": page_of(
            floats,
            [bytes(imagecodecs.lerc_encode(floats[..., 0]))],
            compression=34887,
            tags={339: (SHORT, [3])},
        ),
        "floats": page_of(floats, [predicted], compression=8, tags={317: (SHORT, [3]), 339: (SHORT, [3])}),
        "bits": page_of(grey, [bits], photometric=0, tags=one),
        "palette": page_of(grey, [grey.tobytes()], photometric=3, tags={320: (SHORT, list(range(768)))}),
        "inks": page_of(noise(9, 8, 4), [noise(9, 8, 4).tobytes()], photometric=5),
        "lab": page_of(color, [color.tobytes()], photometric=8),
        "shared colours": page_of(
            color, [bytes(32 * 16 // 4 * 6)], photometric=6, tags={530: (SHORT, [2, 2])}
        ),
        "planes": page_of(color, planes, compression=8, tags={284: (SHORT, [2])}),
        "12 bits": page_of(noise(32, 16, 1, "uint16"), [bytes(48 * 16)], tags={258: (SHORT, [12])}),
    }
    stream = io.BytesIO()
    Image.fromarray(grey[..., 0] > 99).save(stream, "TIFF", compression="group4")
    return found | {"fax": stream.getvalue()} | {name: build([page]) for name, page in pages.items()}


SEEDS = seeds()


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_that_are_damaged_below_are_read_when_whole(
    name: str, registry: FormatRegistry, tmp_path: Path
) -> None:
    assert outcome(SEEDS[name], registry, tmp_path) is None


@pytest.mark.parametrize("name", SEEDS)
def test_a_file_cut_anywhere_is_refused_or_read(name: str, registry: FormatRegistry, tmp_path: Path) -> None:
    data = SEEDS[name]
    for length in range(0, len(data), max(1, len(data) // 150)):
        outcome(data[:length], registry, tmp_path)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read(
    data: st.DataObject, registry: FormatRegistry, folder: Path
) -> None:
    changed = bytearray(SEEDS[data.draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(changed), registry, folder)


@settings(max_examples=800, deadline=None)
@given(data=st.data())
def test_changed_entries_are_refused_or_read(
    data: st.DataObject, registry: FormatRegistry, folder: Path
) -> None:
    """Types, counts and values of tags are what the rest depends on."""
    changed = bytearray(SEEDS[data.draw(st.sampled_from(sorted(SEEDS)))])
    entries = list(entries_of(bytes(changed)))
    for _ in range(data.draw(st.integers(1, 3))):
        position, order, size = data.draw(st.sampled_from(entries))
        match data.draw(st.sampled_from(["code", "type", "count", "value"])):
            case "code":
                code = data.draw(
                    st.sampled_from([256, 257, 258, 259, 262, 273, 277, 278, 317, 322, 324, 330, 347])
                )
                struct.pack_into(order + "H", changed, position, code)
            case "type":
                struct.pack_into(order + "H", changed, position + 2, data.draw(st.integers(0, 19)))
            case "count":
                whole = (1 << size * 8) - 1
                count = data.draw(st.integers(0, 20) | st.sampled_from([whole, whole >> 1, 1 << 20, 65_537]))
                struct.pack_into(order + ("I" if size == 4 else "Q"), changed, position + 4, count)
            case _:
                value = data.draw(st.binary(min_size=size, max_size=size) | st.sampled_from(EDGES))
                value = value.ljust(size, b"\0")[:size]
                changed[position + 4 + size : position + 4 + 2 * size] = value
    outcome(bytes(changed), registry, folder)


CODES = [256, 257, 258, 259, 262, 273, 277, 278, 317, 322, 324, 330, 347]
EDGES = [bytes(8), b"\xff" * 8, b"\1" + bytes(7), bytes(3) + b"\1", b"\0\0\0\x80" * 2, b"\x08" + bytes(7)]


def entries_of(data: bytes) -> Iterator[tuple[int, str, int]]:
    """(position, byte order, size of a value) of every entry of the main chain."""
    order, big = ("<" if data[:2] == b"II" else ">"), 43 in data[2:4]
    size, head = (8, 8) if big else (4, 2)
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, size)
    while offset:
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
        for index in range(count):
            yield offset + head + index * (4 + 2 * size), order, size
        end = offset + head + count * (4 + 2 * size)
        (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def image(width: int, height: int, tile: tuple[int, int] | None = None, **tags: Any) -> Page:
    """Of any size: the stored bytes are few."""
    page = page_of(noise(1, 1, tags.pop("samples", 1)), [tags.pop("stored", bytes(64))], tile, **tags)
    page.tags[256], page.tags[257] = (LONG, [width]), (LONG, [height])
    return page


def sparse(width: int, height: int, tile: tuple[int, int], kind: int = BYTE, **tags: Any) -> Page:
    """No tile is stored."""
    count = -(-width // tile[0]) * -(-height // tile[1])
    page = image(width, height, tile, **tags)
    page.segments = []
    page.tags |= {324: (kind, [0] * count), 325: (kind, [0] * count)}
    return page


def jpeg_tile(side: int, jpeg: bytes) -> bytes:
    return build([image(side, side, (side, side), compression=7, stored=jpeg)])


def jpeg_scans(count: int) -> bytes:
    """A progressive JPEG of 512 x 512 px with so many scans more than it needs."""
    stream = io.BytesIO()
    Image.fromarray(smooth(512, 512, 1)[..., 0]).save(stream, "JPEG", progressive=True)
    jpeg = stream.getvalue()
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def crafted() -> dict[str, bytes]:
    deflated = zlib.compress(bytes(60 << 20), 9)
    jpeg = bytes(imagecodecs.jpeg8_encode(np.zeros((16, 16), np.uint8)))
    frame = jpeg.index(b"\xff\xc0")
    huge_jpeg = jpeg[: frame + 5] + b"\x20\0\x20\0" + jpeg[frame + 9 :]
    chain = [Page() for _ in range(3000)]
    return {
        "no width": build([image(0, 10)]),
        "no height": build([image(10, 0)]),
        "a tile of no width": build([image(10, 10, (0, 16))]),
        "a tile of 2e9 px": build([image(10, 10, (2_000_000_000, 2_000_000_000))]),
        "4e9 px a side": build([image(4_000_000_000, 4_000_000_000)]),
        "4e6 px a side in one strip": build([image(4_000_000, 4_000_000)]),
        "4e6 px a side in tiles without a table": build([image(4_000_000, 4_000_000, (16, 16))]),
        "16 TB of tiles of one byte": build([image(4_000_000, 4_000_000, (4096, 4096))]),
        "rows of 1 GiB": build([image(4_000_000, 1000, samples=16)]),
        "a large sparse tile": build([sparse(4000, 4000, (4096, 4096))]),
        "a strip of deflated zeros": build([image(8000, 8000, compression=8, stored=deflated)]),
        "a JPEG that says it is large": jpeg_tile(8192, huge_jpeg),
        "a JPEG of many scans": jpeg_tile(512, jpeg_scans(100)),
        "a million tiny tiles": build([sparse(1024, 1024, (1, 1))]),
        "tiles of a pixel": build([sparse(125, 125, (1, 1))]),
        "a table of bytes of the whole file": build(
            [image(4096, 4096, (16, 16), tags={325: (LONG8, [1 << 62] * 4), 324: (LONG, [8] * 4)})], big=True
        ),
        "tiles that claim the whole file": build(
            [image(64, 64, (16, 16), compression=8, stored=bytes(20 << 20), tags={
                324: (LONG, [8] * 16), 325: (LONG, [20 << 20] * 16)})]
        ),
        "a tile at the end of 64 bits": build(
            [image(16, 16, (16, 16), tags={324: (LONG8, [2**64 - 1]), 325: (LONG8, [2**64 - 1])})], big=True
        ),
        "many empty directories": build([image(10, 10), *chain]),
        "a description of numbers": build([image(10, 6, rows=6, tags={270: (LONG, [1] * 60_000)})]),
        "many bits per sample": build([image(10, 10, tags={258: (LONG, [8] * 60_000)})]),
        "millions of extra samples": build([image(10, 10, tags={338: (BYTE, [1] * 3_000_000)})]),
        "millions of SubIFDs": build([image(10, 10, (16, 16), tags={330: (LONG, [8] * 1_000_000)})]),
        "SubIFDs at random": build([image(10, 10, (16, 16), tags={330: (LONG, list(range(8, 60_000)))})]),
    }  # fmt: skip


CRAFTED = crafted()
READ = {"a large sparse tile", "tiles of a pixel", "a description of numbers"}
"""Odd, and nothing to complain of."""


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_costs_little(name: str, registry: FormatRegistry, tmp_path: Path) -> None:
    # The real limits: what is refused is refused by them.
    found = outcome(CRAFTED[name], registry, tmp_path, Limits())
    assert (found is None) == (name in READ), f"{name}: {found!r}"


@pytest.mark.parametrize("name", sorted(CRAFTED.keys() - READ))
def test_a_crafted_file_that_is_refused_takes_little_memory(
    name: str, registry: FormatRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.formats.test_tiff_hostile.SECONDS", 60)  # measuring memory takes time
    tracemalloc.start()
    try:
        outcome(CRAFTED[name], registry, tmp_path, Limits())
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_too_little_memory_is_told_as_such(
    registry: FormatRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pims.formats.engines.tiff.compose.SegmentDecoder.decode", no_memory)
    assert isinstance(outcome(SEEDS["zstd"], registry, tmp_path), LimitExceeded)
