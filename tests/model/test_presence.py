"""Which real numbers stand for an intensity."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pims.model.presence import are_below, is_present

ABSENT = [math.nan, math.inf, 3.4028234663852886e38, 3.4028235e38, 3.40282265508890445e38]
PRESENT = [0.0, 1e-45, 255.0, 1e38, 3.4e38]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_infinity_and_marks_of_either_sign_are_absent(dtype: str) -> None:
    for sign in (1, -1):
        with np.errstate(over="ignore"):
            absent, present = (sign * np.array(values).astype(dtype) for values in (ABSENT, PRESENT))
        assert not is_present(absent).any()
        assert is_present(present).all()
        assert are_below(present)
        for value in absent:
            assert not are_below(np.append(present, value))


def test_numbers_larger_than_marks_are_present() -> None:
    huge = np.array([1e39, -1.7e308])
    assert is_present(huge).all()
    assert not are_below(huge)


def test_a_limit_may_be_asked_and_nothing_is_below_all() -> None:
    assert are_below(np.array([-1.0, 1.0]), 1.5)
    assert not are_below(np.array([-1.0, 1.0]), 1.0)
    assert are_below(np.zeros((0, 3)))
