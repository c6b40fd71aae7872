"""Which image type a client gets."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.api.errors import NotAcceptable
from pims.api.negotiation import Preference, negotiate

LOOK, COMPUTE = Preference.VISUALISATION, Preference.PROCESSING
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("extension", "media_type"), [("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")]
)
def test_the_extension_wins_over_the_header(extension: str, media_type: str) -> None:
    assert negotiate(extension, "image/x-none", LOOK) == media_type
    assert negotiate(extension, None, COMPUTE) == media_type


@pytest.mark.parametrize(
    ("accept", "preference", "media_type"),
    [
        (None, LOOK, "image/jpeg"),
        ("", LOOK, "image/jpeg"),
        (" , ", LOOK, "image/jpeg"),
        ("*/*", LOOK, "image/jpeg"),
        ("*", LOOK, "image/jpeg"),
        ("image/*", LOOK, "image/jpeg"),
        ("text/html, image/gif, *; q=.2, */*; q=.2", LOOK, "image/jpeg"),
        (None, COMPUTE, "image/png"),
        ("*/*", COMPUTE, "image/png"),
        ("image/webp", LOOK, "image/webp"),
        ("image/jpeg,image/webp,image/png", LOOK, "image/webp"),
        ("image/jpeg,image/webp,image/png", COMPUTE, "image/png"),
        ("image/jpeg,image/webp;q=0.5", LOOK, "image/jpeg"),
        ("image/webp;q=0.2, */*;q=0.1", LOOK, "image/webp"),
        ("image/webp;q=0.1, */*;q=0.2", LOOK, "image/jpeg"),
        (CHROME, LOOK, "image/webp"),
        ("image/jpg", LOOK, "image/jpg"),
        ("image/jpg,image/jpeg", LOOK, "image/jpg"),
        ("image/apng", LOOK, "image/apng"),
        ("IMAGE/PNG", LOOK, "image/png"),
        ("image/png;level=1;Q=0.3", LOOK, "image/png"),
        ("*/*, image/jpeg;q=0", LOOK, "image/png"),
        ("image/*;q=0, image/png", LOOK, "image/png"),
        ("image/png;q=2, image/webp;q=0.1", LOOK, "image/webp"),
        ("image/png;q=abc, image/jpeg", LOOK, "image/jpeg"),
        ("image/png;q=0.001", LOOK, "image/png"),
        (";;;,=,image/png,/", LOOK, "image/png"),
    ],
)
def test_the_header_is_read_as_rfc_9110_says(
    accept: str | None, preference: Preference, media_type: str
) -> None:
    assert negotiate(None, accept, preference) == media_type


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/gif",
        "image/webp;q=0",
        "*/*;q=0",
        "image/*;q=0.000",
        "image",
        "image/jpegx",
        ";q=1",
    ],
)
def test_what_can_not_be_given_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        negotiate(None, accept, LOOK)
    assert refusal.value.accept == accept
    assert "image/webp" in refusal.value.supported


def test_an_unknown_extension_is_refused() -> None:
    with pytest.raises(NotAcceptable):
        negotiate("gif", "*/*", LOOK)


ranges = st.sampled_from(["image/webp", "image/*", "*/*", "*", "image/jpeg", "text/html", "q", "", "=;", '"'])
elements = st.builds(
    "{};{}={}".format, ranges, st.sampled_from("qQx "), st.text("0123456789.-e nai", max_size=6)
)


@given(
    extension=st.none() | st.sampled_from(["jpg", "png", "webp"]) | st.text(max_size=5),
    accept=st.none() | st.text(max_size=3000) | st.lists(elements | ranges, max_size=80).map(",".join),
    preference=st.sampled_from(Preference),
)
def test_any_header_gives_a_type_or_a_refusal(
    extension: str | None, accept: str | None, preference: Preference
) -> None:
    try:
        assert negotiate(extension, accept, preference) in preference.value
    except NotAcceptable as error:
        assert error.supported


def test_a_huge_header_costs_little() -> None:
    accept = "image/png;q=0.5," * 100_000
    started = time.perf_counter()
    assert negotiate(None, accept, LOOK) == "image/png"
    assert time.perf_counter() - started < 9
