"""What only OpenSlide reads: taken where it is installed, refused with a hint where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from pims_plugin_format_openslide.openslide_fallback import NDPISlideFormat, SVSSlideFormat

from pims.errors import CorruptFile, LimitExceeded, UnsupportedFeature
from pims.files.source import LocalSource
from pims.formats.abstract import ReadContext
from pims.formats.probe import Probe
from pims.formats.registry import discover_formats
from pims.images.isolated import Helpers, IsolatedFormat
from pims.importer.integrity import check_integrity
from pims.model.limits import Limits
from pims.model.metadata import Objective
from pims.model.planes import FIRST_PLANE

WITHOUT_OPENSLIDE = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "openslide" else find(name)
from pims.formats.registry import discover_formats
registry = discover_formats()
print([fmt.get_identifier() for fmt in registry if "openslide" in fmt.get_plugin_name()], registry.failures)
"""
FIND = """
import sys
from pims.formats.registry import discover_formats
print([fmt.get_identifier() for fmt in discover_formats()], "openslide" in sys.modules)
"""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """An Aperio slide of two levels with macro."""
    y, x = np.mgrid[0:600, 0:800]
    pixels = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    description = "Aperio Image Library v11.2.1\r\n800x600|AppMag = 20|MPP = 0.4990"
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(64, 64), description=description, metadata=None)
        tiff.write(pixels[::2, ::2], rowsperstrip=16, metadata=None, description="Aperio thumbnail")
        tiff.write(pixels[::4, ::4], tile=(64, 64), description="Aperio", metadata=None)
        tiff.write(pixels[:100], subfiletype=9, description="Aperio\r\nmacro 800x100", metadata=None)
    return path


def test_files_that_the_engines_read_are_left_to_them(slide: Path) -> None:
    with LocalSource(slide) as source:
        assert not SVSSlideFormat.match(Probe(source)) and not NDPISlideFormat.match(Probe(source))
        assert discover_formats().identify(Probe(source)).get_identifier() == "SVS"


@pytest.mark.parametrize("isolated", [False, True])
def test_pixels_and_metadata_are_those_of_openslide(slide: Path, isolated: bool) -> None:
    with LocalSource(slide) as source, openslide.OpenSlide(slide) as there:
        image = IsolatedFormat(SVSSlideFormat, source, Helpers()) if isolated else SVSSlideFormat(source)
        with image:
            check_integrity(image, lambda part: None)
            full = image.full_imd
            assert (full.physical_size_x_um, full.objective) == (0.499, Objective(20, 20))
            assert image.raw_metadata["APERIO.AppMag"] == "20"
            assert [(a.name, a.width, a.height) for a in full.associated] == [("macro", 800, 100)]
            assert [(tier.width, tier.height) for tier in image.pyramid.tiers] == [(800, 600), (200, 150)]
            for tier in image.pyramid.tiers:
                ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
                whole = there.read_region((0, 0), tier.level, (tier.width, tier.height)).convert("RGB")
                assert np.array_equal(ours, np.asarray(whole))
            macro = image.reader.read_macro(1, 1)
            assert macro is not None
            assert np.array_equal(macro, np.asarray(there.associated_images["macro"].convert("RGB")))
            assert image.reader.read_label(1, 1) is None


def test_what_failed_once_is_no_obstacle_to_the_rest(slide: Path) -> None:
    with tifffile.TiffFile(slide) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    data = bytearray(slide.read_bytes())
    at = data.index(offset.to_bytes(4, "little"))
    data[at : at + 4] = (len(data) + 1000).to_bytes(4, "little")
    slide.write_bytes(data)
    with LocalSource(slide) as source, SVSSlideFormat(source) as image:
        base = image.pyramid.base
        with pytest.raises(CorruptFile, match="OpenSlide"):
            image.reader.read_region(base, base.tile_region(0, 0), FIRST_PLANE)
        assert image.reader.read_region(base, base.tile_region(2, 1), FIRST_PLANE).any()


def test_other_files_and_larger_ones_are_refused(slide: Path, tmp_path: Path) -> None:
    context = ReadContext(Limits(max_side=700))
    with LocalSource(slide) as source:
        image = SVSSlideFormat(source, context=context)
        with image, pytest.raises(LimitExceeded, match="700"):
            _ = image.main_imd
    (tmp_path / "text").write_text("no slide")
    with LocalSource(tmp_path / "text") as source:
        image = SVSSlideFormat(source)
        with image, pytest.raises(UnsupportedFeature, match="OpenSlide can't open"):
            _ = image.main_imd


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_without_openslide_its_formats_are_not_there() -> None:
    assert run(WITHOUT_OPENSLIDE).strip() == "['SVS', 'NDPI'] ()"


def test_a_server_that_finds_its_formats_has_not_loaded_openslide() -> None:
    said = run(FIND).strip()
    assert said.endswith("False") and "SVSSLIDE" in said


def test_a_file_that_needs_openslide_says_so_without_it(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with LocalSource(slide) as source:
        image = SVSSlideFormat(source)
        with image, pytest.raises(UnsupportedFeature, match="needs OpenSlide"):
            _ = image.main_imd
