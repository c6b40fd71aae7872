"""Every TIFF of the samples, read as it is: the pixels that other readers show, or a refusal that is true."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pims.errors import FileError
from pims.files.source import LocalSource
from pims.formats.abstract import AbstractFormat, ReadContext
from pims.formats.common.planar_tiff import PlanarTIFFFormat
from pims.formats.common.pyramidal_tiff import PyrTIFFFormat
from pims.formats.probe import Probe
from pims.model.planes import FIRST_PLANE
from tests.samples.independent import levels_of

FOLDERS = ("tiff-planar", "tiff-pyramidal", "bigtiff")
REFUSED = {"text.tif": "This TIFF uses the compression ThunderScan, which this version can't read."}
"""Whole sentences; that they are true was seen with other readers."""
UPSAMPLED = {"smallliz.tif", "old-style-jpeg-multiple-strips.tif"}
"""What the only other reader decodes with chroma repeated, not interpolated."""
UPSAMPLED_MEAN = 2.0
UNREAD = {
    f"planar-yuv{kind}.tif"
    for kind in ("420-jpeg-uncompressed", "422-jpeg-uncompressed", "422-bt601-lzw", "444-jpeg-uncompressed")
}
"""What no other reader here shows; the same picture is there in another form."""
SAME_PICTURE = "planar-yuv444-jpeg-lzw.tif"
UNREAD_MEAN = 8.0
IGNORED_PREDICTOR = "hpredict-1c-12b.tiff"
"""Without compression its predictor means nothing to libtiff; tifffile applies it."""
TOLERANCE = 1


@contextmanager
def opened(path: Path) -> Iterator[AbstractFormat]:
    with LocalSource(path) as source:
        kind = PyrTIFFFormat if PyrTIFFFormat.match(Probe(source)) else PlanarTIFFFormat
        with kind(source, context=ReadContext()) as image:
            yield image


def base_of(path: Path) -> NDArray[Any]:
    with opened(path) as image:
        base = image.pyramid.base
        pixels = image.reader.read_region(base, base.region, FIRST_PLANE)
        assert pixels.dtype == image.main_imd.pixel_type, path.name
        assert pixels.flags.c_contiguous, path.name
        return pixels


@pytest.fixture(scope="module")
def paths(samples: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((samples / "real" / folder).iterdir())]


def test_refusals_are_known_and_true(paths: list[Path]) -> None:
    refused = {}
    for path in paths:
        try:
            with opened(path) as image:
                _ = image.main_imd
        except FileError as error:
            refused[path.name] = str(error)
    assert refused == REFUSED


def test_pixels_are_those_of_other_readers(paths: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    for path in paths:
        if path.name in REFUSED or path.name in UNREAD or path.name == IGNORED_PREDICTOR:
            continue
        ours, theirs = base_of(path), levels_of(path)
        shown = theirs[ours.shape[1], ours.shape[0]]
        assert ours.shape == shown.shape, path.name
        difference = np.abs(ours.astype(float) - shown.astype(float))
        if path.name in UPSAMPLED:
            assert difference.mean() <= UPSAMPLED_MEAN, f"{path.name}: {difference.mean()} on average"
        else:
            assert np.array_equal(np.isnan(ours), np.isnan(shown)), path.name
            assert np.nanmax(difference) <= TOLERANCE, f"{path.name}: {np.nanmax(difference)} levels away"


def test_what_no_other_reader_shows_is_nearly_a_picture_they_do_show(paths: list[Path]) -> None:
    whole = next(base_of(path) for path in paths if path.name == SAME_PICTURE).astype(int)
    for path in paths:
        if path.name in UNREAD:
            difference = np.abs(base_of(path) - whole).mean()
            assert difference <= UNREAD_MEAN, f"{path.name}: {difference} levels on average"


def test_every_tier_of_a_pyramid_is_what_other_readers_show(paths: list[Path]) -> None:
    compared = 0
    for path in paths:
        if path.name in REFUSED:
            continue
        with opened(path) as image:
            for tier in image.pyramid.tiers[1:]:
                ours = image.reader.read_region(tier, tier.region, FIRST_PLANE)
                theirs = levels_of(path)[tier.width, tier.height]
                assert np.nanmax(np.abs(ours.astype(float) - theirs)) <= TOLERANCE, (path.name, tier)
                compared += 1
    assert compared > 5
