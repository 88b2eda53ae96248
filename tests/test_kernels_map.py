"""The instructions of maps against float64, on every instruction set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numerics import SMALLEST_NORMAL, agreed, bits
from numpy.typing import NDArray

Array = NDArray[Any]

INF, NAN = np.inf, np.nan
# The largest float but one, so that there is a next one.
LARGEST = float(np.nextafter(np.finfo(np.float32).max, np.float32(0)))


def run(function: str, *operands: Array) -> Array:
    given = [np.asarray(each, np.float32) for each in operands]
    if function == "erf":  # reads exp(-x^2), too
        given.append(run("gaussian", given[0]))
    given += [given[0]] * (3 - len(given))
    return agreed(lambda kernels: [kernels.map(function, *given)])[0]


def magnitudes(low: float, high: float, n: int = 60_000, seed: int = 0) -> Array:
    """Numbers of both signs and all magnitudes within a range."""
    draw = np.random.default_rng(seed)
    x = np.exp(draw.uniform(np.log(low), np.log(high), n))
    return (x * draw.choice([-1, 1], n)).astype(np.float32)


def spread(low: float, high: float, n: int = 60_000, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(low, high, n).astype(np.float32)


def worst_ulps(got: Array, want: Array) -> float:
    """The largest error in ulp. Results below the smallest normal number may be flushed to zero."""
    want = np.asarray(want, float)
    tiny = np.abs(want) < 1.01 * SMALLEST_NORMAL
    same = (np.isnan(got) & np.isnan(want)) | (got == want) | (tiny & (np.abs(got) <= 1.01 * SMALLEST_NORMAL))
    with np.errstate(over="ignore"):
        same |= np.isinf(got) & (got == want.astype(np.float32))
    ulp = np.spacing(np.clip(np.abs(want), SMALLEST_NORMAL, LARGEST).astype(np.float32)).astype(float)
    with np.errstate(invalid="ignore"):
        return float(np.where(same, 0, np.abs(got - want) / ulp).max())


def precise(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Sine and cosine of large numbers: in extended precision, where the machine has it."""
    return lambda x: function(x.astype(np.longdouble)).astype(float)


def inverse_erf(x: Array) -> Array:
    """Computes the inverse by Newton's method, from the centre, where it is smooth, or from the tail."""
    erf = np.vectorize(math.erf)
    y = np.sign(x) * np.sqrt(np.maximum(-np.log1p(-(x**2)) * 0.9, 0))
    for _ in range(60):
        slope = 2 / math.sqrt(math.pi) * np.exp(-(y**2))
        y = y - np.clip((erf(y) - x) / slope, -0.3, 0.3)
    return y


# Bounds in ulp; larger sweeps found 1.60, 2.29, 0.78, 0.78, 2.33, 2.14 and 3.44.
UNARY: list[tuple[str, Any, list[Array], float]] = [
    ("expm1", np.expm1, [magnitudes(1e-30, 88.7), spread(-2, 2), spread(-20, 20)], 2.0),
    ("log1p", np.log1p, [magnitudes(1e-30, 0.9999), spread(-1, 3), np.abs(magnitudes(1, 3e38))], 2.5),
    ("sin", precise(np.sin), [magnitudes(1e-30, 10), spread(-1e5, 1e5), np.arange(60_000) * np.pi / 2], 1.0),
    ("cos", precise(np.cos), [magnitudes(1e-30, 10), spread(-1e5, 1e5), np.arange(60_000) * np.pi / 2], 1.0),
    ("sin", precise(np.sin), [magnitudes(1e5, 1e18)], 2.0),
    ("cos", precise(np.cos), [magnitudes(1e5, 1e18)], 2.0),
    ("gaussian", lambda x: np.exp(-(x**2)), [magnitudes(1e-30, 9.3), spread(-2, 2)], 2.5),
    ("erf", np.vectorize(math.erf), [magnitudes(1e-30, 6, 20_000), spread(-1.5, 1.5, 20_000)], 2.5),
    ("erfinv", inverse_erf, [spread(-0.9, 0.9, 4000), magnitudes(1e-6, 0.5, 4000)], 4.0),
    ("sqrt", np.sqrt, [np.abs(magnitudes(1e-37, 3e38))], 0.5),
    ("negate", np.negative, [magnitudes(1e-37, 3e38)], 0.0),
    ("abs", np.abs, [magnitudes(1e-37, 3e38)], 0.0),
    ("sign", np.sign, [magnitudes(1e-37, 3e38)], 0.0),
    ("floor", np.floor, [magnitudes(1e-3, 1e9), spread(-100, 100)], 0.0),
    ("round", np.round, [magnitudes(1e-3, 1e9), np.arange(-500, 500) / 2], 0.0),
]


@pytest.mark.parametrize(
    ("function", "exact", "x", "bound"), UNARY, ids=[f"{i} {case[0]}" for i, case in enumerate(UNARY)]
)
def test_functions_of_one_number(function: str, exact: Any, x: list[Array], bound: float) -> None:
    if function in ("sin", "cos") and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("this machine has no numbers of extended precision to compare with")
    numbers = np.concatenate([each.astype(np.float32) for each in x])
    assert worst_ulps(run(function, numbers), exact(numbers.astype(float))) <= bound


def near_overflow(n: int = 60_000) -> tuple[Array, Array]:
    """Powers of all sizes of bases near 1, whose logarithms need all digits."""
    a = spread(0.7, 1.45, n, 1)
    return a, (spread(-125, 125, n, 2) / np.log2(a)).astype(np.float32)


def whole_exponents(n: int = 60_000) -> tuple[Array, Array]:
    return spread(-5, 5, n, 1), np.random.default_rng(2).integers(-20, 21, n).astype(np.float32)


def integers(largest: int, n: int = 60_000, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-largest, largest + 1, n).astype(np.float32)


def common_bits(a: Array, b: Array) -> Array:
    return a.astype(int) & b.astype(int)


BINARY: list[tuple[str, Any, tuple[Array, Array], float]] = [
    ("power", np.power, (np.abs(magnitudes(1e-30, 1e30)), magnitudes(1e-3, 100, seed=1)), 1.25),
    ("power", np.power, near_overflow(), 1.25),
    ("power", np.power, whole_exponents(), 1.25),
    ("remainder", np.mod, (magnitudes(1e-6, 1e6), magnitudes(1e-3, 1e3, seed=1)), 0.5),
    ("remainder", np.mod, (magnitudes(1e-10, 3e38), magnitudes(1e-25, 3e38, seed=1)), 0.5),
    ("remainder", np.mod, (np.arange(-500, 500), np.resize([3, -7, 0.5], 1000)), 0.0),
    ("atan2", np.arctan2, (spread(-5, 5), spread(-5, 5, seed=1)), 2.0),
    ("atan2", np.arctan2, (magnitudes(1e-18, 1e18), magnitudes(1e-18, 1e18, seed=1)), 2.0),
    ("minimum", np.minimum, (spread(-5, 5), spread(-5, 5, seed=1)), 0.0),
    ("maximum", np.maximum, (spread(-5, 5), spread(-5, 5, seed=1)), 0.0),
    ("divide", np.divide, (spread(-5, 5), spread(-5, 5, seed=1)), 0.5),
    ("equal", np.equal, (np.arange(100), np.arange(100)[::-1]), 0.0),
    ("less", np.less, (np.arange(99), np.arange(99)[::-1]), 0.0),
    ("less_equal", np.less_equal, (np.arange(99), np.arange(99)[::-1]), 0.0),
    ("bitwise_and", common_bits, (integers(2**24), integers(2**24, seed=1)), 0.0),
    ("bitwise_and", common_bits, (np.arange(-300, 300), integers(5000)[:600]), 0.0),
    ("bitwise_and", common_bits, (-(2 ** np.arange(25)), np.full(25, -1)), 0.0),
]


@pytest.mark.parametrize(
    ("function", "exact", "operands", "bound"),
    BINARY,
    ids=[f"{i} {case[0]}" for i, case in enumerate(BINARY)],
)
def test_functions_of_two_numbers(
    function: str, exact: Any, operands: tuple[Array, Array], bound: float
) -> None:
    a, b = (each.astype(np.float32) for each in operands)
    with np.errstate(all="ignore"):
        want = np.asarray(exact(a.astype(float), b.astype(float)), float)
    assert worst_ulps(run(function, a, b), want) <= bound


SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        2,
        -2,
        3,
        -3,
        0.3,
        -2.5,
        1.5,
        1e30,
        -1e30,
        2**24,
        2**24 + 2,
        100,
        INF,
        -INF,
        NAN,
    ],
    np.float32,
)


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        ("power", np.power),
        ("remainder", np.mod),
        ("minimum", np.minimum),
        ("maximum", np.maximum),
        ("atan2", np.arctan2),
    ],
)
def test_special_pairs(function: str, exact: Any) -> None:
    """Zeros, infinities and NaN, as NumPy, and so C, has them; signs of zeros of minima and maxima are left open."""
    a, b = (each.ravel() for each in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        want = exact(a.astype(float), b.astype(float))
        nearest = want.astype(np.float32)
    got = run(function, a, b)
    assert worst_ulps(got, want) <= 2
    if function not in ("minimum", "maximum"):
        zero = (nearest == 0) & ((want == 0) | (np.abs(want) >= SMALLEST_NORMAL))
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(nearest[zero]))


@pytest.mark.parametrize(
    ("function", "pairs"),
    [
        ("expm1", [(-0.0, -0.0), (-INF, -1), (INF, INF), (89, INF), (88.5, np.expm1(88.5)), (NAN, NAN)]),
        ("log1p", [(-0.0, -0.0), (-1, -INF), (INF, INF), (-2, NAN), (NAN, NAN)]),
        ("sin", [(-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)]),
        ("cos", [(0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)]),
        ("gaussian", [(0.0, 1), (-0.0, 1), (30, 0), (INF, 0), (-INF, 0), (NAN, NAN)]),
        ("erf", [(-0.0, -0.0), (INF, 1), (-INF, -1), (30, 1), (NAN, NAN)]),
        ("erfinv", [(0, 0), (1, INF), (-1, -INF), (2, NAN), (NAN, NAN)]),
        ("floor", [(-0.0, -0.0), (-0.25, -1), (INF, INF), (-INF, -INF), (NAN, NAN)]),
        ("round", [(-0.0, -0.0), (0.5, 0), (1.5, 2), (-2.5, -2), (8388609, 8388609), (INF, INF), (NAN, NAN)]),
        ("sign", [(0, 0), (INF, 1), (-INF, -1), (NAN, NAN)]),
        ("sqrt", [(-0.0, -0.0), (-1, NAN), (INF, INF), (NAN, NAN)]),
    ],
)
def test_special_numbers(function: str, pairs: list[tuple[float, float]]) -> None:
    x, want = (np.array(column, np.float32) for column in zip(*pairs, strict=True))
    got = run(function, x)
    assert worst_ulps(got, want.astype(float)) <= 1
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


def test_select_reads_any_number_but_zero_as_true() -> None:
    a = np.array([0, -0.0, 1, -3, NAN, 0.5], np.float32)
    got = run("select", a, np.arange(6), -np.arange(6.0) - 1)
    np.testing.assert_array_equal(got, [-1, -2, 2, 3, 4, 5])


def test_gradient_of_maximum_goes_to_the_larger_number() -> None:
    a = np.array([2, 1, 3, 0, -0.0, INF, INF, -INF, NAN, 1, NAN, 2, 1], np.float32)
    b = np.array([1, 2, 3, -0.0, 0, 1, INF, 1, 1, NAN, NAN, 1, 2], np.float32)
    dy = np.array([5, 5, 5, 3, 3, 7, 8, 9, 4, 4, 4, INF, INF], np.float32)
    # The smaller number gets 0, even where dy is infinite. Where one of the two is NaN, both get 0.
    wanted = np.array([5, 0, 2.5, 1.5, 1.5, 7, 4, 0, 0, 0, 0, INF, 0], np.float32)
    np.testing.assert_array_equal(run("maximum_gradient", a, b, dy), wanted)


@pytest.mark.parametrize("function", ["add", "subtract", "multiply", "divide"])
def test_arithmetic_rounds_once(function: str) -> None:
    a, b = magnitudes(1e-10, 1e10), magnitudes(1e-10, 1e10, seed=1)
    np.testing.assert_array_equal(bits(run(function, a, b)), bits(getattr(np, function)(a, b)))


@pytest.mark.parametrize("function", ["sin", "power", "remainder"])
def test_position_in_the_array_does_not_matter(function: str) -> None:
    a, b = magnitudes(0.1, 1e7, 67), magnitudes(0.1, 5, 67, 1)
    whole = run(function, np.abs(a), b)
    for n in (1, 3, 15, 16, 17, 33):
        np.testing.assert_array_equal(bits(run(function, np.abs(a[n:]), b[n:])), bits(whole[n:]))
