"""Values, slopes and second derivatives of elementwise functions at the corners that such functions have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import engine

Function = Callable[[Any], Any]

PLACES = (-100.0, -30.0, -6.0, -3.0, -2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.5, 3.0, 6.0, 30.0, 100.0)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "sigmoid", "tanh", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "soft_shrink", "hard_shrink", "tanh_shrink", "mish", "log_sigmoid", "linear")  # fmt: skip
RELU_OPTIONS: tuple[dict[str, float], ...] = (
    {}, {"max_value": 6.0}, {"max_value": 3.0}, {"negative_slope": 0.1}, {"threshold": 1.0}, {"threshold": -1.0},
    {"max_value": 3.0, "threshold": -1.0}, {"max_value": 6.0, "threshold": 1.0, "negative_slope": 0.1},
    {"max_value": 3.0, "negative_slope": 0.5},
)  # fmt: skip


def derivatives(function: Function, places: Sequence[float] = PLACES) -> list[Any]:
    """Returns value, slope and second derivative of a function of arrays (n, 1) at each of n places, float64 (n,)."""
    x = engine.ops.convert_to_tensor(np.float32(places)[:, None])
    with engine.GradientTape() as outer:
        outer.watch(x)
        with engine.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        slope = inner.gradient(y, x)
        slope = engine.ops.zeros_like(x) if slope is None else slope
    second = outer.gradient(slope, x)
    second = engine.ops.zeros_like(x) if second is None else second
    return [np.asarray(each, float)[:, 0] for each in (y, slope, second)]


def assert_same(found: Sequence[Any], wanted: Sequence[Any], places: Sequence[float] = PLACES) -> None:
    """Checks two results of `derivatives`. Numbers that overflow in float32 are left out."""
    for what, one, other in zip(("value", "slope", "second derivative"), found, wanted, strict=True):
        small = np.abs(other) < 1e38
        np.testing.assert_allclose(
            one[small], other[small], rtol=2e-5, atol=2e-6, err_msg=f"{what} at {np.array(places)[small]}"
        )
