"""The page at /."""

from __future__ import annotations

import re
import uuid
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest

from pims.api.routes.home import PAGE_SIZE

HOSTILE_NAME = "<script>alert('\"1\"')</script>&amp;%00.tif"


class Page(HTMLParser):
    """The elements of a page, as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [values.get(name) or "" for found, values in self.elements if found == tag]


def page_of(client: Any, url: str = "/") -> Page:
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def test_an_empty_server_says_how_to_import(client: Any) -> None:
    page = page_of(client)
    assert "import_local_images.py --path" in page.text
    assert "0 images" in page.text


def test_an_image_is_shown_with_what_people_look_for(client: Any, slide: str) -> None:
    page = page_of(client)
    assert "<title>PIMS</title>" in client.get("/").text
    assert "My slide.tif" in page.text
    assert "600 x 400 px" in page.text
    assert "PYRTIFF" in page.text
    assert "20x" in page.text
    assert "0.4991 µm/px" in page.text
    [picture] = page.attributes("img", "src")
    assert picture == f"/image/{slide}/thumb.jpg?length=256"
    assert page.attributes("img", "loading") == ["lazy"]
    links = page.attributes("a", "href")
    assert f"/image/{slide}/info" in links
    assert f"/image/{slide}/normalized-tile/zoom/0/tx/0/ty/0.jpg" in links
    assert client.get(f"/image/{slide}/info").status_code == 200


def test_names_are_text_and_never_markup(client: Any, make_upload: Any) -> None:
    file_name = "a'\"<b>&#?é.tif"
    slide = make_upload(name=file_name, origin=HOSTILE_NAME)
    page = page_of(client)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "b" not in {tag for tag, _ in page.elements}
    assert HOSTILE_NAME in page.text
    [picture] = page.attributes("img", "src")
    assert unquote(picture.partition("?")[0]) == f"/image/{slide}/thumb.jpg"
    [info] = [link for link in page.attributes("a", "href") if link.endswith("/info") and "image" in link]
    assert client.get(info).status_code == 200
    assert all(not name.startswith("on") for _, values in page.elements for name in values)


def test_the_policy_allows_this_style_and_no_script(client: Any, slide: str) -> None:
    answer = client.get("/")
    policy = dict(
        part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert "script-src" not in policy
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert policy["style-src"] == f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    assert "style=" not in answer.text.replace(style, "")


def test_an_image_whose_metadata_is_damaged_does_not_hide_the_others(client: Any, make_upload: Any) -> None:
    make_upload(uuid="a", origin="bad.tif", metadata={"width": "wide"})
    make_upload(uuid="b", origin="good.tif")
    text = page_of(client).text
    assert "bad.tif" in text
    assert "can't be read" in text
    assert "good.tif" in text


@pytest.fixture
def many(make_upload: Any) -> int:
    """As many images as two pages and one; the number in the name is the date of import."""
    count = 2 * PAGE_SIZE + 1
    for number in range(count):
        make_upload(uuid=str(uuid.UUID(int=number)), origin=f"slide {number}.", changed_at=1_000_000 + number)
    return count


def test_pages_go_from_the_newest_to_the_oldest(make_client: Any, many: int) -> None:
    client = make_client(api_base_path="/ims")
    first, second, third = (page_of(client, f"/ims/?page={number}") for number in (1, 2, 3))
    assert [len(page.attributes("img", "src")) for page in (first, second, third)] == [
        PAGE_SIZE,
        PAGE_SIZE,
        1,
    ]
    assert f"slide {many - 1}." in first.text
    assert "slide 0." in third.text
    links = [
        dict(zip(p.attributes("a", "rel"), p.attributes("a", "href"), strict=True))
        for p in (first, second, third)
    ]
    assert [link.get("next") for link in links] == ["/ims/?page=2", "/ims/?page=3", None]
    assert [link.get("prev") for link in links] == [None, "/ims/?page=1", "/ims/?page=2"]
    assert all(
        url.startswith("/ims/") for url in first.attributes("img", "src") + first.attributes("a", "href")
    )
    assert page_of(client, "/ims/?page=999").text == third.text
    assert page_of(client, "/ims/").text == first.text
