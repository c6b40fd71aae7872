"""Entity tags and conditional requests."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.api.conditional import TagSeries, cache_control, etag, matches

TAG = etag("uuid/0/1", "thumb")
OPAQUE = TAG.removeprefix("W/").strip('"')


def test_a_tag_is_weak_and_quoted() -> None:
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', TAG)


def test_a_tag_changes_with_the_image_and_with_the_request() -> None:
    tags = {TAG, etag("uuid/0/2", "thumb"), etag("uuid/0/1", "tile"), etag("uuid/0/1t", "humb")}
    assert len(tags) == 4


def test_a_tag_is_the_same_in_every_process() -> None:
    code = "from pims.api.conditional import etag; print(etag('uuid/0/1', 'thumb'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == TAG


@pytest.mark.parametrize(
    "header",
    [
        TAG,
        f'"{OPAQUE}"',
        f"W/{OPAQUE}",
        OPAQUE,
        f'"x", {TAG}',
        f'W/"a,b",{TAG} , "y"',
        f"W/{'0' * 32}, W/{OPAQUE}",
        "*",
        " * ",
        f"  {TAG}  ",
    ],
)
def test_a_client_that_has_it_is_recognised(header: str) -> None:
    assert matches(header, TAG)
    assert matches(header.encode(), TAG)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        b"",
        '"x"',
        'W/""',
        f'"{OPAQUE}x"',
        f'"x{OPAQUE}"',
        f'"a {OPAQUE} b"',
        '"*"',
        "*, *x",
        f'"{OPAQUE[:-1]}"',
        '"' * 7000,
        TAG + " " * 10_000,
    ],
)
def test_a_client_that_has_something_else_is_answered(header: str | bytes | None) -> None:
    assert not matches(header, TAG)


@given(st.text() | st.binary())
def test_any_header_is_decided(header: str | bytes) -> None:
    assert matches(header, TAG) in (True, False)


def test_only_the_client_may_keep_an_answer() -> None:
    assert cache_control(86400) == "private, must-revalidate, max-age=86400"


def test_tags_of_a_series_are_those_of_its_requests() -> None:
    series = TagSeries("uuid/0/1", "tile/")
    assert [series.of("1/2"), series.of("é"), series.of("1/2")] == [
        etag("uuid/0/1", "tile/1/2"),
        etag("uuid/0/1", "tile/é"),
        etag("uuid/0/1", "tile/1/2"),
    ]
