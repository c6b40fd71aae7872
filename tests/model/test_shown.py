"""What this version can show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pims.errors import UnsupportedFeature
from pims.model.metadata import ImageMetadata
from pims.model.shown import PIXEL_TYPES, check_shown

RGB = ImageMetadata(10, 10, "uint8", 8, n_samples=3)


@pytest.mark.parametrize(
    "change",
    [{"n_samples": 1}, {"depth": 5, "duration": 2}, *({"pixel_type": name} for name in PIXEL_TYPES)],
    ids=str,
)
def test_grey_and_rgb_of_every_type_can_be_shown(change: Any) -> None:
    check_shown(replace(RGB, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixel_type": "float16"}, "float16.*one of uint8, uint16, .*float64"),
        ({"n_samples": 2}, "2 samples per pixel"),
        ({"n_samples": 4}, "4 samples per pixel"),
        ({"n_samples": 1, "n_concrete_channels": 5}, "5 channels"),
    ],
)
def test_the_rest_is_refused_with_what_to_do(change: Any, words: str) -> None:
    with pytest.raises(UnsupportedFeature, match=words):
        check_shown(replace(RGB, **change))
