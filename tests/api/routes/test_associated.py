"""Labels and macros: asked by name, at a size, or not there."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.formats.engines.tiff.metadata import TiffReader

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
    again = client.get(
        f"/image/{slide}/associated/label?length=40",
        headers={"accept": "image/png", "if-none-match": answer.headers["etag"]},
    )
    assert again.status_code in (200, 304)


@pytest.mark.parametrize("name", ["macro", "thumb"])
def test_a_picture_the_file_has_not_is_not_found(client: Any, slide: str, name: str) -> None:
    answer = client.get(f"/image/{slide}/associated/{name}")
    assert answer.status_code == 404
    assert answer.json()["title"] == "No appropriate representation found"


def test_other_names_and_sizes_are_refused(client: Any, slide: str) -> None:
    check: Callable[[str], int] = lambda rest: client.get(f"/image/{slide}/associated/{rest}").status_code  # noqa: E731
    assert check("other") == 422
    assert check("label?length=x") == 400
    assert check("label?length=100000") == 400
    assert client.get("/image/nothing/associated/label").status_code == 404
