"""Rectangles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pims.model.geometry import Region

places, sizes = st.integers(-20, 40), st.integers(0, 40)
regions = st.builds(Region, places, places, sizes, sizes)


def pixels(region: Region) -> set[tuple[int, int]]:
    return {(x, y) for x in range(region.left, region.right) for y in range(region.top, region.bottom)}


@given(regions, st.integers(0, 20), st.integers(0, 20))
def test_clipping_keeps_the_pixels_of_the_image(region: Region, width: int, height: int) -> None:
    clipped = region.clipped(width, height)
    assert pixels(clipped) == pixels(region) & pixels(Region(0, 0, width, height))
    assert clipped.width >= 0 and clipped.height >= 0
    assert clipped.clipped(width, height) == clipped


@given(regions, st.integers(0, 20), st.integers(0, 20))
def test_inside_means_not_empty_and_no_pixel_outside(region: Region, width: int, height: int) -> None:
    own = pixels(region)
    assert region.is_inside(width, height) == (bool(own) and own <= pixels(Region(0, 0, width, height)))


def test_right_and_bottom_are_the_first_after_it() -> None:
    region = Region(3, 4, 10, 20)
    assert (region.right, region.bottom) == (13, 24)
