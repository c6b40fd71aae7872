"""The example of the page on writing a format: the page shows it, and it works."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.composition import Composition
from pims.formats.registry import FormatRegistry, discover_formats
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE
from pims.settings import Settings

if TYPE_CHECKING:
    from tests.docs.conftest import Block

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "format_plugin"
PACKAGE = "pims_plugin_format_pgm"


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
    parts = [block for block in shown if block.language in sources and "pgm" in block.text.lower()]
    assert len(parts) >= 5
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
            part = image.reader.read_region(base, Region(16, 8, 101, 53), FIRST_PLANE, reduction=4)
            assert part.shape == (14, 26, 1)
            assert abs(int(part[0, 0, 0]) - pixels[8:12, 16:20].mean()) <= 1
    finally:
        composition.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"P5\n40 30\n255\n" + bytes(100), "ERROR_INTEGRITY"),
        (b"P5\n40 30\n65535\n" + bytes(2400), "ERROR_FORMAT"),
        (b"P5\n999999999 999999999\n255\n", "ERROR_INTEGRITY"),
    ],
)
def test_a_damaged_file_is_refused(
    plugin: Any, tmp_path: Path, data: bytes, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pims.importer.events import ImportEvent
    from pims.importer.flow import ImportOptions, import_file

    class Silent:
        def notify(self, event: ImportEvent) -> None:
            pass

    (tmp_path / "damaged.pgm").write_bytes(data)
    options = ImportOptions(tmp_path / "root", tmp_path / "root" / ".pending")
    result = import_file(tmp_path / "damaged.pgm", options, FormatRegistry(plugin.FORMATS), Silent())
    assert result.status == status, result.error
