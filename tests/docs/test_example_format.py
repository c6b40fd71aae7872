"""The example of the page on writing a format: the page shows it, and it works."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.composition import Composition
from pims.errors import FileError
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat
from pims.formats.registry import discover_formats
from pims.model.planes import FIRST_PLANE
from pims.settings import Settings
from pims.testing.format_tests import FormatTests

if TYPE_CHECKING:
    from tests.docs.conftest import Block

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "format_plugin"
PACKAGE = "pims_plugin_format_pgm"


def _format_class() -> type[AbstractFormat]:
    spec = spec_from_file_location("example_format", EXAMPLE / PACKAGE / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[AbstractFormat] = module.PGMFormat
    return found


PGMFormat = _format_class()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example as an installed package is found: on the path, by its name."""
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module(PACKAGE)
    sys.modules.pop(PACKAGE, None)


@pytest.fixture
def imported(tmp_path: Path) -> Any:
    """Imports pixels as `pims import` does, with the example on the path; gives its answer."""

    def run(pixels: NDArray[np.uint8]) -> dict[str, str]:
        Image.fromarray(pixels).save(tmp_path / "picture.pgm")
        search = os.pathsep.join([str(EXAMPLE), str(REPOSITORY)])
        done = subprocess.run(
            [sys.executable, "-m", "pims.cli", "import", "--json", str(tmp_path / "picture.pgm")],
            env={**os.environ, "PYTHONPATH": search, "ROOT": str(tmp_path / "root")},
            capture_output=True,
            text=True,
            check=False,
        )
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    return run


def test_the_page_shows_the_example_as_it_is(blocks: list[Block]) -> None:
    sources = {
        "python": (EXAMPLE / PACKAGE / "__init__.py").read_text("utf-8"),
        "ini": (EXAMPLE / "pyproject.toml").read_text("utf-8"),
    }
    shown = [block for block in blocks if block.page.endswith("write-a-format.md")]
    parts = [block for block in shown if block.language in sources and "FormatTests" not in block.text]
    assert len(parts) >= 6
    for part in parts:
        assert part.text in sources[part.language], part.text


def test_the_example_is_discovered(plugin: Any) -> None:
    registry = discover_formats()
    assert not registry.failures
    assert registry.get("PGM") is plugin.PGMFormat


@pytest.mark.parametrize(("size", "spatial"), [((300, 200), "PGM"), ((1500, 1100), "PYRTIFF")])
def test_an_image_of_the_example_is_imported_with_its_pixels(
    plugin: Any, imported: Any, tmp_path: Path, size: tuple[int, int], spatial: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, size[::-1], dtype=np.uint8)
    answer = imported(pixels)
    assert (answer["status"], answer["format"]) == ("DEPLOYED", "PGM"), answer["error"]
    composition = Composition(Settings.load({}, root=tmp_path / "root"))
    try:
        with composition.pool.lease(answer["path"]) as image:
            assert image.manifest.spatial_format == spatial
            base = image.pyramid.base
            assert np.array_equal(image.reader.read_region(base, base.region, FIRST_PLANE)[:, :, 0], pixels)
    finally:
        composition.close()


class TestExample(FormatTests):
    """What every format promises, the example promises too."""

    format_class = PGMFormat

    def make_file(self, folder: Path) -> Path:
        path = folder / "picture.pgm"
        Image.fromarray(self.expected()[:, :, 0]).save(path)
        return path

    def expected(self) -> NDArray[Any]:
        return np.random.default_rng(2).integers(0, 256, (210, 333, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        b"P5\n40 30\n255\n" + bytes(100),
        b"P5\n40 30\n65535\n" + bytes(2400),
        b"P5\n999999999 999999999\n255\n",
        b"P5\n-1 x\n255\n",
    ],
    ids=["cut", "16 bits", "far too large", "no numbers"],
)
def test_a_file_the_example_cannot_read_is_refused_before_its_pixels_are(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "picture.pgm"
    path.write_bytes(data)
    with LocalSource(path) as source, PGMFormat(source) as image, pytest.raises(FileError):
        _ = image.main_imd
