"""The conformance suite notices what it is there to notice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.formats.abstract import SignatureChecker
from pims.formats.common.png import PNGFormat, PNGParser, PNGReader
from pims.formats.probe import Probe
from pims.model.encoded import EncodedTile
from pims.model.geometry import Region
from pims.model.metadata import ImageMetadata
from pims.model.planes import Plane
from pims.model.pyramid import Tier
from pims.testing.format_tests import FormatTests

KNOWN = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
Change = Callable[[NDArray[Any], Region, int], NDArray[Any]]


def suite(**parts: Any) -> FormatTests:
    """The suite of a PNG format of which these parts are replaced."""
    fmt = type("WrongFormat", (PNGFormat,), parts)

    class Suite(FormatTests):
        format_class = fmt
        family = frozenset({"PNG"})

        def make_file(self, folder: Path) -> Path:
            path = folder / "file.png"
            Image.fromarray(KNOWN).save(path)
            return path

        def expected(self) -> NDArray[Any]:
            return KNOWN

    return Suite()


def reader(change: Change) -> type[PNGReader]:
    class Reader(PNGReader):
        def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
            return change(super().read_region(tier, region, plane, reduction), region, reduction)

    return Reader


WRONG_READERS: dict[str, Change] = {
    "mirrored": lambda pixels, region, reduction: np.ascontiguousarray(pixels[:, ::-1]),
    "samples swapped": lambda pixels, region, reduction: np.ascontiguousarray(pixels[..., ::-1]),
    "not contiguous": lambda pixels, region, reduction: pixels[:, ::-1],
    "another type": lambda pixels, region, reduction: pixels.astype(np.uint16),
    "a row short": lambda pixels, region, reduction: pixels[: region.height // reduction],
    "a level off": lambda pixels, region, reduction: pixels ^ np.uint8(1),
    "nearest instead of mean": lambda pixels, region, reduction: np.ascontiguousarray(
        KNOWN[region.top : region.bottom : reduction, region.left : region.right : reduction]
    ),
}


@pytest.mark.parametrize("wrong", WRONG_READERS)
def test_wrong_pixels_are_noticed(wrong: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError)):
        suite(
            reader_class=reader(WRONG_READERS[wrong])
        ).test_regions_of_every_tier_are_as_expected_at_every_reduction(tmp_path)


def test_pixels_that_depend_on_the_thread_are_noticed(tmp_path: Path) -> None:
    last: list[NDArray[Any]] = []

    def shared(pixels: NDArray[Any], region: Region, reduction: int) -> NDArray[Any]:
        last.append(pixels)
        return last[-1] if len(last) % 97 else last[-2]

    with pytest.raises(AssertionError):
        suite(reader_class=reader(shared)).test_threads_read_what_one_thread_reads(tmp_path)


def test_a_greedy_checker_is_noticed(tmp_path: Path) -> None:
    class Greedy(SignatureChecker):
        @classmethod
        def match(cls, probe: Probe) -> bool:
            return True

    with pytest.raises(AssertionError, match="empty"):
        suite(checker_class=Greedy).test_the_checker_does_not_recognise_other_files(tmp_path)


@pytest.mark.parametrize(
    "change", [{"width": 91}, {"n_samples": 1}, {"pixel_type": "uint16"}, {"channels": ()}]
)
def test_wrong_metadata_are_noticed(change: dict[str, Any], tmp_path: Path) -> None:
    class Parser(PNGParser):
        def parse_main_metadata(self) -> ImageMetadata:
            return replace(super().parse_main_metadata(), **change)

    with pytest.raises(AssertionError):
        suite(parser_class=Parser).test_the_metadata_keep_the_contract(tmp_path)


def test_a_stored_tile_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    class Reader(PNGReader):
        def read_stored_tile(
            self, tier: Tier, column: int, row: int, plane: Plane, *, may_block: bool = True
        ) -> EncodedTile | None:
            path = tmp_path / "other.jpg"
            Image.fromarray(255 - KNOWN).save(path, quality=100)
            return EncodedTile("image/jpeg", path.read_bytes())

    with pytest.raises(AssertionError, match="away from what is expected"):
        suite(reader_class=Reader).test_a_stored_tile_shows_what_is_read(tmp_path)


def test_a_file_left_open_is_noticed(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not tell what is open")
    left: list[Any] = []

    def opening(pixels: NDArray[Any], region: Region, reduction: int) -> NDArray[Any]:
        left.append((tmp_path / "left").open("w"))
        return pixels

    with pytest.raises(AssertionError):
        suite(reader_class=reader(opening)).test_nothing_stays_open(tmp_path)
    for file in left:
        file.close()


def test_an_error_of_another_kind_on_a_cut_file_is_noticed(tmp_path: Path) -> None:
    class Parser(PNGParser):
        def parse_raw_metadata(self) -> dict[str, Any]:
            raise IndexError

    with pytest.raises(IndexError):
        suite(parser_class=Parser).test_a_cut_file_is_refused_or_read(tmp_path)


def test_importing_it_needs_no_test_library() -> None:
    libraries = {"pytest", "PIL", "tifffile"}
    script = f"import sys, pims.testing.format_tests; print({libraries} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
