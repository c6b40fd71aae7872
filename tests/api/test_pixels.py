"""Thumbs and windows over HTTP."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.api.conftest import Client

REGION = {"left": 10, "top": 20, "width": 300, "height": 200}


def picture(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)))


def window(client: Client, slide: str, body: Any, extension: str = ".png", **headers: str) -> Any:
    return client.request("POST", f"/image/{slide}/window{extension}", json=body, headers=headers)


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", (256, 171)),
        ("?length=60", (60, 40)),
        ("?length=0.5", (300, 200)),
        ("?width=30", (30, 20)),
        ("?height=20&width=500", (30, 20)),
        ("?length=1", (600, 400)),
        ("?length=1200", (1200, 800)),
        ("?use_precomputed=false", (256, 171)),
    ],
)
def test_a_thumb_has_the_size_asked_for(
    shared_client: Client, shared_slide: str, query: str, size: tuple[int, int]
) -> None:
    answer = shared_client.get(f"/image/{shared_slide}/thumb.png{query}")
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == size


@pytest.mark.parametrize("query", ["length=0", "length=x", "width=-3", "height=nan", "use_precomputed=maybe"])
def test_a_wrong_size_is_refused_by_name(shared_client: Client, shared_slide: str, query: str) -> None:
    answer = shared_client.get(f"/image/{shared_slide}/thumb?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["errors"][0]["name"] == query.partition("=")[0]


def test_a_thumb_that_is_too_large_is_refused_or_shrunk(shared_client: Client, shared_slide: str) -> None:
    url = f"/image/{shared_slide}/thumb.jpg?length=12000"
    refused = shared_client.get(url)
    assert refused.status_code == 400
    assert (refused.json()["request_width"], refused.json()["max_size"]) == (12000, 10000)
    shrunk = shared_client.get(url, headers={"X-Image-Size-Safety": "SAFE_RESIZE"})
    assert shrunk.status_code == 200
    assert shrunk.headers["x-image-size-limit"].startswith("request_width=12000,request_height=8000,")
    assert Image.open(io.BytesIO(shrunk.content)).size == (10000, 6667)
    wrong = shared_client.get(url, headers={"X-Image-Size-Safety": "WHATEVER"})
    assert (wrong.status_code, wrong.json()["errors"][0]["in"]) == (400, "header")


def test_the_types_of_thumbs(shared_client: Client, shared_slide: str) -> None:
    for extension, media_type in (("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")):
        answer = shared_client.get(
            f"/image/{shared_slide}/thumb.{extension}", headers={"accept": "image/whatever"}
        )
        assert answer.headers["content-type"] == media_type
        assert "vary" not in answer.headers
    by_header = shared_client.get(f"/image/{shared_slide}/thumb", headers={"accept": "image/webp"})
    assert (by_header.headers["content-type"], by_header.headers["vary"]) == ("image/webp", "Accept")
    assert shared_client.get(f"/image/{shared_slide}/thumb.gif").status_code == 422


def test_an_image_that_was_made_comes_from_the_cache(shared_client: Client, shared_slide: str) -> None:
    url = f"/image/{shared_slide}/thumb.jpg?length=123"
    first, second = shared_client.get(url), shared_client.get(url)
    assert (first.headers["x-pims-cache"], second.headers["x-pims-cache"]) == ("MISS", "HIT")
    assert first.content == second.content
    bypassed = shared_client.get(url, headers={"cache-control": "no-store"})
    assert bypassed.headers["x-pims-cache"] == "MISS"
    known = shared_client.get(url, headers={"if-none-match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = shared_client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(first.content)))


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({"width": 300}, (300, 200)),
        ({"length": 150}, (150, 100)),
        ({"height": 0.5}, (150, 100)),
        ({"level": 0}, (300, 200)),
        ({"zoom": 0}, (150, 100)),
        ({"level": 1, "length": 7}, (150, 100)),
        ({"length": 300, "bits": "AUTO", "colorspace": "AUTO", "annotations": []}, (300, 200)),
        ({"length": 300, "min_intensities": 5, "max_intensities": [200], "gammas": [1, 1.5, 2]}, (300, 200)),
        ({"length": 300, "min_intensities": [-0.5, 1e1, 3.7], "max_intensities": "1.5e2"}, (300, 200)),
        ({"length": 300, "channels": [0, 1, 2], "z_slices": 0, "timepoints": None}, (300, 200)),
        ({"length": 300, "channels": "0:3"}, (300, 200)),
    ],
)
def test_a_window_has_the_size_asked_for(
    shared_client: Client, shared_slide: str, more: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = window(shared_client, shared_slide, {"region": REGION, **more})
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == size


@pytest.mark.parametrize(
    ("region", "size"),
    [
        ({"ti": 0}, (256, 256)),
        ({"ti": 5}, (88, 144)),
        ({"tx": 2, "ty": 1}, (88, 144)),
        ({"tx": 1, "ty": 0, "reference_tier_index": 1}, (44, 200)),
        ({"ti": 1, "reference_tier_index": 0, "tier_index_type": "ZOOM"}, (44, 200)),
    ],
)
def test_a_window_may_be_a_stored_tile(
    shared_client: Client, shared_slide: str, region: dict[str, Any], size: tuple[int, int]
) -> None:
    level = 1 if "reference_tier_index" in region else 0
    answer = window(shared_client, shared_slide, {"region": region, "level": level})
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == size


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ([], 422),
        ("text", 422),
        ({"region": {}, "length": 9}, 400),
        ({"region": {"left": 1, "top": 1}, "length": 9}, 400),
        ({"region": {"ti": 1, "tx": 1, "ty": 1}, "length": 9}, 400),
        ({"region": {"tx": 1}, "length": 9}, 400),
        ({"region": {"ti": 99}, "length": 9}, 400),
        ({"region": {"tx": 3, "ty": 0}, "length": 9}, 400),
        ({"region": REGION}, 400),
        ({"region": REGION, "level": 9}, 400),
        ({"region": {**REGION, "width": 600}, "length": 9}, 400),
        ({"region": {**REGION, "left": -1}, "length": 9}, 422),
        ({"region": {**REGION, "width": 0}, "length": 9}, 422),
        ({"region": {**REGION, "left": 10**30}, "length": 9}, 422),
        ({"region": {**REGION, "reference_tier_index": 7}, "length": 9}, 400),
        ({"region": {**REGION, "what": 7}, "length": 9}, 422),
        ({"region": REGION, "length": 0}, 422),
        ({"region": REGION, "length": 1.5}, 422),
        ({"region": REGION, "length": 99_999}, 400),
        ({"region": REGION, "length": 9, "gammas": "x"}, 400),
        ({"region": REGION, "length": 9, "gammas": [[1]]}, 400),
        ({"region": REGION, "length": 9, "gammas": {"a": 1}}, 400),
        ({"region": REGION, "length": 9, "min_intensities": [1, 2]}, 400),
        ({"region": REGION, "length": 9, "min_intensities": "1e999"}, 400),
        ({"region": REGION, "length": 9, "min_intensities": 1.5, "max_intensities": 1.4}, 400),
        ({"region": REGION, "length": 9, "bits": 8}, 422),
        ({"region": REGION, "length": 9, "colorspace": "GRAY"}, 422),
        ({"region": REGION, "length": 9, "colormaps": ["JET"]}, 422),
        ({"region": REGION, "length": 9, "annotations": {"geometry": "POINT (1 1)"}}, 422),
        ({"region": REGION, "length": 9, "z_slices": 1}, 400),
    ],
)
def test_wrong_windows_are_refused(shared_client: Client, shared_slide: str, body: Any, status: int) -> None:
    answer = window(shared_client, shared_slide, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_window_is_given_whole_whatever_the_client_has(shared_client: Client, shared_slide: str) -> None:
    answer = window(shared_client, shared_slide, {"region": REGION, "length": 9}, **{"if-none-match": "*"})
    assert answer.status_code == 200


def test_what_is_wrong_in_a_body_is_said_to_be_there(shared_client: Client, shared_slide: str) -> None:
    for wrong in ({"channels": [9]}, {"log": True}, {"z_reduction": "MAX"}, {"gammas": 11}):
        answer = window(shared_client, shared_slide, {"region": REGION, "length": 9, **wrong})
        assert answer.status_code in (400, 422)
        assert answer.json()["errors"][0]["in"] == "body", wrong


def test_decimals_are_rounded_for_images_of_integers(shared_client: Client, shared_slide: str) -> None:
    url = f"/image/{shared_slide}/thumb.png"
    whole = shared_client.get(f"{url}?min_intensities=10,20,30&max_intensities=200")
    decimal = shared_client.get(f"{url}?min_intensities=10.4,19.6,3e1&max_intensities=200.0")
    assert (whole.status_code, decimal.status_code) == (200, 200)
    assert whole.content == decimal.content != shared_client.get(url).content


def test_an_upload_without_histogram_is_stretched_over_its_full_range(
    shared_client: Client, shared_slide: str
) -> None:
    url = f"/image/{shared_slide}/thumb.png"
    stretched = shared_client.get(f"{url}?min_intensities=STRETCH_IMAGE&max_intensities=STRETCH_IMAGE")
    assert stretched.status_code == 200
    assert stretched.content == shared_client.get(url).content


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = [
    "width",
    "height",
    "length",
    "level",
    "zoom",
    "gammas",
    "min_intensities",
    "channels",
    "bits",
    "z_slices",
]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(fields), json_values, max_size=4),
    st.dictionaries(
        st.sampled_from(["left", "top", "width", "height", "ti", "tx", "ty"]), json_values, max_size=4
    ),
)
def test_no_body_makes_the_server_fail(
    shared_client: Client, shared_slide: str, body: dict[str, Any], region: dict[str, Any]
) -> None:
    for given_region in (region, REGION):
        answer = window(shared_client, shared_slide, {"length": 20, **body, "region": given_region}, ".jpg")
        assert answer.status_code in (200, 400, 422), answer.text
