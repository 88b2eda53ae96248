"""Conversions between integers and float32, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import agreed
from numpy.typing import NDArray

# Around the vectors of int32 and of int64 on each instruction set.
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100]
# The integers around those that float32 rounds, and the ends of int32.
CORNERS = [
    0,
    1,
    -1,
    2**24 - 1,
    2**24,
    2**24 + 1,
    2**24 + 3,
    -(2**24) - 1,
    2**25 + 2,
    2**31 - 1,
    -(2**31),
    2**31 - 65,
]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_integers_are_rounded_to_the_nearest_float(dtype: str, length: int) -> None:
    rng = np.random.default_rng(length)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, length, dtype)
    x[rng.integers(0, length, len(CORNERS))] = CORNERS

    def run(kernels: Kernels) -> list[NDArray[Any]]:
        floats, least, largest = kernels.integers_to_floats(x)
        return [floats, np.array([least, largest])]

    floats, range_ = agreed(run)
    np.testing.assert_array_equal(floats, x.astype(np.float32))
    assert range_.tolist() == [x.min(), x.max()]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_the_range_is_found_wherever_its_ends_lie(dtype: str) -> None:
    limits = np.iinfo(dtype)
    for place in range(67):
        x = np.zeros(67, dtype)
        x[place] = limits.max
        x[66 - place] = limits.min if place != 33 else limits.max
        (range_,) = agreed(lambda kernels, x=x: [np.array(kernels.integers_to_floats(x)[1:])])
        assert range_.tolist() == [x.min(), x.max()]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_floats_lose_their_fractions(length: int, in_place: bool) -> None:
    rng = np.random.default_rng(length)
    x = (rng.normal(size=length) * 10.0 ** rng.uniform(-3, 9, length)).clip(-2e9, 2e9).astype(np.float32)

    def run(kernels: Kernels) -> list[NDArray[Any]]:
        integers, fit = kernels.floats_to_integers(x, in_place)
        return [integers, np.array(fit)]

    integers, fit = agreed(run)
    np.testing.assert_array_equal(integers, x.astype(np.int32))
    assert fit


@pytest.mark.parametrize(
    ("number", "integer"),
    [
        (2.0**31 - 128, 2**31 - 128),
        (-(2.0**31), -(2**31)),
        (0.999, 0),
        (-0.999, 0),
        (-0.0, 0),
        (1e-40, 0),
    ],
)
def test_the_ends_of_int32_fit(number: float, integer: int) -> None:
    for place in range(33):
        x = np.ones(33, np.float32)
        x[place] = number
        integers, fit = agreed(lambda kernels, x=x: list(map(np.array, kernels.floats_to_integers(x, False))))
        assert fit
        assert integers[place] == integer


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31) - 256, 1e30])
def test_numbers_beyond_int32_are_told(number: float) -> None:
    for place in range(33):
        x = np.full(33, 5.5, np.float32)
        x[place] = number
        integers, fit = agreed(lambda kernels, x=x: list(map(np.array, kernels.floats_to_integers(x, True))))
        assert not fit
        assert integers[place] == -(2**31)
        assert np.delete(integers, place).tolist() == [5] * 32
