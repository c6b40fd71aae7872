"""What a query says of the display."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.api.params.display import NAMES, DisplayQuery, display_from_query, display_parameters
from pims.errors import InvalidParameter, UnsupportedParameter
from pims.model.metadata import ImageMetadata
from pims.processing.request import AutoBound

IMAGE = ImageMetadata(
    width=10, height=10, pixel_type="uint8", significant_bits=8, n_samples=1, n_concrete_channels=4, depth=5
)


def test_nothing_asked_is_nothing_set() -> None:
    assert display_from_query({}) == DisplayQuery()
    assert display_from_query(dict.fromkeys(NAMES, "")) == DisplayQuery()
    assert display_from_query({"length": "256", "unknown": "x"}) == DisplayQuery()


def test_intensities_may_be_negative_and_decimal() -> None:
    settings = display_from_query({"min_intensities": "-0.5,1e3,7", "max_intensities": "-1"}).settings
    assert settings.min_intensities == (-0.5, 1000.0, 7)
    assert settings.max_intensities == (-1,)


def test_intensities_and_gammas_are_parsed() -> None:
    settings = display_from_query(
        {"min_intensities": "10,AUTO_IMAGE", "max_intensities": "200", "gammas": "0.5,2"}
    ).settings
    assert settings.min_intensities == (10, AutoBound.AUTO_IMAGE)
    assert settings.max_intensities == (200,)
    assert settings.gammas == (0.5, 2.0)


@pytest.mark.parametrize(
    "query",
    [
        {"colormaps": "DEFAULT"},
        {"colormaps": "DEFAULT,DEFAULT , DEFAULT"},
        {"filters": ""},
        {"threshold": "0"},
        {"threshold": "0.0"},
        {"log": "false"},
        {"log": "0"},
        {"log": "False"},
        {"c_reduction": "ADD"},
        {"channels": ":"},
        {"channels": "0:"},
        {"channels": ":4"},
        {"channels": "3,2,1,0"},
        {"channels": "0:2, 2 , 3, 99"},
        {"channels": "4:0"},
        {"channels": "0:999999999"},
        {"z_slices": "2"},
        {"timepoints": "0"},
    ],
)
def test_what_happens_anyway_may_be_asked_for(query: dict[str, str]) -> None:
    asked = display_from_query(query)
    asked.check_supported(IMAGE)
    assert asked.settings == DisplayQuery().settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("colormaps", "JET"),
        ("colormaps", "DEFAULT,JET"),
        ("colormaps", "!DEFAULT"),
        ("colormaps", "[jet]"),
        ("filters", "OTSU"),
        ("threshold", "0.5"),
        ("log", "true"),
        ("log", "1"),
        ("c_reduction", "MAX"),
        ("channels", "0"),
        ("channels", "1:"),
        ("channels", "0,2,3"),
        ("z_slices", "0"),
    ],
)
def test_what_is_not_implemented_is_refused(name: str, value: str) -> None:
    with pytest.raises(UnsupportedParameter) as refusal:
        display_from_query({name: value}).check_supported(IMAGE)
    assert refusal.value.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", "x"),
        ("threshold", "nan"),
        ("threshold", "inf"),
        ("threshold", "-0.1"),
        ("threshold", "1.1"),
        ("log", "maybe"),
        ("c_reduction", "add"),
        ("c_reduction", "SUM"),
        ("channels", "x"),
        ("channels", "4"),
        ("channels", "4:9"),
        ("channels", "2:2"),
        ("channels", "1:2:3"),
        ("channels", "-1"),
        ("channels", "0,,1"),
        ("z_slices", "5"),
        ("z_slices", "-1"),
        ("z_slices", "1,2"),
        ("z_slices", "9" * 1000),
        ("timepoints", "1"),
        ("timepoints", "x"),
        ("gammas", "nan"),
        ("gammas", "1,"),
        ("min_intensities", "a"),
        ("min_intensities", "1e999"),
        ("min_intensities", "nan"),
        ("max_intensities", "1" * 5000),
    ],
)
def test_what_is_wrong_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        display_from_query({name: value}).check_supported(IMAGE)
    assert not isinstance(refusal.value, UnsupportedParameter)
    assert refusal.value.name == name


def test_the_only_plane_is_zero() -> None:
    flat = dataclasses.replace(IMAGE, depth=1)
    display_from_query({"z_slices": "0", "timepoints": "0"}).check_supported(flat)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20) | st.text("0123456789:,.eADE", max_size=20))
)
def test_any_query_is_understood_or_refused(query: dict[str, str]) -> None:
    try:
        display_from_query(query).check_supported(IMAGE)
    except InvalidParameter as error:
        assert error.name in NAMES


def test_the_documented_dependency_means_the_same() -> None:
    query = {"gammas": "2", "min_intensities": "3", "z_slices": "2", "channels": ":"}
    assert asyncio.run(display_parameters(**query)) == display_from_query(query)
