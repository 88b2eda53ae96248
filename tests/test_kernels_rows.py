"""Tests the kernels that gather rows, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import U, agreed, place, same_bits
from numpy.typing import NDArray

from engine import _core

Array = NDArray[Any]

DTYPES = ["uint8", "float32", "float64"]


def rows_of(dtype: str, width: int) -> Array:
    rng = np.random.default_rng(width)
    if dtype == "uint8":
        return rng.integers(0, 256, (11, width), np.uint8)
    return (rng.normal(size=(11, width)) * 100).astype(dtype)


def gathered(rows: Array, indices: Array, scale: float, offset: float) -> Array:
    def run(kernels: Kernels) -> list[Array]:
        out = place(np.zeros((len(indices), rows.shape[1])), 3)
        kernels.gather(rows, indices, scale, offset, out)
        return [out.copy()]

    return agreed(run)[0]


@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 784])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(dtype: str, width: int) -> None:
    rows = rows_of(dtype, width)
    indices = np.array([10, 0, 3, 3, 7], np.int32)
    taken = rows[indices].astype(np.float32)
    np.testing.assert_array_equal(gathered(rows, indices, 1.0, 0.0), taken)
    scale, offset = 1 / 127.5, -1.0
    want = taken.astype(float) * scale + offset
    # Roundings: the float32 scale, the product, the sum.
    bound = 2 * U * np.abs(taken * scale) + U * np.abs(want)
    assert (np.abs(gathered(rows, indices, scale, offset) - want) <= bound).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(
    ("dtype", "bad"),
    [("float32", [np.nan, np.inf, -np.inf]), ("float64", [np.nan, -np.inf, 3.5e38, -1e300])],
)
def test_first_nonfinite_row(dtype: str, bad: list[float], threads: int) -> None:
    clean = np.full((200, 3, 7), np.finfo(np.float32).max, dtype)
    _core.set_threads(threads)
    try:
        assert _core.first_nonfinite_row(clean) == -1
        for value in bad:
            for row in (0, 1, 99, 198, 199):
                x = clean.copy()
                x[row, 2, 6] = value
                x[-1, 0, 0] = np.nan
                assert _core.first_nonfinite_row(x) == row
    finally:
        _core.set_threads(0)


def test_bytes_are_finite() -> None:
    assert _core.first_nonfinite_row(np.full((3, 5), 255, np.uint8)) == -1


def dropped(x: Array, rate: float, seed: int = 1, step: int = 3) -> Array:
    def run(kernels: Kernels) -> list[Array]:
        out = place(np.zeros_like(x))
        kernels.dropout(place(x), rate, seed, step, out)
        return [out.copy()]

    return agreed(run)[0]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_rate_and_scale(rate: float) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (400, 500)).astype(np.float32)
    y = dropped(x, rate)
    kept = y != 0
    # Five standard deviations of a binomial proportion.
    assert abs(kept.mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / x.size)
    want = np.where(kept, x / (1 - rate) if rate < 1 else 0, 0)
    # 1 / (1 - rate) and the product round once each.
    assert (np.abs(y - want) <= 2 * U * want).all()
    if rate == 0.0:
        np.testing.assert_array_equal(y, x)


def test_dropout_is_keyed_by_seed_step_and_element() -> None:
    ones = np.ones((50, 130), np.float32)
    base = dropped(ones, 0.5) != 0
    assert same_bits(dropped(ones, 0.5), dropped(ones, 0.5))
    np.testing.assert_array_equal(dropped(ones[:7], 0.5) != 0, base[:7])
    np.testing.assert_array_equal(dropped(ones[:, :37].copy(), 0.5) != 0, base[:, :37])
    others = [dropped(ones, 0.5, **key) != 0 for key in ({"seed": 2}, {"seed": 2**32 + 1}, {"step": 4})]
    sequence = [base, *others, np.roll(base, 1, axis=0), np.roll(base, 1, axis=1)]
    for other in sequence[1:]:
        # Two independent masks agree on half of the elements, give or take five standard deviations.
        assert abs((base == other).mean() - 0.5) <= 5 * 0.5 / np.sqrt(base.size)


def test_a_smaller_rate_keeps_more_of_the_same_elements() -> None:
    ones = np.ones((20, 33), np.float32)
    few, many = dropped(ones, 0.7) != 0, dropped(ones, 0.2) != 0
    assert (many | ~few).all()
