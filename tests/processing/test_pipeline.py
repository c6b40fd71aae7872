"""The steps that are planned, their order and their effect."""

from __future__ import annotations

import numpy as np
import pytest

from pims.errors import UnsupportedFeature
from pims.model.metadata import ImageMetadata
from pims.model.shown import PIXEL_TYPES
from pims.processing.lut import IntensityTables, intensity_lut
from pims.processing.pipeline import AdjustIntensities, Resample, Resize, adjustment, plan, run
from pims.processing.request import ChannelDisplay
from pims.processing.resize import resample, resize


def image(pixel_type: str = "uint8", bits: int = 8, samples: int = 3) -> ImageMetadata:
    return ImageMetadata(
        width=1000, height=900, pixel_type=pixel_type, significant_bits=bits, n_samples=samples
    )


FULL = (ChannelDisplay(0, 255),) * 3
DARKER = (ChannelDisplay(0, 255, 2.0),) * 3


def test_intensities_come_before_the_size() -> None:
    steps = plan(adjustment(image(), DARKER, 8), crop=(1.5, 2, 20, 30), out_width=10, out_height=15)
    assert [type(step) for step in steps] == [AdjustIntensities, Resample]
    pixels = np.random.default_rng(2).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    adjusted = IntensityTables([intensity_lut(8, channel, 8) for channel in DARKER]).apply(pixels)
    np.testing.assert_array_equal(run(pixels, steps), resample(adjusted, 1.5, 2, 20, 30, 10, 15))


def test_neutral_intensities_are_no_step() -> None:
    steps = plan(adjustment(image(), FULL, 8), crop=None, out_width=20, out_height=10)
    assert steps == [Resize(20, 10)]
    pixels = np.random.default_rng(2).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(run(pixels, steps), resize(pixels, 20, 10))


def test_pixels_that_are_as_asked_are_given_back_untouched() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    assert run(pixels, plan(None, crop=None, out_width=20, out_height=10)) is pixels


def test_16_bits_become_8_in_the_same_step() -> None:
    adjust = adjustment(image("uint16", 12, 1), (ChannelDisplay(0, 4095),), 8)
    pixels = np.array([0, 2048, 4095, 60000], np.uint16).reshape(1, 4, 1)
    result = run(pixels, plan(adjust, crop=None, out_width=4, out_height=1))
    assert result.dtype == np.uint8
    assert result.ravel().tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("output_bits", [8, 16])
@pytest.mark.parametrize(("pixel_type", "bits"), [("uint8", 8), ("uint16", 16)])
def test_output_has_the_bits_that_were_asked(pixel_type: str, bits: int, output_bits: int) -> None:
    adjust = adjustment(image(pixel_type, bits, 1), (ChannelDisplay(0, 2**bits - 1),), output_bits)
    steps = plan(adjust, crop=(0.5, 0.5, 3, 3), out_width=3, out_height=3)
    result = run(np.full((5, 5, 1), 2**bits - 1, pixel_type), steps)
    assert result.dtype == f"uint{output_bits}"
    assert (result == 2**output_bits - 1).all()


@pytest.mark.parametrize("samples", [2, 4, 5])
def test_samples_that_are_neither_grey_nor_rgb_are_refused(samples: int) -> None:
    with pytest.raises(UnsupportedFeature, match=f"{samples} samples per pixel"):
        adjustment(image(samples=samples), (ChannelDisplay(0, 255),) * samples, 8)


@pytest.mark.parametrize("pixel_type", ["float16", "int64"])
def test_types_that_can_not_be_shown_are_refused(pixel_type: str) -> None:
    with pytest.raises(UnsupportedFeature, match=pixel_type):
        adjustment(image(pixel_type), FULL, 8)


@pytest.mark.parametrize("pixel_type", PIXEL_TYPES)
@pytest.mark.parametrize("output_bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_every_type_is_shown_from_black_to_full(pixel_type: str, output_bits: int, samples: int) -> None:
    metadata = image(pixel_type, int("".join(filter(str.isdigit, pixel_type))), samples)
    full = metadata.full_range or (-1e30, 2e30)
    adjust = adjustment(metadata, (ChannelDisplay(*full),) * samples, output_bits)
    values = np.array([full[0], full[0] / 2 + full[1] / 2, full[1]]).astype(pixel_type)
    pixels = np.repeat(values.reshape(1, 3, 1), samples, axis=2)
    shown = run(pixels, plan(adjust, crop=None, out_width=3, out_height=1))
    top = 2**output_bits - 1
    assert shown.dtype == f"uint{output_bits}"
    np.testing.assert_allclose(shown[0, :, 0], [0, top / 2, top], atol=top / 254)
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize("bits", range(1, 8))
def test_few_bits_are_stretched(bits: int) -> None:
    adjust = adjustment(image(bits=bits, samples=1), (ChannelDisplay(0, 2**bits - 1),), 8)
    assert adjust is not None
    values = np.arange(2**bits, dtype=np.uint8).reshape(1, -1, 1)
    expected = [round(value * 255 / (2**bits - 1)) for value in range(2**bits)]
    assert adjust(values).ravel().tolist() == expected


def test_a_display_that_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="1 channels for a plane of 3"):
        adjustment(image(), FULL[:1], 8)


def test_neutral_means_the_full_range_of_the_stored_type() -> None:
    assert adjustment(image(), FULL, 8) is None
    assert adjustment(image("uint16", 16, 1), (ChannelDisplay(0, 65535),), 16) is None
    for metadata, channels, output_bits in (
        (image(), FULL, 16),
        (image(), (*FULL[:2], ChannelDisplay(1, 255)), 8),
        (image(), DARKER, 8),
        (image("uint16", 12, 1), (ChannelDisplay(0, 4095),), 16),
    ):
        assert adjustment(metadata, channels, output_bits) is not None
