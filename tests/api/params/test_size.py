"""Sizes of outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.api.params.size import OutputSize, SizeLimits, SizeSafety, parse_side
from pims.errors import InvalidParameter, OutputTooLarge
from pims.model.pyramid import Pyramid, normalized_pyramid

PYRAMID = normalized_pyramid(1000, 2000)


def sized(asked: dict[str, Any], pyramid: Pyramid = PYRAMID) -> tuple[int, int]:
    return OutputSize(**asked).resolve(pyramid.base.region, pyramid.base, pyramid)


@pytest.mark.parametrize(
    ("given_size", "expected"),
    [
        ({"height": 200}, (100, 200)),
        ({"width": 100}, (100, 200)),
        ({"length": 200}, (100, 200)),
        ({"height": 400, "width": 1, "length": 2}, (200, 400)),
        ({"length": 1.0}, (1000, 2000)),
        ({"length": 0.25}, (250, 500)),
        ({"width": 0.0001}, (1, 2)),
        ({"level": 0}, (1000, 2000)),
        ({"level": 3, "height": 7}, (125, 250)),
        ({"zoom": 0}, (125, 250)),
        ({"zoom": 3}, (1000, 2000)),
    ],
)
def test_the_first_of_level_zoom_height_width_length_decides(
    given_size: dict[str, float], expected: tuple[int, int]
) -> None:
    assert sized(given_size) == expected


def test_a_size_is_needed() -> None:
    with pytest.raises(InvalidParameter, match="length, width, height, zoom or level"):
        sized({})


@pytest.mark.parametrize(("name", "value"), [("level", 4), ("zoom", 4)])
def test_tiers_that_do_not_exist_are_refused(name: str, value: int) -> None:
    with pytest.raises(InvalidParameter, match=f"this image has {name}s 0 to 3"):
        sized({name: value})


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from(["height", "width", "length"]),
    st.integers(2, 9),
)
def test_slivers_never_vanish_and_the_side_asked_for_is_exact(
    width: int, height: int, name: str, side: int
) -> None:
    pyramid = normalized_pyramid(width, height)
    size = sized({name: side}, pyramid)
    assert min(size) >= 1
    assert {"width": size[0], "height": size[1], "length": max(size)}[name] == side


@pytest.mark.parametrize(
    ("text", "expected"), [("512", 512), ("1", 1.0), ("0.5", 0.5), ("2", 2), ("1e3", 1000)]
)
def test_sides_are_pixels_or_ratios(text: str, expected: float) -> None:
    assert parse_side("length", text) == expected
    assert isinstance(parse_side("length", text), type(expected))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "inf", "1e99", "x", "", "0x10", "1_0_0x", "٣.٥"])
def test_other_sides_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="length"):
        parse_side("length", text)


LIMITS = SizeLimits(limit=100, ceiling=200, default=SizeSafety.SAFE_REJECT)


def test_outputs_up_to_the_limit_are_given() -> None:
    assert LIMITS.apply(100, 7, None) == (100, 7, {})


def test_larger_outputs_are_refused_by_default() -> None:
    with pytest.raises(OutputTooLarge, match="101 x 7 px; this server gives at most 100"):
        LIMITS.apply(101, 7, None)


def test_larger_outputs_are_shrunk_and_told_when_asked() -> None:
    width, height, told = LIMITS.apply(1000, 2000, SizeSafety.SAFE_RESIZE)
    assert (width, height) == (50, 100)
    assert told == {
        "x-image-size-limit": "request_width=1000,request_height=2000,"
        "safe_width=50,safe_height=100,ratio=0.05"
    }


def test_unsafe_stops_at_the_ceiling() -> None:
    assert LIMITS.apply(200, 1, SizeSafety.UNSAFE) == (200, 1, {})
    with pytest.raises(OutputTooLarge):
        LIMITS.apply(201, 1, SizeSafety.UNSAFE)
