"""Levels, zooms, tiles and their regions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pims.model.geometry import Region
from pims.model.pyramid import NORMALIZED_TILE, Pyramid, Tier, normalized_pyramid

sides = st.integers(1, 1 << 22)
small = st.integers(1, 60)


@given(small, small, small, small)
def test_tiles_cover_every_pixel_of_a_tier_once(
    width: int, height: int, tile_width: int, tile_height: int
) -> None:
    tier = Tier(0, width, height, tile_width, tile_height)
    counts = np.zeros((height, width), int)
    for row in range(tier.rows):
        for column in range(tier.columns):
            region = tier.tile_region(column, row)
            assert region.is_inside(width, height)
            assert (region.left, region.top) == (column * tile_width, row * tile_height)
            counts[region.top : region.bottom, region.left : region.right] += 1
    assert (counts == 1).all()
    assert tier.region == Region(0, 0, width, height)


@given(sides, sides, sides, sides, st.data())
def test_an_index_and_a_position_name_the_same_tile(
    width: int, height: int, tile_width: int, tile_height: int, data: st.DataObject
) -> None:
    tier = Tier(0, width, height, tile_width, tile_height)
    index = data.draw(st.integers(0, tier.tile_count - 1))
    column, row = tier.position_of(index)
    assert tier.has_tile(column, row)
    assert row * tier.columns + column == index
    assert tier.tile_count == tier.columns * tier.rows


@given(sides, sides, sides, sides)
def test_no_tile_lies_outside(width: int, height: int, tile_width: int, tile_height: int) -> None:
    tier = Tier(0, width, height, tile_width, tile_height)
    for column, row in ((-1, 0), (0, -1), (tier.columns, 0), (0, tier.rows)):
        assert not tier.has_tile(column, row)


@given(sides, sides)
def test_the_normalized_pyramid_halves_until_one_tile_holds_it(width: int, height: int) -> None:
    pyramid = normalized_pyramid(width, height)
    tiers = pyramid.tiers
    assert (pyramid.base.width, pyramid.base.height) == (width, height)
    assert tiers[-1].tile_count == 1
    assert all(tier.tile_count > 1 for tier in tiers[:-1])
    for level, tier in enumerate(tiers):
        assert tier.level == level
        assert (tier.tile_width, tier.tile_height) == (NORMALIZED_TILE, NORMALIZED_TILE)
        # Rounding up at every halving is rounding up once.
        assert (tier.width, tier.height) == (-(-width // 2**level), -(-height // 2**level))


@given(sides, sides)
@example(9, 513)
@example(1000, 100_000)
def test_the_scale_of_a_normalized_tier_is_its_power_of_two(width: int, height: int) -> None:
    for level, tier in enumerate(normalized_pyramid(width, height).tiers):
        assert tier.scale_x == tier.scale_y == 2**level
        assert tier.factor_x == pytest.approx(width / tier.width)


def test_scales_are_whole_where_a_side_was_rounded() -> None:
    pyramid = Pyramid.of(
        [(1001, 2001, 256, 256), (250, 501, 256, 256), (333, 667, 256, 256), (400, 800, 256, 256)]
    )
    found = {tier.width: (tier.scale_x, tier.scale_y) for tier in pyramid.tiers}
    assert found[250] == (4, 4) and found[333] == (3, 3)
    assert found[400] == (1001 / 400, 2001 / 800)


@given(st.lists(st.tuples(sides, sides, sides, sides), min_size=1, max_size=8))
def test_tiers_are_ordered_whatever_the_order_given(sizes: list[tuple[int, int, int, int]]) -> None:
    pyramid = Pyramid.of(sizes)
    areas = [tier.width * tier.height for tier in pyramid.tiers]
    assert areas == sorted(areas, reverse=True)
    assert [tier.level for tier in pyramid.tiers] == list(range(len(sizes)))
    assert pyramid.base is pyramid.tiers[0] is pyramid.tier_at_level(0)
    assert pyramid.base.factor == pyramid.base.scale_x == pyramid.base.scale_y == 1


def test_a_pyramid_has_a_tier() -> None:
    with pytest.raises(ValueError, match="at least one tier"):
        Pyramid.of([])


def test_zoom_counts_from_the_worst_and_level_from_the_best() -> None:
    pyramid = normalized_pyramid(2000, 1000)
    assert pyramid.max_zoom == pyramid.max_level == 3
    for level in range(4):
        assert pyramid.tier_at_level(level) is pyramid.tier_at_zoom(3 - level) is pyramid.tiers[level]
        assert pyramid.zoom_of(level) == 3 - level
    for wrong in (-1, 4, 1 << 40):
        with pytest.raises(IndexError):
            pyramid.tier_at_level(wrong)
        with pytest.raises(IndexError):
            pyramid.tier_at_zoom(wrong)


scales = st.floats(0.01, 1e6)


@given(sides, sides, scales, scales)
def test_the_tier_for_an_output_is_the_coarsest_that_is_not_upsampled(
    width: int, height: int, scale_x: float, scale_y: float
) -> None:
    pyramid = normalized_pyramid(width, height)
    tier = pyramid.most_appropriate_tier(scale_x, scale_y)
    if tier.level > 0:
        assert tier.scale_x <= scale_x * (1 + 1e-6) and tier.scale_y <= scale_y * (1 + 1e-6)
    for coarser in pyramid.tiers[tier.level + 1 :]:
        assert coarser.scale_x > scale_x or coarser.scale_y > scale_y


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_a_thumb_is_never_upsampled(width: int, height: int, longest: int) -> None:
    pyramid = normalized_pyramid(width, height)
    factor = max(Fraction(1), Fraction(max(width, height), longest))
    out_width, out_height = max(1, int(width / factor)), max(1, int(height / factor))
    tier = pyramid.most_appropriate_tier(width / out_width, height / out_height)
    assert tier.width >= out_width and tier.height >= out_height
