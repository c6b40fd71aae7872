"""Tiles, thumbs and resized images asked by a body: the same as asked by a URL."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

SAME = [
    ("normalized-tile/zoom/1/ti/1.png", "normalized-tile.png", {"tile": {"zoom": 1, "ti": 1}}),
    ("normalized-tile/level/0/tx/2/ty/1", "normalized-tile", {"tile": {"level": 0, "tx": 2, "ty": 1}}),
    (
        "normalized-tile/zoom/2/ti/3.png?gammas=2&min_intensities=10,20,30",
        "normalized-tile.png",
        {"tile": {"zoom": 2, "ti": 3}, "gammas": 2, "min_intensities": [10, 20, 30]},
    ),
    ("tile/level/1/ti/0.jpg", "tile.jpg", {"tile": {"level": 1, "ti": 0}}),
    ("tile/zoom/0/tx/1/ty/0.webp", "tile.webp", {"tile": {"zoom": 0, "tx": 1, "ty": 0}}),
    ("thumb.png?length=100", "thumb.png", {"length": 100}),
    ("thumb", "thumb", {}),
    (
        "thumb.png?width=0.5&gammas=0.5",
        "thumb.png",
        {"width": 0.5, "gammas": [0.5], "use_precomputed": False},
    ),
    ("resized?length=100", "resized", {"length": 100}),
    ("resized.jpg?level=1", "resized.jpg", {"level": 1}),
]
NO_TILE = [
    {},
    {"zoom": 1},
    {"ti": 0},
    {"zoom": 1, "level": 1, "ti": 0},
    {"zoom": 1, "tx": 0},
    {"zoom": 1, "ti": 0, "tx": 0, "ty": 0},
    {"zoom": 1, "ti": 0, "ty": 0},
    {"zoom": 99, "ti": 0},
    {"zoom": 0, "ti": 99},
    {"zoom": 2, "tx": 9, "ty": 0},
]


@pytest.mark.parametrize(("url", "path", "body"), SAME)
def test_a_body_asks_what_a_url_asks(client: Any, slide: str, url: str, path: str, body: Any) -> None:
    asked = client.get(f"/image/{slide}/{url}")
    posted = client.request("POST", f"/image/{slide}/{path}", json=body)
    assert (asked.status_code, posted.status_code) == (200, 200), posted.text
    assert posted.content == asked.content
    assert posted.headers["content-type"] == asked.headers["content-type"]


def test_an_answer_to_a_body_is_given_whole(client: Any, slide: str) -> None:
    for path, body in (("tile", {"tile": {"zoom": 0, "ti": 0}}), ("thumb", {}), ("resized", {"length": 9})):
        answer = client.request("POST", f"/image/{slide}/{path}", json=body, headers={"if-none-match": "*"})
        assert answer.status_code == 200


@pytest.mark.parametrize("tile", NO_TILE)
def test_a_place_that_is_no_tile_is_refused(client: Any, slide: str, tile: Any) -> None:
    for path in ("tile", "normalized-tile"):
        answer = client.request("POST", f"/image/{slide}/{path}", json={"tile": tile})
        assert answer.status_code in (400, 422)
        assert answer.json()["errors"][0]["in"] == "body"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tile", {"tile": {"zoom": 0, "ti": 0, "more": 1}}),
        ("thumb", {"length": -1}),
        ("thumb", {"gammas": {"a": 1}}),
        ("thumb", {"z_reduction": "MAX"}),
        ("resized", {"bits": 4}),
        ("resized", {}),
        ("resized", []),
    ],
)
def test_a_wrong_body_is_refused(client: Any, slide: str, path: str, body: Any) -> None:
    answer = client.request("POST", f"/image/{slide}/{path}", json=body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_resized_image_is_as_large_as_asked(client: Any, slide: str) -> None:
    for query, size in (
        ("", (256, 171)),
        ("?length=90", (90, 60)),
        ("?height=200", (300, 200)),
        ("?width=0.1", (60, 40)),
        ("?zoom=1", (600, 400)),
        ("?level=1&length=7", (300, 200)),
    ):
        answer = client.get(f"/image/{slide}/resized{query}")
        assert answer.headers["content-type"] == "image/png"  # without a choice, what loses nothing
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == size, query
            assert set(np.unique(np.asarray(image))) <= {0, 50}  # of either tier
    assert client.get(f"/image/{slide}/resized?level=9").status_code == 400
    assert client.get(f"/image/{slide}/resized?length=20001").status_code == 400
