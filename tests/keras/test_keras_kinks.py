"""Values, slopes and second derivatives of elementwise functions at corners are those of Keras with JAX, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest
from corners import PLACES, RELU_OPTIONS, assert_same, derivatives

import engine

NAMES = ["exp", "exp2", "expm1", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh", "erf", "erfc", "deg2rad", "rad2deg", "fabs", "sinc", "negative", "absolute", "square", "sign", "floor", "ceil", "trunc", "round", "relu", "relu6", "selu", "sigmoid", "hard_sigmoid", "sparse_sigmoid", "log_sigmoid", "silu", "hard_silu", "softplus", "sparse_plus", "softsign", "hard_tanh", "tanh_shrink", "leaky_relu", "elu", "celu", "gelu", "squareplus", "soft_shrink", "hard_shrink", "mish"]  # fmt: skip
CASES: dict[str, Callable[[Any, Any], Any]] = {
    **{name: lambda ops, x, name=name: getattr(ops, name)(x) for name in NAMES if hasattr(keras.ops, name)},
    "exact gelu": lambda ops, x: ops.gelu(x, approximate=False),
    "threshold": lambda ops, x: ops.threshold(x, 0.5, 2.0),
    "clip": lambda ops, x: ops.clip(x, -1.0, 1.0),
    "where": lambda ops, x: ops.where(x > 0, x, 0.0),
    "heaviside": lambda ops, x: ops.heaviside(x, 0.5),
    "mod": lambda ops, x: ops.mod(x, -2.0),
    "fmod": lambda ops, x: ops.fmod(x, 1.5),
    "floor_divide": lambda ops, x: ops.floor_divide(x, 2.0),
    "hypot": lambda ops, x: ops.hypot(x, 1.0),
    "logaddexp": lambda ops, x: ops.logaddexp(x, 0.0),
    "logaddexp of equal numbers": lambda ops, x: ops.logaddexp(x, x),
    "logaddexp2": lambda ops, x: ops.logaddexp2(0.0, x),
    "arctan2": lambda ops, x: ops.arctan2(x, 1.0),
    **{
        f"{name} {number}": lambda ops, x, name=name, number=number: getattr(ops, name)(x, number)
        for name in ("maximum", "minimum", "fmax", "fmin")
        for number in (-1.0, 0.0, 3.0)
    },
    **{
        f"power {number}": lambda ops, x, number=number: ops.power(x, number) for number in (0, 1, 2, 3, 4, 5)
    },
}


def in_keras(function: Callable[[Any], Any]) -> list[Any]:
    slope = jax.grad(function)
    with jax.enable_x64(True):
        places = jax.numpy.asarray(PLACES, jax.numpy.float64)
        return [np.asarray(jax.vmap(each)(places)) for each in (function, slope, jax.grad(slope))]


@pytest.mark.parametrize("name", CASES)
def test_functions(name: str) -> None:
    function = CASES[name]
    assert_same(derivatives(lambda x: function(engine.ops, x)), in_keras(lambda x: function(keras.ops, x)))


@pytest.mark.parametrize("options", RELU_OPTIONS)
def test_relu_with_arguments(options: dict[str, float]) -> None:
    wanted = in_keras(lambda x: keras.activations.relu(x, **options))
    assert_same(derivatives(lambda x: engine.activations.relu(x, **options)), wanted)
