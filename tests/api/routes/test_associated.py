"""Labels and macros: asked by name, at a size, or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pims.formats.engines.tiff.metadata import TiffReader
from tests.imported import import_slide

LABEL = np.arange(30 * 40 * 3, dtype=np.uint32).reshape(40, 30, 3).astype(np.uint8)


@pytest.fixture
def with_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of the slide list a label of 30 x 40 px; here its reader can read it."""

    def read_label(self: TiffReader, out_width: int, out_height: int) -> NDArray[Any]:
        return LABEL

    monkeypatch.setattr(TiffReader, "read_label", read_label)


@pytest.mark.usefixtures("with_label")
def test_a_picture_comes_at_the_size_asked(client: Any, slide: str) -> None:
    for query, size in (("?length=40", (30, 40)), ("?width=15", (15, 20)), ("?height=1", (30, 40))):
        answer = client.get(f"/image/{slide}/associated/label{query}", headers={"accept": "image/png"})
        assert answer.status_code == 200, answer.text
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == size
            if size == (30, 40):
                np.testing.assert_array_equal(np.asarray(image), LABEL)


@pytest.mark.usefixtures("with_label")
def test_a_picture_the_client_has_is_not_sent_again(client: Any, slide: str) -> None:
    def ask(length: int, **headers: str) -> Any:
        url = f"/image/{slide}/associated/label?length={length}"
        return client.get(url, headers={"accept": "image/png", **headers})

    tag = ask(40).headers["etag"]
    again = ask(40, **{"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for other in (ask(20, **{"if-none-match": tag}), ask(40, **{"if-none-match": '"other"'})):
        assert other.status_code == 200
        assert other.content


@pytest.fixture
def aperio_slide(root: Path, tmp_path: Path) -> str:
    """An imported slide with two levels, a thumbnail, and a label, as a scanner orders them."""
    pytest.importorskip("pims_plugin_format_openslide", reason="the plug-in that reads SVS is not installed")
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as tiff:
        base = np.full((600, 800, 3), 90, np.uint8)
        tiff.write(base, tile=(256, 256), photometric="rgb", description="Aperio|MPP = 0.5", metadata=None)
        tiff.write(base[::4, ::4].copy(), photometric="rgb", rowsperstrip=16, metadata=None)
        tiff.write(base[::2, ::2].copy(), tile=(256, 256), photometric="rgb", metadata=None)
        tiff.write(LABEL, photometric="rgb", compression="lzw", subfiletype=1, metadata=None)
    return import_slide(root, path)


def test_the_label_that_a_scanner_stored_is_sent(client: Any, aperio_slide: str) -> None:
    described = client.get(f"/image/{aperio_slide}/info").json()["associated"]
    assert {(a["name"], a["width"], a["height"]) for a in described} == {
        ("label", 30, 40),
        ("thumb", 200, 150),
    }
    url = f"/image/{aperio_slide}/associated/label"
    answer = client.get(f"{url}?length=40", headers={"accept": "image/png"})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        np.testing.assert_array_equal(np.asarray(image), LABEL)
    smaller = client.get(f"{url}?width=15", headers={"accept": "image/png"})
    with Image.open(io.BytesIO(smaller.content)) as image:
        expected = LABEL.reshape(20, 2, 15, 2, 3).mean(axis=(1, 3))
        assert np.abs(np.asarray(image) - expected).max() <= 0.51
    again = client.get(
        f"{url}?length=40", headers={"accept": "image/png", "if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert client.get(f"/image/{aperio_slide}/associated/macro").status_code == 404


@pytest.mark.parametrize("name", ["macro", "thumb"])
def test_a_picture_the_file_has_not_is_not_found(client: Any, slide: str, name: str) -> None:
    answer = client.get(f"/image/{slide}/associated/{name}")
    assert answer.status_code == 404
    assert answer.json()["title"] == "No appropriate representation found"


def test_other_names_and_sizes_are_refused(client: Any, slide: str) -> None:
    def check(rest: str) -> int:
        status: int = client.get(f"/image/{slide}/associated/{rest}").status_code
        return status

    assert check("other") == 422
    assert check("label?length=x") == 400
    assert check("label?length=100000") == 400
    assert client.get("/image/nothing/associated/label").status_code == 404
