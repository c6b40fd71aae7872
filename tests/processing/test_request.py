"""Display requests, from query text to one display per channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.errors import InvalidParameter
from pims.model.metadata import ImageMetadata
from pims.processing.request import (
    AutoBound,
    ChannelDisplay,
    DisplaySettings,
    Intensity,
    parse_gammas,
    parse_intensities,
    resolve_display,
)

SEEN = [(7, 90), (8, 91), (9, 92)]


def image(bits: int = 8, samples: int = 3, channels: int = 1, pixel_type: str | None = None) -> ImageMetadata:
    return ImageMetadata(
        width=10,
        height=10,
        pixel_type=pixel_type or ("uint8" if bits <= 8 else "uint16"),
        significant_bits=bits,
        n_samples=samples,
        n_concrete_channels=channels,
    )


def never() -> Sequence[tuple[int, int]]:
    raise AssertionError("the histogram is not needed")


def seen() -> Sequence[tuple[int, int]]:
    return SEEN


def displays(*ranges: tuple[float, float]) -> tuple[ChannelDisplay, ...]:
    return tuple(ChannelDisplay(low, high) for low, high in ranges)


def test_nothing_asked_of_8_bits_is_the_full_range_without_the_histogram() -> None:
    for default in (AutoBound.AUTO_IMAGE, AutoBound.AUTO_PLANE, None):
        resolved = resolve_display(DisplaySettings(), image(8), never, default=default)
        assert resolved == displays((0, 255), (0, 255), (0, 255))


def test_nothing_asked_of_more_bits_is_the_histogram_for_display_and_the_full_range_for_processing() -> None:
    for default in (AutoBound.AUTO_IMAGE, AutoBound.AUTO_PLANE):
        assert resolve_display(DisplaySettings(), image(12), seen, default=default) == displays(*SEEN)
    resolved = resolve_display(DisplaySettings(), image(12), never, default=None)
    assert resolved == displays((0, 4095), (0, 4095), (0, 4095))


@pytest.mark.parametrize("bound", [AutoBound.STRETCH_IMAGE, AutoBound.STRETCH_PLANE])
@pytest.mark.parametrize("bits", [8, 16])
def test_stretch_is_the_histogram_whatever_the_bits(bound: AutoBound, bits: int) -> None:
    asked = DisplaySettings((bound,), (bound,))
    assert resolve_display(asked, image(bits), seen, default=None) == displays(*SEEN)


def test_one_entry_is_for_all_channels_and_several_are_for_each() -> None:
    asked = DisplaySettings((10,), (50, AutoBound.STRETCH_IMAGE, 70), (2.0, 1.0, 0.5))
    assert resolve_display(asked, image(8), seen, default=None) == (
        ChannelDisplay(10, 50, 2.0),
        ChannelDisplay(10, 91, 1.0),
        ChannelDisplay(10, 70, 0.5),
    )


def test_apparent_channels_are_concrete_channels_times_samples() -> None:
    resolved = resolve_display(DisplaySettings(), image(8, samples=3, channels=2), never, default=None)
    assert len(resolved) == 6


def test_the_histogram_is_asked_once() -> None:
    calls = []

    def counted() -> Sequence[tuple[int, int]]:
        calls.append(1)
        return SEEN

    resolve_display(DisplaySettings(), image(16), counted, default=AutoBound.STRETCH_IMAGE)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("pixel_type", "bits"),
    [("int8", 8), ("int16", 12), ("uint32", 24), ("int32", 32), ("float32", 32), ("float64", 64)],
)
@pytest.mark.parametrize("default", [None, AutoBound.AUTO_IMAGE, AutoBound.STRETCH_PLANE])
def test_other_types_are_shown_from_the_lowest_to_the_highest_intensity_seen(
    pixel_type: str, bits: int, default: AutoBound | None
) -> None:
    resolved = resolve_display(DisplaySettings(), image(bits, 3, 1, pixel_type), seen, default=default)
    assert resolved == displays(*SEEN)


@pytest.mark.parametrize("bits", range(1, 8))
def test_few_bits_are_shown_over_what_they_can_hold(bits: int) -> None:
    for default in (None, AutoBound.AUTO_IMAGE):
        resolved = resolve_display(DisplaySettings(), image(bits, 1), never, default=default)
        assert resolved == displays((0, 2**bits - 1))


def test_a_channel_of_nothing_but_zero_is_black_and_of_another_constant_full() -> None:
    def constants() -> Sequence[tuple[float, float]]:
        return [(0, 0), (-7, -7), (30_000, 30_000)]

    for pixel_type, bits in (("int16", 16), ("float32", 32)):
        of = image(bits, 3, 1, pixel_type)
        resolved = resolve_display(DisplaySettings(), of, constants, default=AutoBound.AUTO_IMAGE)
        assert resolved == displays((0, 1), (-7, -7), (30_000, 30_000))


@pytest.mark.parametrize(
    ("pixel_type", "bits", "low", "high", "expected"),
    [
        ("uint8", 8, 1.6, 9.4, (2, 9)),
        ("uint8", 8, -0.4, 1e300, (0, 255)),
        ("int16", 12, -5000.0, 5000.0, (-2048, 2047)),
        ("int8", 8, -7.2, -1.8, (-7, -2)),
        ("uint32", 32, 0, 1e12, (0, 2**32 - 1)),
        ("float32", 32, -0.25, 1.5, (-0.25, 1.5)),
        ("float64", 64, -(10**17), 1e300, (-1e17, 1e300)),
    ],
)
def test_decimals_are_rounded_for_integers_and_kept_for_real_numbers(
    pixel_type: str, bits: int, low: float, high: float, expected: tuple[float, float]
) -> None:
    asked = DisplaySettings((low,), (high,))
    resolved = resolve_display(asked, image(bits, 1, 1, pixel_type), never, default=None)
    assert resolved == displays(expected)
    wanted = float if pixel_type.startswith("float") else int
    assert type(resolved[0].minimum) is type(resolved[0].maximum) is wanted


def test_integers_are_clamped_to_what_the_image_can_hold() -> None:
    asked = DisplaySettings((-5,), (10**17,))
    assert resolve_display(asked, image(12, 1), never, default=None) == displays((0, 4095))


def test_equal_bounds_are_allowed() -> None:
    asked = DisplaySettings((40,), (40,))
    assert resolve_display(asked, image(8, 1), never, default=None) == displays((40, 40))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (DisplaySettings(min_intensities=(1, 2)), "min_intensities"),
        (DisplaySettings(max_intensities=(1, 2, 3, 4)), "max_intensities"),
        (DisplaySettings(gammas=(1.0, 1.0)), "gammas"),
        (DisplaySettings(gammas=(10.001,)), "gammas"),
        (DisplaySettings(gammas=(-0.1,)), "gammas"),
        (DisplaySettings(gammas=(math.nan,)), "gammas"),
        (DisplaySettings(gammas=(math.inf,)), "gammas"),
        (DisplaySettings(min_intensities=(20,), max_intensities=(19,)), "min_intensities"),
        (
            DisplaySettings(min_intensities=(91,), max_intensities=(AutoBound.STRETCH_IMAGE,)),
            "min_intensities",
        ),
        (DisplaySettings(max_intensities=(3,)), "max_intensities"),
    ],
)
def test_what_can_not_be_shown_names_its_parameter(asked: DisplaySettings, name: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        resolve_display(asked, image(8), seen, default=AutoBound.STRETCH_IMAGE)
    assert caught.value.name == name
    assert caught.value.reason.endswith(".")


def test_settings_are_hashable() -> None:
    assert hash(DisplaySettings((1, AutoBound.AUTO_IMAGE))) == hash(
        DisplaySettings((1, AutoBound.AUTO_IMAGE))
    )


@given(
    st.lists(st.integers(-(10**6), 10**6) | st.sampled_from(AutoBound), max_size=3),
    st.lists(st.integers(-(10**6), 10**6) | st.sampled_from(AutoBound), max_size=3),
    st.sampled_from([8, 10, 16]),
    st.sampled_from([None, *AutoBound]),
)
def test_what_is_resolved_is_always_ordered_and_in_range(
    low: list[Intensity], high: list[Intensity], bits: int, default: AutoBound | None
) -> None:
    asked = DisplaySettings(tuple(low), tuple(high))
    try:
        resolved = resolve_display(asked, image(bits), seen, default=default)
    except InvalidParameter:
        return
    assert len(resolved) == 3
    assert all(0 <= channel.minimum <= channel.maximum < 2**bits for channel in resolved)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("  ", ()),
        ("10", (10,)),
        ("10,20", (10, 20)),
        ("10, -20", (10, -20)),
        ("AUTO_IMAGE", (AutoBound.AUTO_IMAGE,)),
        ("12,STRETCH_PLANE", (12, AutoBound.STRETCH_PLANE)),
        ("1.5,-.25,2e3,1E-300", (1.5, -0.25, 2000.0, 1e-300)),
        ("1.7976931348623157e+308", (1.7976931348623157e308,)),
    ],
)
def test_intensities_are_read(text: str, expected: tuple[Intensity, ...]) -> None:
    assert parse_intensities("min_intensities", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "10,",
        ",,10",
        "1.5.2",
        "1e999",
        "-1e400",
        "inf",
        "0x10",
        "1_000",
        "auto_image",
        "AUTO_IMAGE;DROP",
        "nan",
        "٣",
        "1\n",
        "10\x00",
        "9" * 5000,
        "1," * 1000 + "1",
        "," * 10_000_000,
    ],
)
def test_hostile_intensities_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_intensities("max_intensities", text)
    assert caught.value.name == "max_intensities"
    assert len(str(caught.value)) + len(str(caught.value.value)) < 400


def test_a_thousand_entries_are_taken() -> None:
    assert len(parse_intensities("min_intensities", ",".join(["1"] * 1000))) == 1000
    assert len(parse_gammas(",".join(["1"] * 1000))) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("1", (1.0,)), ("0.8, 1.,.5", (0.8, 1.0, 0.5)), ("1e1", (10.0,)), ("+2", (2.0,))],
)
def test_gammas_are_read(text: str, expected: tuple[float, ...]) -> None:
    assert parse_gammas(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "11",
        "-0.5",
        "1,",
        "1__0",
        "0x1p3",
        "1e",
        ".",
        "٣",
        "1" * 400,
        "AUTO_IMAGE",
    ],
)
def test_hostile_gammas_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_gammas(text)
    assert caught.value.name == "gammas"


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    parsers: list[Callable[[str], object]] = [parse_gammas, lambda t: parse_intensities("min_intensities", t)]
    for parse in parsers:
        try:
            parse(text)
        except InvalidParameter as error:
            assert error.where == "query"
