"""Look-up tables against the formula, and applying them against plain indexing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pims.errors import UnsupportedFeature
from pims.processing.lut import IntensityTables, intensity_lut, is_identity
from pims.processing.request import ChannelDisplay


@st.composite
def displays(draw: st.DrawFn, highest: int) -> ChannelDisplay:
    low, high = sorted((draw(st.integers(0, highest)), draw(st.integers(0, highest))))
    return ChannelDisplay(low, high, draw(st.floats(0, 10)))


def shown(value: int, display: ChannelDisplay, output_bits: int) -> int:
    """The formula, one value at a time."""
    if display.minimum == display.maximum:
        x = 0.0 if value < display.maximum else 1.0
    else:
        x = min(max((value - display.minimum) / (display.maximum - display.minimum), 0.0), 1.0)
    y: float = 0.0 if x == 0 else x**display.gamma
    return round(y * ((1 << output_bits) - 1))


@given(displays(255), st.sampled_from([1, 7, 8, 12, 16]))
@settings(max_examples=60)
def test_every_entry_of_8_bits_follows_the_formula(display: ChannelDisplay, output_bits: int) -> None:
    lut = intensity_lut(8, display, output_bits)
    expected = [shown(value, display, output_bits) for value in range(256)]
    # The powers of two mathematics libraries may differ in the last bit, and so exactly between two levels.
    assert np.abs(lut.astype(int) - expected).max() <= 1
    assert (lut == expected).mean() > 0.98
    assert lut.dtype == (np.uint8 if output_bits <= 8 else np.uint16)


@given(displays(65535), st.integers(0, 65535), st.sampled_from([8, 16]))
@settings(max_examples=60)
def test_entries_of_16_bits_follow_the_formula(display: ChannelDisplay, value: int, output_bits: int) -> None:
    lut = intensity_lut(16, display, output_bits)
    assert lut.shape == (65536,)
    assert abs(int(lut[value]) - shown(value, display, output_bits)) <= 1


@given(displays(255))
def test_a_table_never_falls_and_spans_black_to_full(display: ChannelDisplay) -> None:
    lut = intensity_lut(8, display, 8)
    assert (np.diff(lut.astype(int)) >= 0).all()
    assert lut[int(display.maximum)] == 255
    if display.minimum < display.maximum:
        assert lut[int(display.minimum)] == 0


def test_gamma_above_one_darkens_and_below_one_brightens() -> None:
    middle = [int(intensity_lut(8, ChannelDisplay(0, 255, gamma), 8)[128]) for gamma in (0.5, 1.0, 2.0)]
    assert middle == [181, 128, 64]


def test_gamma_zero_is_full_above_the_minimum_and_black_at_it() -> None:
    lut = intensity_lut(8, ChannelDisplay(10, 200, 0.0), 8)
    assert (lut[:11] == 0).all()
    assert (lut[11:] == 255).all()


def test_equal_bounds_are_a_threshold() -> None:
    lut = intensity_lut(8, ChannelDisplay(100, 100), 8)
    assert (lut[:100] == 0).all()
    assert (lut[100:] == 255).all()


def test_values_beyond_the_significant_bits_are_clipped() -> None:
    lut = intensity_lut(16, ChannelDisplay(0, 4095), 8)
    assert lut[4095] == lut[5000] == lut[65535] == 255


def test_tables_are_shared_and_can_not_be_changed() -> None:
    lut = intensity_lut(8, ChannelDisplay(1, 2, 3.0), 8)
    assert intensity_lut(8, ChannelDisplay(1, 2, 3.0), 8) is lut
    with pytest.raises(ValueError, match="read-only"):
        lut[0] = 1


@pytest.mark.parametrize(("source_bits", "output_bits"), [(12, 8), (8, 0), (8, 17), (32, 8)])
def test_tables_of_other_depths_are_refused(source_bits: int, output_bits: int) -> None:
    with pytest.raises(ValueError, match="no look-up table"):
        intensity_lut(source_bits, ChannelDisplay(0, 1), output_bits)


@given(displays(255) | st.just(ChannelDisplay(0, 255)), st.sampled_from([8, 16]))
def test_identity_means_that_nothing_changes(display: ChannelDisplay, output_bits: int) -> None:
    if is_identity(8, display, output_bits):
        assert (intensity_lut(8, display, output_bits) == np.arange(256)).all()


def test_identity_is_recognised() -> None:
    assert is_identity(8, ChannelDisplay(0, 255), 8)
    assert is_identity(16, ChannelDisplay(0, 65535), 16)
    assert (intensity_lut(16, ChannelDisplay(0, 65535), 16) == np.arange(65536)).all()
    assert not is_identity(16, ChannelDisplay(0, 65535), 8)
    assert not is_identity(8, ChannelDisplay(0, 15), 8)
    assert not is_identity(8, ChannelDisplay(0, 255, 1.1), 8)


def layouts(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """The same kind of pixels in several memory layouts."""
    buffer = np.zeros(pixels.nbytes + 1, np.uint8)
    buffer[1:] = pixels.reshape(-1).view(np.uint8)
    odd_address = buffer[1:].view(pixels.dtype).reshape(pixels.shape)
    return [pixels, pixels[::-1, ::2], np.asfortranarray(pixels), pixels[:, 1:], odd_address]


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 3), (2, 1, 1), (5, 7, 1), (5, 7, 3), (64, 33, 3), (3, 4, 6)]
)
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
@pytest.mark.parametrize("output_bits", [8, 16])
@pytest.mark.parametrize("shared", [True, False])
def test_applying_is_indexing(
    shape: tuple[int, int, int],
    dtype: type[np.unsignedinteger[Any]],
    bits: int,
    output_bits: int,
    shared: bool,
) -> None:
    pixels = np.random.default_rng(1).integers(0, 2**bits, shape).astype(dtype)
    gammas = [0.7 if shared else 0.5 + sample for sample in range(shape[2])]
    luts = [intensity_lut(bits, ChannelDisplay(3, 2**bits - 9, gamma), output_bits) for gamma in gammas]
    for source in layouts(pixels):
        before = source.copy()
        result = IntensityTables(luts).apply(source)
        expected = np.stack([lut[source[:, :, sample]] for sample, lut in enumerate(luts)], axis=2)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == luts[0].dtype
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(source, before)
        np.testing.assert_array_equal(IntensityTables(luts).apply(source, in_place=True), expected)


@given(st.sampled_from([8, 16]), st.sampled_from([8, 16]), st.sampled_from([1, 3]), st.data())
@settings(max_examples=40)
def test_signed_values_follow_the_formula(
    bits: int, output_bits: int, samples: int, data: st.DataObject
) -> None:
    dtype, half = f"int{bits}", 1 << (bits - 1)
    bound = st.integers(-half, half - 1)
    channels = []
    for _ in range(samples):
        low, high = sorted((data.draw(bound), data.draw(bound)))
        channels.append(ChannelDisplay(low, high, data.draw(st.floats(0, 10))))
    pixels = np.random.default_rng(4).integers(-half, half, (5, 7, samples)).astype(dtype)
    pixels.reshape(-1)[:4] = [-half, -1, 0, half - 1]
    luts = [intensity_lut(bits, channel, output_bits, signed=True) for channel in channels]
    tables = IntensityTables(luts, signed=True)
    for source in layouts(pixels):
        result = tables.apply(source)
        assert result.dtype == f"uint{output_bits}"
        for sample, channel in enumerate(channels):
            expected = [shown(int(value), channel, output_bits) for value in source[:, :, sample].flat]
            assert np.abs(result[:, :, sample].reshape(-1).astype(int) - expected).max() <= 1
        np.testing.assert_array_equal(tables.apply(source.copy(), in_place=True), result)


def test_signed_and_unsigned_tables_are_not_mixed_up() -> None:
    lut = intensity_lut(16, ChannelDisplay(0, 255), 8)
    for signed, dtype in ((True, np.uint16), (False, np.int16)):
        with pytest.raises(ValueError, match="1 tables"):
            IntensityTables([lut], signed=signed).apply(np.zeros((2, 2, 1), dtype))


def test_equal_tables_that_are_not_shared_give_the_same() -> None:
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    lut = intensity_lut(8, ChannelDisplay(0, 30), 8)
    np.testing.assert_array_equal(
        IntensityTables([lut] * 3).apply(pixels),
        IntensityTables([lut.copy() for _ in "rgb"]).apply(pixels),
    )


def test_read_only_pixels_are_taken() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    pixels.flags.writeable = False
    lut = intensity_lut(8, ChannelDisplay(0, 11), 8)
    np.testing.assert_array_equal(IntensityTables([lut] * 3).apply(pixels), lut[pixels])


@pytest.mark.parametrize("dtype", ["uint32", "int32", "float32", "bool", ">u2"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedFeature, match="those of 8 and 16 bits"):
        IntensityTables([intensity_lut(8, ChannelDisplay(0, 255), 8)]).apply(np.zeros((2, 2, 1), dtype))


def test_tables_that_do_not_fit_are_refused() -> None:
    lut8, lut16 = (intensity_lut(bits, ChannelDisplay(0, 255), 8) for bits in (8, 16))
    for shape, dtype, lut in (
        ((2, 2, 3), np.uint8, lut8),
        ((2, 2, 1), np.uint16, lut8),
        ((2, 2, 1), np.uint8, lut16),
        ((2, 2), np.uint8, lut8),
    ):
        with pytest.raises(ValueError, match="1 tables"):
            IntensityTables([lut]).apply(np.zeros(shape, dtype))
    with pytest.raises(ValueError, match="different types"):
        IntensityTables([lut8, lut16])
    with pytest.raises(ValueError, match="cover"):
        IntensityTables([lut8[:100]])
