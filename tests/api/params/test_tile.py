"""Tiles as clients name them."""

from __future__ import annotations

import pytest

from pims.api.params.tile import TileAddress
from pims.errors import InvalidParameter
from pims.model.pyramid import normalized_pyramid

PYRAMID = normalized_pyramid(1000, 2000)  # 4 x 8 tiles at level 0, one at level 3


@pytest.mark.parametrize(
    ("by_zoom", "tier", "index", "expected"),
    [
        (False, 0, 0, (0, 0, 0)),
        (False, 0, 31, (0, 3, 7)),
        (True, 3, 5, (0, 1, 1)),
        (True, 0, 0, (3, 0, 0)),
        (False, 1, 3, (1, 1, 1)),
    ],
)
def test_an_index_counts_rows_of_tiles(
    by_zoom: bool, tier: int, index: int, expected: tuple[int, int, int]
) -> None:
    assert TileAddress(True, by_zoom, tier, index).locate(PYRAMID) == expected


def test_coordinates_are_column_and_row() -> None:
    assert TileAddress(True, False, 0, None, 3, 7).locate(PYRAMID) == (0, 3, 7)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (TileAddress(True, True, 4, 0), "zoom"),
        (TileAddress(True, False, 4, 0), "level"),
        (TileAddress(True, False, -1, 0), "level"),
        (TileAddress(True, False, 0, 32), "ti"),
        (TileAddress(True, False, 0, -1), "ti"),
        (TileAddress(True, False, 0, None, 4, 0), "tx"),
        (TileAddress(True, False, 0, None, -1, 0), "tx"),
        (TileAddress(True, False, 0, None, 0, 8), "ty"),
    ],
)
def test_what_the_pyramid_does_not_have_is_refused_by_name(address: TileAddress, name: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        address.locate(PYRAMID)
    assert caught.value.name == name
