"""Real files: imported as users do it, then looked at as viewers do it, against other readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pims.images.image import OpenedImage
from pims.images.render import (
    RenderRequest,
    ThumbRequest,
    TileRequest,
    WindowRequest,
    render,
    stored_tile,
    tile_pyramid,
)
from pims.importer.events import ImportStatus
from pims.model.geometry import Region
from pims.model.planes import FIRST_PLANE
from pims.model.pyramid import Tier
from pims.processing.request import DisplaySettings
from pims.testing.format_tests import block_means
from tests.samples.conftest import Collection
from tests.samples.independent import Levels, decoded, levels_of

FOLDERS = ("svs", "jpeg", "png", "tiff-pyramidal")
REFUSED: dict[str, str] = {}
"""Whole sentences, or their beginnings; that they are true was seen with other readers. None is left."""
JPEG_TOLERANCE = 1
"""Between two decoders of the same JPEG."""
CONVERSION_MEAN, CONVERSION_WORST = 3.0, 64
"""Levels lost by the conversion to JPEG of what was JPEG: on average, and at a sharp coloured edge."""
THUMB_BLOCK, THUMB_MEAN = 4, 6.0
"""Between two ways to shrink: of the means of blocks, on average."""
PLAIN = DisplaySettings()
PNG, JPEG = "image/png", "image/jpeg"


@pytest.fixture(scope="module")
def collection(samples: Path, imported: Callable[[list[Path]], Collection]) -> Collection:
    paths = [path for folder in FOLDERS for path in sorted((samples / "real" / folder).iterdir())]
    return imported(paths)


@pytest.fixture(scope="module")
def known(collection: Collection) -> dict[Path, Levels]:
    """What other readers show of the images that were taken."""
    return {path: levels_of(path) for path, result in collection.results.items() if result.status.is_good}


def shown(image: OpenedImage, request: RenderRequest) -> NDArray[Any]:
    pixels: NDArray[Any] = imagecodecs.png_decode(render(image, request))
    return pixels.reshape(*pixels.shape[:2], -1)


def shown_or_read(image: OpenedImage, request: RenderRequest, tier: Tier, region: Region) -> NDArray[Any]:
    """What is rendered; pixels of fewer bits than their type are stretched then, so these are read."""
    if image.metadata.significant_bits < image.metadata.bits:
        return image.reader.read_region(tier, region, FIRST_PLANE)
    return shown(image, request)


def part(pixels: NDArray[Any], region: Region) -> NDArray[Any]:
    return pixels[region.top : region.bottom, region.left : region.right]


def assert_alike(ours: NDArray[Any], theirs: NDArray[Any], tolerance: int, what: object) -> None:
    assert ours.shape == theirs.shape, what
    worst = np.abs(ours.astype(np.int64) - theirs).max()
    assert worst <= tolerance, f"{what}: {worst} levels away"


def tolerance_of(image: OpenedImage) -> int:
    return JPEG_TOLERANCE if image.metadata.lossy else 0


def taken(collection: Collection, *, converted: bool) -> Iterator[tuple[Path, OpenedImage]]:
    """The imported images, served from the file itself or from a conversion with loss."""
    for path, result in collection.results.items():
        if result.status.is_good:
            with collection.opened(path) as image:
                codec = (image.manifest.conversion or {}).get("codec")
                if (codec == "jpeg") == converted:
                    yield path, image


def tiles(tier: Tier) -> Iterator[tuple[int, int]]:
    return (tier.position_of(index) for index in range(tier.tile_count))


def test_all_are_imported_or_refused_for_a_true_reason(collection: Collection) -> None:
    refused = {path.name: str(r.error) for path, r in collection.results.items() if not r.status.is_good}
    assert refused.keys() == REFUSED.keys()
    assert all(reason.startswith(REFUSED[name]) for name, reason in refused.items()), refused
    for result in collection.results.values():
        assert result.status in (ImportStatus.DEPLOYED, ImportStatus.SKIPPED, ImportStatus.ERROR_FORMAT)
    assert list(collection.pending.iterdir()) == []


def test_every_stored_tile_shows_what_other_readers_show(
    collection: Collection, known: dict[Path, Levels]
) -> None:
    for path, image in taken(collection, converted=False):
        for tier in image.pyramid.tiers:
            theirs = known[path].get((tier.width, tier.height))
            if theirs is None:  # a lower tier of a conversion
                continue
            for column, row in tiles(tier):
                region = tier.tile_region(column, row)
                if image.metadata.bits == 8:
                    request: RenderRequest = TileRequest(False, tier.level, column, row, PLAIN, PNG)
                else:
                    request = WindowRequest(region, tier, region.width, region.height, PLAIN, PNG)
                ours = shown_or_read(image, request, tier, region)
                assert_alike(ours, part(theirs, region), tolerance_of(image), (path.name, tier, column, row))


def test_every_normalized_tile_of_the_base_shows_what_other_readers_show(
    collection: Collection, known: dict[Path, Levels]
) -> None:
    for path, image in taken(collection, converted=False):
        base = image.normalized_pyramid.base
        theirs = known[path][base.width, base.height]
        if image.metadata.bits > 8:
            continue  # seen in 8 bits, as the histogram suggests; its windows are compared
        for column, row in tiles(base):
            ours = shown(image, TileRequest(True, 0, column, row, PLAIN, PNG))
            expected = part(theirs, base.tile_region(column, row))
            assert_alike(ours, expected, tolerance_of(image), (path.name, column, row))


def test_every_tile_that_is_sent_as_it_is_stored_shows_what_is_read(collection: Collection) -> None:
    sent = 0
    for normalized in (False, True):
        for path, image in chain(taken(collection, converted=False), taken(collection, converted=True)):
            for tier in tile_pyramid(image, normalized=normalized).tiers:
                for column, row in tiles(tier):
                    request = TileRequest(normalized, tier.level, column, row, PLAIN, JPEG)
                    tile = stored_tile(image, request)
                    if tile is None:
                        continue
                    sent += 1
                    ours = image.reader.read_region(tier, tier.tile_region(column, row), FIRST_PLANE)
                    assert_alike(decoded(tile.data), ours, JPEG_TOLERANCE, (path.name, tier, column, row))
    assert sent > 100


def test_windows_are_cuts_of_what_other_readers_show(
    collection: Collection, known: dict[Path, Levels]
) -> None:
    random = np.random.default_rng(0)
    for path, image in taken(collection, converted=False):
        base = image.pyramid.base
        theirs = known[path][base.width, base.height]
        for _ in range(3):
            left, top = int(random.integers(base.width)), int(random.integers(base.height))
            width, height = min(base.width - left, 500), min(base.height - top, 300)
            region = Region(left, top, width, height)
            request = WindowRequest(region, base, width, height, PLAIN, PNG)
            ours = shown_or_read(image, request, base, region)
            assert_alike(ours, part(theirs, region), tolerance_of(image), (path.name, region))


def test_thumbs_look_like_the_image(collection: Collection, known: dict[Path, Levels]) -> None:
    for converted in (False, True):
        for path, image in taken(collection, converted=converted):
            base = image.pyramid.base
            factor = max(base.width, base.height) / 128
            width, height = (max(1, round(side / max(1, factor))) for side in (base.width, base.height))
            ours = shown(image, ThumbRequest(width, height, PLAIN, PNG))
            assert ours.shape[:2] == (height, width), path.name
            if image.metadata.bits > 8:
                continue
            whole = known[path][base.width, base.height]
            picture = Image.fromarray(whole if whole.shape[2] == 3 else whole[..., 0])
            theirs = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
            means = block_means(ours, THUMB_BLOCK) - block_means(theirs.reshape(ours.shape), THUMB_BLOCK)
            difference = np.abs(means).mean()
            assert difference <= THUMB_MEAN, f"{path.name}: {difference} levels away on average"


def test_a_conversion_with_loss_stays_close(collection: Collection, known: dict[Path, Levels]) -> None:
    converted = 0
    for path, image in taken(collection, converted=True):
        converted += 1
        base = image.pyramid.base
        theirs = known[path][base.width, base.height]
        ours = image.reader.read_region(base, base.region, FIRST_PLANE)
        assert ours.shape == theirs.shape
        difference = np.abs(ours.astype(np.int64) - theirs)
        found = f"{path.name}: {difference.mean():.2f} levels on average, {difference.max()} at worst"
        assert difference.mean() <= CONVERSION_MEAN and difference.max() <= CONVERSION_WORST, found
    assert converted > 0
