"""Tests the bits of Adam's step, also for weights whose gradient has always been zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_for_tests import Kernels
from numerics import agreed, chained_product, fma32, place, same_bits

Array = np.ndarray[Any, np.dtype[np.float32]]

BETA_1, BETA_2 = 0.9, 0.999


def snapped(slot: Array) -> Array:
    return np.where(np.abs(slot) < np.float32(2.0**-100), np.float32(0), slot)


def step_as_written(
    w: Array, m: Array, v: Array, g: Array, *, lr: float, step: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """Computes a step in float32. The slots are m / (1 - beta_1) and v / (1 - beta_2)."""
    root = np.sqrt(1 - BETA_2)
    rate = np.float32(lr * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step) * (1 - BETA_1) / root)
    b1, b2, eps = (np.float32(number) for number in (BETA_1, BETA_2, epsilon / root))
    m = snapped(fma32(b1, m, g))
    v = snapped(fma32(g, g, b2 * v))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return w - rate * m / (np.sqrt(v) + eps), m, v


@pytest.mark.parametrize("columns", [1, 5, 17, 64, 130])
@pytest.mark.parametrize("batch", [1, 9, 300])
@pytest.mark.parametrize(
    ("lr", "epsilon"),
    [(0.01, 1e-7), (0.0, 1e-7), (-0.01, 1e-7), (np.inf, 1e-7), (np.nan, 1e-7), (1e38, 1e-7), (0.01, 0.0)],
)
def test_steps_are_those_of_the_formula(columns: int, batch: int, lr: float, epsilon: float) -> None:
    """This also holds for inputs that are zero in all samples, with any state, learning rate and epsilon."""
    inputs, step = 37, 3
    rng = np.random.default_rng(columns)
    x, dz, w, m, v = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((batch, inputs), (batch, columns), *3 * ((inputs, columns),))
    )
    v = np.abs(v)
    x[:, 4:30] = 0
    m[8:30], v[8:30] = 0, 0  # m and v are zero, except for the numbers below
    w[10:14] = -0.0
    m[12], m[14], v[16] = -0.0, 2.0**-110, 2.0**-110
    m[18, -1], v[20, -1], m[22, 0] = 1, 1, 2.0**-99
    x[-1, 24], x[-1, 26], x[-1, 28] = -0.0, 1e-30, np.nan
    options = {"kind": "adam", "beta_1": BETA_1, "beta_2": BETA_2, "epsilon": epsilon}

    def run(kernels: Kernels) -> list[Array]:
        kernel, slots = place(w), [place(m), place(v)]
        kernels.dense_backward_weights(options, x, place(dz), kernel, slots, None, [], lr, step, 0.0)
        return [array.copy() for array in (kernel, *slots)]

    want = step_as_written(w, m, v, chained_product(x.T, dz), lr=lr, step=step, epsilon=epsilon)
    got = agreed(run)
    assert all(same_bits(one, other) for one, other in zip(got, want, strict=True))
