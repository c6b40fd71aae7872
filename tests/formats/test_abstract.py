"""What the base classes do on top of read_region, and the arithmetic of regions readers are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.files.source import LocalSource
from pims.formats.abstract import (
    MAX_REDUCTION,
    AbstractFormat,
    AbstractParser,
    AbstractReader,
    SignatureChecker,
    Tile,
    covering_region,
    reduction_for,
)
from pims.formats.probe import Probe
from pims.model.geometry import Region
from pims.model.metadata import Channel, ImageMetadata
from pims.model.planes import FIRST_PLANE, Plane
from pims.model.pyramid import Pyramid, Tier

SIZES = [(700, 501, 64, 32), (350, 251, 64, 64), (175, 125, 175, 125)]


class CodeParser(AbstractParser):
    def parse_main_metadata(self) -> ImageMetadata:
        channels = tuple(Channel(index) for index in range(4))
        return ImageMetadata(700, 501, "uint16", 16, 1, 3, 2, n_concrete_channels=4, channels=channels)

    def parse_pyramid(self) -> Pyramid:
        return Pyramid.of(SIZES)


class CodeReader(AbstractReader):
    """Every pixel says its column; every request is kept."""

    def __init__(self, format: AbstractFormat) -> None:  # noqa: A002 - the plug-in API's word
        super().__init__(format)
        self.asked: list[tuple[Tier, Region, Plane, int]] = []
        self.closed = False

    def read_region(self, tier: Tier, region: Region, plane: Plane, reduction: int = 1) -> NDArray[Any]:
        assert region.is_inside(tier.width, tier.height)
        assert region.left % reduction == region.top % reduction == 0
        self.asked.append((tier, region, plane, reduction))
        height, width = ceil(region.height / reduction), ceil(region.width / reduction)
        columns = region.left // reduction + np.arange(width, dtype=np.uint16)
        return np.ascontiguousarray(np.broadcast_to(columns[None, :, None], (height, width, 1)))

    def close(self) -> None:
        self.closed = True


class CodeChecker(SignatureChecker):
    signatures = (b"CODE1", b"CODE2")


class CodeFormat(AbstractFormat):
    checker_class = CodeChecker
    parser_class = CodeParser
    reader_class = CodeReader


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AbstractFormat]:
    path = tmp_path_factory.mktemp("code") / "file"
    path.write_bytes(b"CODE2...")
    with LocalSource(path) as source, CodeFormat(source) as opened:
        yield opened


def asked(image: AbstractFormat) -> list[tuple[Tier, Region, Plane, int]]:
    assert isinstance(image.reader, CodeReader)
    return image.reader.asked


tiers = st.builds(
    lambda width, height, scale: Tier(1, width, height, 256, 256, scale, scale, scale, scale),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(1, 64),
)


@given(
    tiers,
    st.sampled_from([1, 2, 4, 8]),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_a_covering_region_holds_the_rectangle_and_can_be_asked_for(
    tier: Tier, reduction: int, place: tuple[float, float, float, float]
) -> None:
    left, right = sorted((place[0] * (tier.width + 1) - 0.5, place[1] * (tier.width + 1) - 0.5))
    top, bottom = sorted((place[2] * (tier.height + 1) - 0.5, place[3] * (tier.height + 1) - 0.5))
    region = covering_region(tier, reduction, left, top, right, bottom)
    assert region.is_inside(tier.width, tier.height)
    assert region.left % reduction == region.top % reduction == 0
    assert region.left <= max(left, 0) + 1e-5 and region.top <= max(top, 0) + 1e-5
    assert region.right >= min(right, tier.width) - 1e-5 and region.bottom >= min(bottom, tier.height) - 1e-5
    # No larger than needed: less than a step more on the left, less than a pixel on the right.
    inside = min(max(floor(left + 1e-6), 0), tier.width - 1)
    assert inside - region.left < reduction
    assert region.right <= max(right + 1, region.left + 1)


@given(tiers, st.floats(0.01, 5000), st.floats(0.01, 5000))
def test_a_reduction_never_makes_pixels_coarser_than_allowed(
    tier: Tier, scale_x: float, scale_y: float
) -> None:
    reduction = reduction_for(tier, scale_x, scale_y)
    assert reduction in (1, 2, 4, 8)
    if reduction > 1:
        assert reduction * tier.scale_x <= scale_x * (1 + 1e-5)
        assert reduction * tier.scale_y <= scale_y * (1 + 1e-5)
    if reduction < MAX_REDUCTION:
        room = min(scale_x / tier.scale_x, scale_y / tier.scale_y)
        assert 2 * reduction > room * (1 - 1e-5)


@given(st.data())
def test_a_window_is_as_large_as_asked_or_larger_and_where_it_was_asked(
    image: AbstractFormat, data: st.DataObject
) -> None:
    base = image.pyramid.base
    left, top = data.draw(st.integers(0, base.width - 1)), data.draw(st.integers(0, base.height - 1))
    width = data.draw(st.integers(1, base.width - left))
    height = data.draw(st.integers(1, base.height - top))
    out_width, out_height = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    pixels = image.reader.read_window(Region(left, top, width, height), out_width, out_height, c=1, z=2)
    assert pixels.shape[0] >= out_height and pixels.shape[1] >= out_width
    tier, region, plane, reduction = asked(image)[-1]
    assert plane == Plane(1, 2, 0)
    assert region.left * tier.scale_x <= left + 1e-3 and region.top * tier.scale_y <= top + 1e-3
    assert region.right * tier.scale_x >= left + width - tier.scale_x or region.right == tier.width
    # Nothing finer is read than needed: with tiers of factor 2 and reductions up to 8, at most twice as much.
    assert tier.scale_x * reduction * 2 > min(width / out_width, height / out_height) or reduction == 8


def test_a_window_larger_than_its_region_is_read_as_it_is(image: AbstractFormat) -> None:
    pixels = image.reader.read_window(Region(10, 20, 30, 40), 300, 400)
    assert pixels.shape == (40, 30, 1)
    assert asked(image)[-1][1:] == (Region(10, 20, 30, 40), FIRST_PLANE, 1)


def test_a_tile_and_planes_are_regions(image: AbstractFormat) -> None:
    tier = image.pyramid.base
    tile = Tile(tier, tier.columns - 1, tier.rows - 1)
    assert tile.region == Region(640, 480, 60, 21)
    assert image.reader.read_tile(tile, t=1).shape == (21, 60, 1)
    assert asked(image)[-1] == (tier, tile.region, Plane(0, 0, 1), 1)
    stack = image.reader.read_planes(tile.region, tier, [Plane(0), Plane(3)], 4)
    assert stack.shape == (2, 6, 15, 1)


def test_defaults_of_what_a_format_does_not_have(image: AbstractFormat) -> None:
    tier = image.pyramid.base
    assert image.reader.read_stored_tile(tier, 0, 0, FIRST_PLANE) is None
    assert image.reader.read_label(10, 10) is None and image.reader.read_macro(10, 10) is None
    assert image.histogram_reader.channel_histograms() is None and image.convertor is None
    assert image.full_imd == image.main_imd and image.raw_metadata == {} and not image.need_conversion
    assert AbstractParser.parse_pyramid(image.parser) == Pyramid.of([(700, 501, 700, 501)])
    assert image.normalized_pyramid.base.region == tier.region


def test_signatures_are_beginnings(tmp_path: Path) -> None:
    for data, expected in ((b"CODE1", True), (b"CODE2x", True), (b"CODE", False), (b" CODE1", False)):
        (tmp_path / "file").write_bytes(data)
        with LocalSource(tmp_path / "file") as source:
            assert CodeFormat.match(Probe(source)) == expected


def test_leaving_closes_the_reader_and_forgets_what_was_parsed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"CODE1")
    with LocalSource(tmp_path / "file") as source:
        with CodeFormat(source) as image:
            assert image.main_imd is image.main_imd
            assert image.is_in_cache("main_imd")
        assert isinstance(image.reader, CodeReader) and image.reader.closed
        assert not image.is_in_cache("main_imd")
