"""Values, slopes and second derivatives of elementwise functions at corners are those of Keras with JAX, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest

import engine

PLACES = np.float32([-100, -30, -6, -3, -2.5, -1, -0.5, -0.0, 0, 0.5, 1, 2.5, 3, 6, 30, 100])
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
OPTIONS = [
    {}, {"max_value": 6.0}, {"max_value": 3.0}, {"negative_slope": 0.1}, {"threshold": 1.0}, {"threshold": -1.0},
    {"max_value": 3.0, "threshold": -1.0}, {"max_value": 6.0, "threshold": 1.0, "negative_slope": 0.1},
    {"max_value": 3.0, "negative_slope": 0.5},
]  # fmt: skip


def in_keras(function: Callable[[Any], Any]) -> list[Any]:
    slope = jax.grad(function)
    with jax.enable_x64(True):
        places = jax.numpy.asarray(PLACES, jax.numpy.float64)
        return [np.asarray(jax.vmap(each)(places)) for each in (function, slope, jax.grad(slope))]


def in_engine(function: Callable[[Any], Any]) -> list[Any]:
    x = engine.ops.convert_to_tensor(PLACES)
    with engine.GradientTape() as outer:
        outer.watch(x)
        with engine.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        slope = inner.gradient(y, x)
        slope = engine.ops.zeros(len(PLACES)) if slope is None else slope
    second = outer.gradient(slope, x)
    return [np.zeros(len(PLACES)) if each is None else np.asarray(each, float) for each in (y, slope, second)]


def assert_same(found: list[Any], wanted: list[Any]) -> None:
    for what, one, other in zip(("value", "slope", "second derivative"), found, wanted, strict=True):
        for place, a, b in zip(PLACES, one, other, strict=True):
            if abs(b) < 1e38:  # others overflow in float32
                assert a == pytest.approx(b, rel=2e-5, abs=2e-6), f"{what} at {place}"


@pytest.mark.parametrize("name", CASES)
def test_functions(name: str) -> None:
    function = CASES[name]
    assert_same(in_engine(lambda x: function(engine.ops, x)), in_keras(lambda x: function(keras.ops, x)))


@pytest.mark.parametrize("options", OPTIONS)
def test_relu_with_arguments(options: dict[str, float]) -> None:
    wanted = in_keras(lambda x: keras.activations.relu(x, **options))
    assert_same(in_engine(lambda x: engine.activations.relu(x, **options)), wanted)
    if options.get("threshold", 0.0) >= 0:  # others are refused by layers
        layer = engine.layers.ReLU(**options)
        found = in_engine(lambda x: engine.ops.reshape(layer(engine.ops.reshape(x, (-1, 1))), (-1,)))
        assert_same(found, wanted)


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "softplus",
        "softsign",
        "sparse_plus",
        "sparse_sigmoid",
        "squareplus",
        "soft_shrink",
        "hard_shrink",
        "tanh_shrink",
        "mish",
        "log_sigmoid",
    ],
)
def test_layers(name: str) -> None:
    """What `Dense(activation=...)` computes."""
    layer = engine.layers.Activation(name)
    found = in_engine(lambda x: engine.ops.reshape(layer(engine.ops.reshape(x, (-1, 1))), (-1,)))
    assert_same(found, in_keras(getattr(keras.activations, name)))
