"""The README's commands, run; and those of the other pages."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from tests.docs.conftest import Block, Place, StartServer

pytestmark = pytest.mark.timeout(900)  # with CI set, the first test waits for `make setup`

LOADED = re.compile(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s>)]+)""")
"""What a page makes a browser fetch, or could."""


@pytest.fixture(scope="module")
def readme(blocks: list[Block]) -> list[Block]:
    return [block for block in blocks if block.page == "README.md"]


def test_the_first_screen_has_the_two_commands_that_do_everything(
    readme: list[Block], checkout: Path
) -> None:
    assert [block.text for block in readme[:2]] == ["make run\n", "make test\n"]
    first_screen = (checkout / "README.md").read_text("utf-8").splitlines()[:25]
    assert {"make run", "make test"} <= set(first_screen)


@pytest.mark.parametrize("word", ["run", "test", "lint", "bench", "docs", "lock", "setup", "clean"])
def test_there_is_one_word_per_task(place: Place, word: str) -> None:
    assert place.run(f"make -n {word}").returncode == 0


def test_make_test_runs_the_whole_suite(place: Place) -> None:
    assert place.run("make -n test").stdout.splitlines()[-1] == ".venv/bin/python -m pytest"


def test_make_says_what_is_missing_when_python_is_too_old(place: Place, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = place.run(f"make --always-make setup PYTHON={old}")
    assert done.returncode == 2
    assert "PIMS needs Python 3.11 or newer" in done.stderr


def test_make_run_prints_the_addresses_of_a_page_with_the_slide_and_of_the_api(served: Any) -> None:
    _, printed = served
    page = httpx.get(printed["page"])
    assert page.status_code == 200
    assert "one slide.tif" in page.text
    pictures = [link for link in LOADED.findall(page.text) if "/thumb" in link]
    assert pictures
    for link in pictures:
        picture = httpx.get(urljoin(printed["page"], link.replace("&amp;", "&")))
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert httpx.get(printed["docs"]).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/swagger"])
def test_pages_load_nothing_from_elsewhere(served: Any, path: str) -> None:
    _, printed = served
    base = urljoin(printed["page"], path)
    page = httpx.get(base)
    links = LOADED.findall(page.text)
    assert links
    for link in links:
        assert urljoin(base, link).startswith(printed["page"]), link
        if "oauth2" not in link:
            assert httpx.get(urljoin(base, link.replace("&amp;", "&"))).status_code == 200, link


def test_the_json_of_an_import_is_as_shown(served: Any, readme: list[Block]) -> None:
    place, _ = served
    command = next(block.text for block in readme if "import --json" in block.text)
    shown = json.loads(next(block.text for block in readme if block.language == "json"))
    done = place.run(command)
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)
    assert list(given) == list(shown)
    again = {"source": str(place.slides / "one slide.tif"), "path": place.path, "status": "SKIPPED"}
    assert {name: given[name] for name in again} == again
    assert (given["format"], given["error"]) == (shown["format"], shown["error"])


def test_the_curl_commands_give_the_pixels_they_promise(
    served: Any, readme: list[Block], pixels: NDArray[np.uint8]
) -> None:
    place, _ = served
    command = next(block.text for block in readme if "curl" in block.text)
    done = place.run(command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"]["width"] == pixels.shape[1]
    assert _opened(place, "thumb.jpg").size == (512, 375)
    tile, dark = _opened(place, "tile.jpg"), _opened(place, "dark.jpg")
    assert tile.size == (256, 256)
    assert np.mean(np.asarray(dark)) < np.mean(np.asarray(tile)) - 10
    window = np.asarray(_opened(place, "window.png"))
    assert np.array_equal(window, pixels[50:350, 100:500])


def _opened(place: Place, name: str) -> Image.Image:
    with Image.open(place.checkout / name) as image:
        image.load()
        return image


def test_every_command_of_every_page_runs(blocks: list[Block], served: Any) -> None:
    place, _ = served
    commands = [block for block in blocks if block.language == "sh" and not block.text.startswith("make ")]
    assert len({block.page for block in commands}) >= 4
    for block in commands:
        done = place.run(block.text)
        assert done.returncode == 0, f"{block.page}: {block.text}{done.stdout}{done.stderr}"


@pytest.mark.skipif("CI" not in os.environ, reason="makes a slide of 20,000 px: set CI to run it")
def test_make_run_without_images_makes_the_demonstration_slide(
    served: Any, readme: list[Block], tmp_path: Path, start_server: StartServer
) -> None:
    with start_server(readme[0].text, PORT="0", ROOT=str(tmp_path / "root")) as server:
        page = server.wait_for(r"http://\S+", 30)[0]
        server.wait_for("1 imported", 120)
        assert "demonstration.tiff" in httpx.get(page).text
