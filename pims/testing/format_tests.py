"""The conformance suite of formats: what every format promises, core or plug-in.

A plug-in's tests subclass it and say how a file is made and what its pixels are::

    class TestXYZ(FormatTests):
        format_class = XYZFormat

        def make_file(self, folder: Path) -> Path:
            ...

        def expected(self) -> NDArray[Any]:
            ...

pytest finds the methods; nothing else is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pims.errors import FileError, StorageError
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext, Tile
from pims.formats.engines.tile_cache import TileCache
from pims.formats.probe import Probe
from pims.formats.registry import FormatRegistry, discover_formats
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import FIRST_PLANE
from pims.model.pyramid import Tier

__all__ = ["FOREIGN_FILES", "FormatTests", "block_means"]

FOREIGN_FILES = {
    "empty": b"",
    "text": b"This is no image.\n" * 20,
    "random bytes": np.random.default_rng(0).bytes(4096),
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(64),
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64),
    "TIFF": b"II*\0\x08\0\0\0" + bytes(64),
    "big-endian TIFF": b"MM\0*\0\0\0\x08" + bytes(64),
    "BigTIFF": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + bytes(64),
    "GIF": b"GIF89a" + bytes(64),
    "BMP": b"BM" + bytes(64),
    "WebP": b"RIFF\x40\0\0\0WEBPVP8 " + bytes(64),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
    "DICOM": bytes(128) + b"DICM" + bytes(64),
    "ZIP": b"PK\x03\x04" + bytes(64),
    "PDF": b"%PDF-1.7\n" + bytes(64),
}
"""What no checker may recognise, but for the beginnings of its own files."""
REDUCTIONS = (1, 2, 4, 8)
THREADS = 8
CUTS = 48
"""Lengths to which the file is cut."""


def block_means(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Means of factor x factor blocks (height, width, samples), edges replicated: the obvious reduction."""
    height, width, samples = pixels.shape
    whole = np.pad(pixels, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    blocks = whole.reshape(whole.shape[0] // factor, factor, whole.shape[1] // factor, factor, samples)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float64)


class FormatTests:
    """Subclass it, name it Test..., and give the class, a file and its pixels."""

    format_class: ClassVar[type[AbstractFormat]]
    tolerance: ClassVar[float] = 0
    """Largest difference of a pixel of the base from what is expected."""
    family: ClassVar[frozenset[str]] = frozenset()
    """Names in FOREIGN_FILES of what the checker may recognise, though it is no whole file."""
    reduced_tolerance: ClassVar[float] = 1
    """The same for what is shrunk, against the mean of the pixels; smaller tiers count as shrunk."""

    def make_file(self, folder: Path) -> Path:
        """Write a file of the format in this empty folder. Large enough to have edge tiles."""
        raise NotImplementedError

    def expected(self) -> NDArray[Any]:
        """All pixels of the base, first plane: (height, width, samples)."""
        raise NotImplementedError

    def expected_tier(self, tier: Tier) -> NDArray[Any] | None:
        """The pixels of a smaller tier, from its left top as far as known; None when they are not.

        By default the means of whole blocks, for tiers whose scale is a whole number.
        """
        scale = int(tier.scale_x)
        if tier.scale_x != tier.scale_y or tier.scale_x != scale:
            return None
        return _whole_blocks(self.expected(), scale)

    def decode_encoded(self, data: bytes) -> NDArray[Any]:
        """The pixels (height, width, samples) of a stored tile, by a decoder that is not the format's own."""
        from PIL import Image

        with Image.open(BytesIO(data)) as image:
            pixels = np.asarray(image)
        return pixels.reshape(*pixels.shape[:2], -1)

    def registry(self) -> FormatRegistry:
        """All formats installed, with this one."""
        installed = discover_formats()
        return installed if self.format_class in installed else installed.with_formats([self.format_class])

    # What is tested

    def test_the_checker_recognises_the_file(self, tmp_path: Path) -> None:
        with LocalSource(self.make_file(tmp_path)) as source:
            assert self.format_class.match(Probe(source))
            assert self.registry().identify(Probe(source)) is self.format_class

    def test_the_checker_does_not_recognise_other_files(self, tmp_path: Path) -> None:
        for name, data in FOREIGN_FILES.items():
            path = tmp_path / "foreign"
            path.write_bytes(data)
            with LocalSource(path) as source:
                assert name in self.family or not self.format_class.match(Probe(source)), name

    def test_the_metadata_keep_the_contract(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as image:
            main, full = image.main_imd, image.full_imd
            height, width, samples = self.expected().shape
            assert (main.width, main.height, main.n_samples) == (width, height, samples)
            assert main.pixel_type == self.expected().dtype.name
            assert 1 <= main.significant_bits <= main.bits
            assert (full.width, full.height, full.n_samples) == (width, height, samples)
            assert full.n_planes == main.n_planes >= 1
            assert [channel.index for channel in full.channels] == list(range(full.n_channels))
            for size in (full.physical_size_x_um, full.physical_size_y_um, full.physical_size_z_um):
                assert size is None or size > 0
            stored = json.loads(json.dumps(full.as_dict(), allow_nan=False))
            assert ImageMetadata.from_dict(stored) == full
            assert all(isinstance(key, str) for key in image.raw_metadata)
            json.dumps(dict(image.raw_metadata), allow_nan=False)

    def test_the_pyramid_keeps_the_contract(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as image:
            base, tiers = image.pyramid.base, image.pyramid.tiers
            assert (base.width, base.height) == (image.main_imd.width, image.main_imd.height)
            assert [tier.level for tier in tiers] == list(range(len(tiers)))
            for finer, coarser in pairwise(tiers):
                assert coarser.width <= finer.width and coarser.height <= finer.height
                assert coarser.region != finer.region
            for tier in tiers:
                assert min(tier.width, tier.height, tier.tile_width, tier.tile_height) >= 1

    def test_regions_of_every_tier_are_as_expected_at_every_reduction(self, tmp_path: Path) -> None:
        random = np.random.default_rng(1)
        with self._opened(tmp_path) as image:
            for tier in image.pyramid.tiers:
                known = self.expected() if tier.level == 0 else self.expected_tier(tier)
                for reduction in REDUCTIONS:
                    whole = None if known is None else _whole_blocks(known, reduction)
                    exact = tier.level == 0 and reduction == 1
                    for region in [tier.region, *_regions(random, tier, reduction, 12)]:
                        pixels = image.reader.read_region(tier, region, FIRST_PLANE, reduction)
                        self._check_array(image, pixels, region, reduction)
                        if whole is not None:
                            part = _part(whole, region, reduction)
                            self._check_close(
                                pixels[: part.shape[0], : part.shape[1]],
                                part,
                                self.tolerance if exact else self.reduced_tolerance,
                            )

    def test_what_may_be_overwritten_is_read_anew(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as image:
            for tier in image.pyramid.tiers:
                for _ in range(3):
                    pixels = image.reader.read_region(tier, tier.region, FIRST_PLANE)
                    known = pixels.copy()
                    if pixels.flags.writeable:
                        pixels.fill(1)
                        assert np.array_equal(image.reader.read_region(tier, tier.region, FIRST_PLANE), known)

    def test_every_tile_is_its_region(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as image:
            for tier in image.pyramid.tiers:
                for index in range(tier.tile_count):
                    tile = Tile(tier, *tier.position_of(index))
                    pixels = image.reader.read_tile(tile)
                    self._check_array(image, pixels, tile.region, 1)
                    assert np.array_equal(pixels, image.reader.read_region(tier, tile.region, FIRST_PLANE))

    def test_windows_and_thumbs_are_as_large_as_asked_or_larger(self, tmp_path: Path) -> None:
        random = np.random.default_rng(2)
        with self._opened(tmp_path) as image:
            base = image.pyramid.base
            whole = image.reader.read_region(base, base.region, FIRST_PLANE)
            assert np.array_equal(image.reader.read_thumb(base.width, base.height), whole)
            for region in _regions(random, base, 1, 30):
                same = image.reader.read_window(region, region.width, region.height)
                assert np.array_equal(same, image.reader.read_region(base, region, FIRST_PLANE))
                width = int(random.integers(1, region.width + 1))
                height = int(random.integers(1, region.height + 1))
                pixels = image.reader.read_window(region, width, height)
                assert pixels.shape[0] >= height and pixels.shape[1] >= width
                thumb = image.reader.read_thumb(width, height)
                assert thumb.shape[0] >= height and thumb.shape[1] >= width

    def test_planes_are_stacked_regions(self, tmp_path: Path) -> None:
        random = np.random.default_rng(3)
        with self._opened(tmp_path) as image:
            for tier in image.pyramid.tiers:
                for region in _regions(random, tier, 2, 3):
                    one = image.reader.read_region(tier, region, FIRST_PLANE, 2)
                    stack = image.reader.read_planes(region, tier, [FIRST_PLANE, FIRST_PLANE], 2)
                    assert np.array_equal(stack, np.stack([one, one]))

    def test_a_stored_tile_shows_what_is_read(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as image:
            for tier in image.pyramid.tiers:
                for index in range(tier.tile_count):
                    column, row = tier.position_of(index)
                    stored = image.reader.read_stored_tile(tier, column, row, FIRST_PLANE)
                    if stored is not None:
                        assert stored.media_type == "image/jpeg"
                        read = image.reader.read_tile(Tile(tier, column, row))
                        decoded = self.decode_encoded(stored.data)
                        assert decoded.shape == read.shape
                        self._check_close(decoded, read, 1)

    def test_threads_read_what_one_thread_reads(self, tmp_path: Path) -> None:
        if not self.format_class.reader_class.thread_safe:
            return
        path = self.make_file(tmp_path)
        random = np.random.default_rng(4)
        with self._opened_at(path) as image:
            asked = [
                (tier, region, reduction)
                for tier in image.pyramid.tiers
                for reduction in REDUCTIONS
                for region in _regions(random, tier, reduction, 24)
            ]
            alone = [image.reader.read_region(t, region, FIRST_PLANE, r) for t, region, r in asked]
        order = random.permutation(len(asked))
        # A small cache: what is read is decoded, evicted and decoded again.
        with self._opened_at(path, ReadContext(tile_cache=TileCache(1 << 20))) as image:

            def read(index: int) -> bool:
                tier, region, reduction = asked[index]
                pixels = image.reader.read_region(tier, region, FIRST_PLANE, reduction)
                return np.array_equal(pixels, alone[index])

            with ThreadPoolExecutor(THREADS) as threads:
                assert all(threads.map(read, order))

    def test_nothing_stays_open(self, tmp_path: Path) -> None:
        descriptors = Path("/proc/self/fd")
        if not descriptors.is_dir():
            return
        path = self.make_file(tmp_path)
        before = sorted(entry.name for entry in descriptors.iterdir())
        with self._opened_at(path) as image:
            self._read_everything(image)
        assert sorted(entry.name for entry in descriptors.iterdir()) == before

    def test_a_cut_file_is_refused_or_read(self, tmp_path: Path) -> None:
        data = self.make_file(tmp_path).read_bytes()
        path = tmp_path / "cut"
        for length in sorted({len(data) * part // CUTS for part in range(CUTS)} | {len(data) - 1}):
            path.write_bytes(data[:length])
            try:
                with LocalSource(path) as source:
                    recognised = self.format_class.match(Probe(source))
                if recognised:
                    with self._opened_at(path) as image:
                        self._read_everything(image)
            except (FileError, StorageError) as error:
                assert str(error)

    # How

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[AbstractFormat]:
        with self._opened_at(self.make_file(folder)) as image:
            yield image

    @contextmanager
    def _opened_at(self, path: Path, context: ReadContext | None = None) -> Iterator[AbstractFormat]:
        with LocalSource(path) as source, self.format_class(source, context=context) as image:
            yield image

    def _check_array(
        self, image: AbstractFormat, pixels: NDArray[Any], region: Region, reduction: int
    ) -> None:
        height, width = -(-region.height // reduction), -(-region.width // reduction)
        assert pixels.shape == (height, width, image.main_imd.n_samples)
        assert pixels.dtype == image.main_imd.pixel_type
        assert pixels.flags.c_contiguous

    def _check_close(self, pixels: NDArray[Any], known: NDArray[Any], tolerance: float) -> None:
        worst = np.abs(pixels.astype(np.float64) - known).max(initial=0)
        assert worst <= tolerance, f"a pixel is {worst:g} away from what is expected"

    def _read_everything(self, image: AbstractFormat) -> None:
        dict(image.raw_metadata)
        json.dumps(image.full_imd.as_dict())
        for tier in image.pyramid.tiers:
            image.reader.read_region(tier, tier.region, FIRST_PLANE)
            image.reader.read_stored_tile(tier, 0, 0, FIRST_PLANE)
        image.reader.read_thumb(64, 64)
        image.reader.read_label(64, 64)
        image.reader.read_macro(64, 64)
        image.reader.read_thumbnail(64, 64)


def _regions(random: np.random.Generator, tier: Tier, reduction: int, count: int) -> list[Region]:
    """Regions of a tier whose left and top are multiples of `reduction`."""
    found = []
    for _ in range(count):
        left = int(random.integers(tier.width)) // reduction * reduction
        top = int(random.integers(tier.height)) // reduction * reduction
        width, height = (int(random.integers(1, side + 1)) for side in (tier.width - left, tier.height - top))
        found.append(Region(left, top, width, height))
    return found


def _whole_blocks(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """The means of blocks, without those that the edges cut."""
    height, width = pixels.shape[0] // factor * factor, pixels.shape[1] // factor * factor
    return block_means(pixels[:height, :width], factor)


def _part(whole: NDArray[Any], region: Region, reduction: int) -> NDArray[Any]:
    """The reduced pixels that are wholly of the region: those it cuts may be of either mind."""
    left, top = region.left // reduction, region.top // reduction
    return whole[top : region.bottom // reduction, left : region.right // reduction]
