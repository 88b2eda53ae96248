"""Values and derivatives of the activations against float64, on every instruction set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import SMALLEST_NORMAL, agreed, place, same_bits
from numpy.typing import NDArray
from reference import log_softmax, softmax
from reference_activations import CASES, FORMULAS, FROM_OUTPUT

Array = NDArray[Any]
# For lower numbers exp is flushed to zero, and for higher ones it overflows.
LOW, HIGH = -87.0, 88.0
CORNERS = [-3.0, -1.25, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.25, 1.5, 3.0, 4.0, 5.0, 6.0]


def sweep() -> Array:
    even = np.linspace(LOW, HIGH, 40_000)
    near = np.linspace(-8, 8, 40_000)
    magnitudes = np.geomspace(1e-30, HIGH, 10_000)
    ends = [np.nextafter(np.float32(c), np.float32(to)) for c in CORNERS for to in (-9, 9)]
    x = np.concatenate([even, near, magnitudes, -magnitudes, CORNERS, ends]).astype(np.float32)
    return x[(x >= LOW) & (x <= HIGH) & ((np.abs(x) >= SMALLEST_NORMAL) | (x == 0))]


def function(name: str, constants: tuple[float, ...], x: Array) -> Array:
    return agreed(lambda kernels: [kernels.unary(name, x, constants)])[0]


def assert_within(got: Array, want: Array, scale: Array, ulps: float, x: Array) -> None:
    ulp = np.spacing(np.maximum(np.abs(scale), SMALLEST_NORMAL).astype(np.float32)).astype(float)
    error = np.abs(got - want) - 512 * SMALLEST_NORMAL  # error if a factor of a product is flushed
    worst = int((error - ulps * ulp).argmax())
    assert error[worst] <= ulps * ulp[worst], (
        f"{error[worst] / ulp[worst]:.2f} ulp at {x[worst]!r}: got {got[worst]!r}, expected {want[worst]!r}"
    )


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_values(name: str, constants: tuple[float, ...]) -> None:
    formula, x = FORMULAS[name], sweep()
    exact = [float(np.float32(c)) for c in constants]
    want = formula.value(x.astype(float), *exact)
    scale = (
        np.abs(want)
        if formula.scale is None
        else np.maximum(formula.scale(x.astype(float), *exact), abs(want))
    )
    assert_within(function(name, constants, x), want, scale, formula.ulps, x)


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_slopes(name: str, constants: tuple[float, ...]) -> None:
    formula, x = FORMULAS[name], sweep()
    exact = [float(np.float32(c)) for c in constants]
    saved = function(name, constants, x) if name in FROM_OUTPUT else x
    want = formula.slope(x.astype(float), *exact)
    scale = np.abs(want)
    if formula.slope_scale is not None:
        scale = np.maximum(formula.slope_scale(x.astype(float), *exact), scale)
    assert_within(function(f"{name}_gradient", constants, saved), want, scale, formula.slope_ulps, x)


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_the_reference_slopes_are_those_of_the_values(name: str, constants: tuple[float, ...]) -> None:
    formula, x, step = FORMULAS[name], np.linspace(-7.03, 7.11, 501), 1e-6
    x = x[np.abs(x[:, None] - CORNERS).min(axis=1) > 2 * step]
    central = (formula.value(x + step, *constants) - formula.value(x - step, *constants)) / (2 * step)
    np.testing.assert_allclose(formula.slope(x, *constants), central, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_a_nan_stays_visible_and_numbers_stay_numbers(name: str, constants: tuple[float, ...]) -> None:
    huge = float(np.finfo(np.float32).max) / 4
    x = np.array([np.nan, -np.nan, 1.0, -huge, huge, 1e20, -1e20, 1e-38, -1e-38, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(np.isnan(function(name, constants, x)), np.isnan(x))
    saved = function(name, constants, x) if name in FROM_OUTPUT else x
    slopes = function(f"{name}_gradient", constants, saved)
    assert not (np.isnan(slopes) & ~np.isnan(x)).any()
    far, exact = x[3:5], FORMULAS[name]
    if name != "exponential":
        with np.errstate(over="ignore"):
            want = exact.value(far.astype(float), *constants)
        np.testing.assert_allclose(function(name, constants, far), want, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize(("name", "constants"), CASES)
def test_position_in_the_array_does_not_matter(name: str, constants: tuple[float, ...]) -> None:
    x = np.random.default_rng(3).uniform(-5, 5, 67).astype(np.float32)
    for suffix in ("", "_gradient"):
        whole = function(name + suffix, constants, x)
        for n in (1, 3, 15, 16, 17, 33):
            assert same_bits(function(name + suffix, constants, x[:n].copy()), whole[:n])
            assert same_bits(function(name + suffix, constants, x[n:].copy()), whole[n:])


def sparsemax(z: Array) -> Array:
    """Computes sparsemax by its definition: the largest k with 1 + k z_(k) > sum of the k largest (Martins & Astudillo 2016)."""
    z = z - z.max(axis=1, keepdims=True)
    ordered = -np.sort(-z, axis=1)
    sums, k = ordered.cumsum(axis=1), np.arange(1, z.shape[1] + 1)
    count = (1 + k * ordered > sums).sum(axis=1, keepdims=True)
    tau = (np.take_along_axis(sums, count - 1, axis=1) - 1) / count
    return np.maximum(z - tau, 0)


def softmax_gradient(dy: Array, y: Array) -> Array:
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax_gradient(dy: Array, y: Array) -> Array:
    return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def sparsemax_gradient(dy: Array, y: Array) -> Array:
    kept = y > 0
    return kept * (dy - (kept * dy).sum(axis=1, keepdims=True) / kept.sum(axis=1, keepdims=True))


ROWWISE: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "softmax": (softmax, softmax_gradient),
    "log_softmax": (log_softmax, log_softmax_gradient),
    "sparsemax": (sparsemax, sparsemax_gradient),
}
WIDTHS = [1, 2, 15, 16, 17, 33, 300]


def by_row(name: str, x: Array, saved: Array | None = None) -> Array:
    def run(kernels: Kernels) -> list[Array]:
        out = place(np.zeros(x.shape))
        kernels.row_activation(name, place(x), None if saved is None else place(saved), out)
        return [out.copy()]

    return agreed(run)[0]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("spread", [0.3, 3.0, 60.0])
def test_rows(name: str, width: int, spread: float) -> None:
    rng = np.random.default_rng(width)
    z, dy = (rng.normal(size=(9, width)).astype(np.float32) for _ in range(2))
    z *= np.float32(spread)
    value, gradient = ROWWISE[name]
    y = by_row(name, z)
    # Sums of up to 300 terms in 16 lanes, and their differences from z of a few spreads.
    atol = (width / 16 + 8) * 2.0**-24 * (1 + 4 * spread * (name != "softmax"))
    np.testing.assert_allclose(y, value(z.astype(float)), rtol=1e-5, atol=atol)
    # The gradient is computed from the saved y, so that errors of y do not matter.
    want = gradient(dy.astype(float), y.astype(float))
    np.testing.assert_allclose(by_row(name, dy, y), want, rtol=1e-5, atol=2.0**-24 * (width + 8) * 4)


@pytest.mark.parametrize("name", ROWWISE)
def test_the_reference_gradients_of_rows_are_those_of_the_values(name: str) -> None:
    rng = np.random.default_rng(5)
    z, dy, step = rng.normal(size=(6, 7)), rng.normal(size=(6, 7)), 1e-6
    value, gradient = ROWWISE[name]
    found = gradient(dy, value(z))
    for j in range(z.shape[1]):
        shift = step * (np.arange(z.shape[1]) == j)
        central = (dy * (value(z + shift) - value(z - shift))).sum(axis=1) / (2 * step)
        np.testing.assert_allclose(found[:, j], central, atol=1e-7)


@pytest.mark.parametrize("name", ROWWISE)
def test_extreme_rows(name: str) -> None:
    z = np.array([[1e30, -1e30, 0.0], [5.0, 5.0, 5.0], [-1e30, -1e30, -1e30], [88.0, -88.0, 0.0]], np.float32)
    np.testing.assert_allclose(by_row(name, z), ROWWISE[name][0](z.astype(float)), rtol=1e-5, atol=1e-7)
    z[1, 2] = np.nan
    spoilt = np.isnan(by_row(name, z))
    np.testing.assert_array_equal(spoilt.any(axis=1), [False, True, False, False])
