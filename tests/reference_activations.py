"""Every elementwise activation in float64, with its derivative and the error that float32 may have.

`value` and `slope` are functions of the input z and the constants. The error is relative to `scale`, the magnitude of
the terms of the formula, or to the result if there is no `scale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Array]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
GELU_CUBIC, GELU_RATE = 0.044715, math.sqrt(2 / math.pi)


def sigmoid(z: Array) -> Array:
    """Returns 1 / (1 + exp(-z)), computed from exp(-|z|), which cannot overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def exponential(z: Array) -> Array:
    return np.exp(np.minimum(z, 700.0))  # exp of a larger number overflows in float64


def softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def normal_cdf(z: Array) -> Array:
    return np.vectorize(math.erfc, otypes=[float])(-np.asarray(z, float) / math.sqrt(2)) / 2


def normal_density(z: Array) -> Array:
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def gelu_tanh_gate(z: Array) -> Array:
    return sigmoid(2 * GELU_RATE * (z + GELU_CUBIC * z**3))


def gelu_tanh_slope(z: Array) -> Array:
    s = gelu_tanh_gate(z)
    return s + z * s * (1 - s) * 2 * GELU_RATE * (1 + 3 * GELU_CUBIC * z * z)


def silu_slope(z: Array) -> Array:
    s = sigmoid(z)
    return s * (1 + z * (1 - s))


def mish_slope(z: Array) -> Array:
    t = np.tanh(softplus(z))
    return t + z * (1 - t * t) * sigmoid(z)


def tanh_shrink(z: Array) -> Array:
    """Returns z - tanh(z); near zero by its series, since the difference cancels in float64 too."""
    series = z**3 / 3 - 2 * z**5 / 15 + 17 * z**7 / 315
    return np.where(np.abs(z) < 0.02, series, z - np.tanh(z))


def elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_slope(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0)))


def squareplus(z: Array, b: float) -> Array:
    s = np.sqrt(z * z + b)
    return np.where(z < 0, b / (s - np.minimum(z, 0)), z + s) / 2


def squareplus_slope(z: Array, b: float) -> Array:
    return squareplus(z, b) / np.sqrt(z * z + b)


def inside(z: Array, low: float, high: float) -> Array:
    return ((z > low) & (z < high)).astype(float)


def hard_sigmoid(z: Array) -> Array:
    return np.clip(z + 3, 0, 6) / 6


def hard_silu_slope(z: Array) -> Array:
    return hard_sigmoid(z) + z * inside(z, -3, 3) / 6


def sparse_plus(z: Array) -> Array:
    return np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4))


def general_relu(z: Array, slope: float, high: float, threshold: float) -> Array:
    low = 0 if high < math.inf or threshold == 0 else -math.inf
    return np.clip(np.where(z > threshold, z, 0), low, high) - slope * np.maximum(threshold - z, 0)


def general_relu_slope(z: Array, slope: float, high: float, threshold: float) -> Array:
    low = 0 if high < math.inf or threshold == 0 else -math.inf
    at_high = 1 if high == math.inf else 0 if (high, threshold) == (6, 0) else 0.5  # Keras takes relu6 there
    above = (z > threshold) * (inside(z, low, high) + (z == low) / 2 + (z == high) * at_high)
    return above + slope * (z < threshold)


def soft_shrink(z: Array, threshold: float) -> Array:
    return np.sign(z) * np.maximum(np.abs(z) - threshold, 0)


def one(z: Array, *_: float) -> Array:
    return np.ones_like(z)


class Formula(NamedTuple):
    """An activation. `ulps` and `slope_ulps` are bounds of the errors, in ulps of the scale."""

    value: Function
    slope: Function
    ulps: float
    slope_ulps: float
    constants: tuple[tuple[float, ...], ...] = ((),)
    scale: Function | None = None
    slope_scale: Function | None = None


def steepness(z: Array, *_: float) -> Array:
    """Returns the magnitude of the terms of a derivative s + z s', which may cancel."""
    return sigmoid(1.8 * z) * (1 + np.abs(z))


FORMULAS = {
    "linear": Formula(lambda z: z, one, 0, 0),
    "relu": Formula(lambda z: np.where(z < 0, 0, z), lambda z: (z > 0).astype(float), 0, 0),
    "sigmoid": Formula(sigmoid, lambda z: sigmoid(z) * sigmoid(-z), 3, 4, slope_scale=sigmoid),
    "tanh": Formula(np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1.5, 3, slope_scale=one),
    "exponential": Formula(exponential, exponential, 1.5, 1.5),
    "silu": Formula(lambda z: z * sigmoid(z), silu_slope, 4, 6, slope_scale=steepness),
    "gelu": Formula(
        lambda z: z * normal_cdf(z),
        lambda z: normal_cdf(z) + z * normal_density(z),
        6,
        8,
        slope_scale=lambda z: normal_cdf(z) + np.abs(z) * normal_density(z),
    ),
    "gelu_tanh": Formula(
        lambda z: z * gelu_tanh_gate(z),
        gelu_tanh_slope,
        4,
        8,
        scale=lambda z: np.abs(z) * gelu_tanh_gate(z) * (2 + np.abs(z) ** 3),
        slope_scale=lambda z: gelu_tanh_gate(z) * (2 + z**4),
    ),
    "mish": Formula(lambda z: z * np.tanh(softplus(z)), mish_slope, 6, 8, slope_scale=steepness),
    "softplus": Formula(softplus, sigmoid, 4, 3),
    "log_sigmoid": Formula(lambda z: -softplus(-z), lambda z: sigmoid(-z), 4, 3),
    "softsign": Formula(lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2, 2, 4),
    "tanh_shrink": Formula(tanh_shrink, lambda z: np.tanh(z) ** 2, 12, 4),
    "elu": Formula(elu, elu_slope, 3, 3, ((1.0,), (0.3,), (2.5,), (-0.5,), (0.0,))),
    "selu": Formula(
        lambda z: SELU_SCALE * elu(z, SELU_ALPHA), lambda z: SELU_SCALE * elu_slope(z, SELU_ALPHA), 4, 4
    ),
    "celu": Formula(
        lambda z, alpha: np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0) / alpha),
        lambda z, alpha: elu_slope(z / alpha),
        4,
        2,
        ((1.0,), (0.3,), (2.5,)),
        slope_scale=lambda z, alpha: elu_slope(z / alpha) * (1 + np.abs(z) / alpha),
    ),
    "squareplus": Formula(squareplus, squareplus_slope, 3, 5, ((4.0,), (0.3,), (1e-3,))),
    "relu6": Formula(lambda z: np.clip(z, 0, 6), lambda z: inside(z, 0, 6), 0, 0),
    "leaky_relu": Formula(
        lambda z, s: np.where(z < 0, s * z, z), lambda z, s: np.where(z < 0, s, 1), 1, 1, ((0.2,), (0.3,), (0.0,))
    ),
    "general_relu": Formula(
        general_relu,
        general_relu_slope,
        2,
        1,
        (
            (0.1, math.inf, 0.0),
            (0.0, 5.0, 0.0),
            (0.3, 6.0, 0.0),
            (0.25, math.inf, 1.5),
            (0.2, 4.0, 0.5),
            (0.0, 3.0, -1.0),
            (0.0, math.inf, -1.0),
        ),
        scale=lambda z, *_: 1 + np.abs(z),
    ),
    "hard_tanh": Formula(lambda z: np.clip(z, -1, 1), lambda z: (np.abs(z) <= 1).astype(float), 0, 0),
    "hard_sigmoid": Formula(hard_sigmoid, lambda z: inside(z, -3, 3) / 6, 2, 1, scale=one),
    "hard_silu": Formula(
        lambda z: z * hard_sigmoid(z), hard_silu_slope, 3, 3, scale=np.abs, slope_scale=lambda z: 1 + abs(z)
    ),
    "sparse_plus": Formula(sparse_plus, lambda z: np.clip(z + 1, 0, 2) / 2, 2, 1, scale=one, slope_scale=one),
    "sparse_sigmoid": Formula(
        lambda z: np.clip(z + 1, 0, 2) / 2, lambda z: inside(z, -1, 1) / 2 + (np.abs(z) == 1) / 4, 1, 0, scale=one
    ),
    "soft_shrink": Formula(
        soft_shrink, lambda z, t: (np.abs(z) > t).astype(float), 1, 0, ((0.5,), (0.0,), (1.25,)),
        scale=lambda z, t: np.abs(z) + t,
    ),
    "hard_shrink": Formula(
        lambda z, t: np.where(np.abs(z) > t, z, 0), lambda z, t: (np.abs(z) > t).astype(float), 0, 0,
        ((0.5,), (0.0,), (1.25,)),
    ),
    "threshold": Formula(
        lambda z, t, v: np.where(z > t, z, v), lambda z, t, v: (z > t).astype(float), 0, 0, ((0.5, -2.0), (-1.0, 3.0))
    ),
}  # fmt: skip
# Activations whose derivative the engine computes from the output.
FROM_OUTPUT = ("linear", "relu", "sigmoid", "tanh", "exponential")
CASES = [(name, constants) for name, formula in FORMULAS.items() for constants in formula.constants]
