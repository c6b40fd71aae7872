"""What an image says of itself, to JSON and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pims.model.metadata import AssociatedImage, Channel, ImageMetadata, Objective

texts = st.none() | st.text(max_size=20)
lengths = st.none() | st.floats(1e-6, 1e6)
metadata = st.builds(
    ImageMetadata,
    st.integers(1, 1 << 22),
    st.integers(1, 1 << 22),
    st.sampled_from(["uint8", "uint16"]),
    st.integers(1, 16),
    st.integers(1, 4),
    depth=st.integers(1, 99),
    duration=st.integers(1, 99),
    n_concrete_channels=st.integers(1, 99),
    channels=st.lists(st.builds(Channel, st.integers(0, 9), texts, texts, lengths, lengths)).map(tuple),
    brightfield=st.booleans(),
    lossy=st.booleans(),
    physical_size_x_um=lengths,
    acquired_at=st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
    description=texts,
    orientation=st.integers(1, 8),
    objective=st.builds(Objective, lengths, lengths),
    associated=st.lists(
        st.builds(AssociatedImage, st.sampled_from(["label", "macro"]), *[st.integers(1, 99)] * 3)
    ).map(tuple),
    warnings=st.lists(st.text(max_size=20)).map(tuple),
)


@given(metadata)
def test_json_and_back_is_the_same(found: ImageMetadata) -> None:
    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert ImageMetadata.from_dict(stored) == found


def test_what_a_newer_server_wrote_is_left_out_and_what_an_older_one_did_not_is_default() -> None:
    values = {"width": 3, "height": 2, "pixel_type": "uint8", "significant_bits": 8, "n_samples": 1}
    found = ImageMetadata.from_dict({**values, "invented_later": [1]})
    assert found == ImageMetadata(3, 2, "uint8", 8, 1)


def test_numbers_that_follow_from_others() -> None:
    found = ImageMetadata(3, 2, "uint16", 12, 3, depth=4, duration=5, n_concrete_channels=2)
    assert (found.n_channels, found.n_planes, found.bits) == (6, 40, 16)
    assert ImageMetadata(3, 2, "uint8", 8, 1, acquired_at=datetime(2024, 1, 1)).bits == 8


@pytest.mark.parametrize(
    ("pixel_type", "bits", "expected"),
    [
        ("uint8", 1, (0, 1)),
        ("uint16", 12, (0, 4095)),
        ("uint32", 32, (0, 2**32 - 1)),
        ("int8", 8, (-128, 127)),
        ("int16", 12, (-2048, 2047)),
        ("int32", 32, (-(2**31), 2**31 - 1)),
        ("float32", 32, None),
        ("float64", 64, None),
    ],
)
def test_the_full_range_is_what_the_significant_bits_can_hold(
    pixel_type: str, bits: int, expected: tuple[int, int] | None
) -> None:
    found = ImageMetadata(3, 2, pixel_type, bits, 1)
    assert found.full_range == expected
    assert found.is_float is (expected is None)


@pytest.mark.parametrize(
    "odd",
    [
        {"significant_bits": 10**18},
        {"n_samples": 10**18},
        {"n_concrete_channels": 10**18},
        {"width": 1 << 40},
        {"acquired_at": []},
        {"acquired_at": {}},
        {"acquired_at": 3},
        {"acquired_at": "yesterday"},
    ],
)
def test_odd_numbers_and_dates_are_no_metadata(odd: dict[str, Any]) -> None:
    good = ImageMetadata(10, 10, "uint8", 8, 1).as_dict()
    assert ImageMetadata.from_dict(good) == ImageMetadata(10, 10, "uint8", 8, 1)
    with pytest.raises(ValueError):
        ImageMetadata.from_dict({**good, **odd})
