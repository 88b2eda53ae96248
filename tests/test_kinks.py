"""Values and derivatives where functions have corners: those of Keras, in recorded functions and in layers alike."""

from __future__ import annotations

import numpy as np
import pytest
from corners import ACTIVATIONS, RELU_OPTIONS, Function, assert_same, derivatives

import engine as keras
from engine import activations, layers, ops

SELU = 1.7580993408473766  # scale * alpha

# A function, a place, and there the value, the slope and the second derivative.
CASES: list[tuple[str, Function, float, float, float, float]] = [
    ("relu", ops.relu, 0, 0, 0, 0),
    ("relu6", ops.relu6, 0, 0, 0, 0),
    ("relu6", ops.relu6, 6, 6, 0, 0),
    ("elu", ops.elu, 0, 0, 1, 1),
    ("elu", lambda x: ops.elu(x, 2.0), 0, 0, 2, 2),
    ("elu", ops.elu, 100, 100, 1, 0),
    ("selu", ops.selu, 0, 0, SELU, SELU),
    ("celu", ops.celu, 0, 0, 1, 0.25),
    ("leaky_relu", ops.leaky_relu, 0, 0, 1, 0),
    ("hard_sigmoid", ops.hard_sigmoid, -3, 0, 0, 0),
    ("hard_sigmoid", ops.hard_sigmoid, 3, 1, 0, 0),
    ("hard_silu", ops.hard_silu, -3, 0, 0, 0),
    ("hard_silu", ops.hard_silu, 3, 3, 1, 0),
    ("hard_tanh", ops.hard_tanh, -1, -1, 1, 0),
    ("hard_tanh", ops.hard_tanh, 1, 1, 1, 0),
    ("soft_shrink", ops.soft_shrink, -0.5, 0, 0, 0),
    ("soft_shrink", ops.soft_shrink, 0.5, 0, 0, 0),
    ("hard_shrink", ops.hard_shrink, 0.5, 0, 0, 0),
    ("sparse_plus", ops.sparse_plus, -1, 0, 0, 0),
    ("sparse_plus", ops.sparse_plus, 1, 1, 1, 0),
    ("sparse_sigmoid", ops.sparse_sigmoid, 1, 1, 0.25, 0),
    ("softsign", ops.softsign, 0, 0, 1, -2),
    ("squareplus", ops.squareplus, 0, 1, 0.5, 0.25),
    ("relu with a maximum", lambda x: activations.relu(x, max_value=6.0), 6, 6, 0, 0),
    ("relu with a maximum", lambda x: activations.relu(x, max_value=3.0), 3, 3, 0.5, 0),
    ("relu with a slope", lambda x: activations.relu(x, negative_slope=0.1), 0, 0, 1, 0),
    ("relu with a threshold", lambda x: activations.relu(x, negative_slope=0.1, threshold=1.0), 1, 0, 0, 0),
    ("relu below a negative threshold", lambda x: activations.relu(x, max_value=3.0, threshold=-1.0), -0.5, 0, 0, 0),
    ("absolute", ops.absolute, 0, 0, 1, 0),
    ("sinh", ops.sinh, 0, 0, 1, 0),
    ("cosh", ops.cosh, 0, 1, 0, 1),
    ("arcsinh", ops.arcsinh, 0, 0, 1, 0),
    ("sinc", ops.sinc, 0, 1, 0, -np.pi**2 / 3),
    ("sinc", ops.sinc, 1e30, 0, 0, 0),
    ("maximum", lambda x: ops.maximum(x, 0.0), 0, 0, 0.5, 0),
    ("minimum", lambda x: ops.minimum(x, 1.0), 1, 1, 0.5, 0),
    ("fmax", lambda x: ops.fmax(x, 0.0), 0, 0, 0, 0),
    ("fmin", lambda x: ops.fmin(x, 1.0), 1, 1, 0, 0),
    ("clip", lambda x: ops.clip(x, -1.0, 1.0), 1, 1, 0.5, 0),
    ("logaddexp", lambda x: ops.logaddexp(x, 0.0), 0, np.log(2), 0.5, 0.25),
    ("logaddexp2", lambda x: ops.logaddexp2(x, 0.0), 0, 1, 0.5, np.log(2) / 4),
    ("hypot", lambda x: ops.hypot(x, 1.0), 0, 1, 0, 1),
    ("power", lambda x: ops.power(x, 0), 0, 1, 0, 0),
    ("power", lambda x: ops.power(x, 3), 0, 0, 0, 0),
    ("fmod", lambda x: ops.fmod(x, 1.5), 0, 0, 1, 0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} at {case[2]}")
def test_derivatives_at_corners(case: tuple[str, Function, float, float, float, float]) -> None:
    _, function, place, *wanted = case
    found = derivatives(function, [place, place])
    np.testing.assert_allclose([each[0] for each in found], wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_layers_and_recorded_functions_have_the_same_derivatives(name: str) -> None:
    """An activation of a layer is another formula than the recorded one, and gives the same."""
    assert_same(derivatives(layers.Activation(name)), derivatives(getattr(activations, name)))


@pytest.mark.parametrize("options", [each for each in RELU_OPTIONS if each.get("threshold", 0.0) >= 0.0])
def test_relu_layers_and_recorded_functions_have_the_same_derivatives(options: dict[str, float]) -> None:
    assert_same(derivatives(layers.ReLU(**options)), derivatives(lambda x: activations.relu(x, **options)))


def test_rows_of_zeros_train_as_in_a_dense_layer() -> None:
    """A Dense layer of zeros in front: its outputs are the corner of relu."""
    x, y = np.zeros((4, 3), np.float32), np.ones((4, 2), np.float32)
    weights = []
    for activation in ("relu", ops.relu):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation, bias_initializer="zeros")])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(x, y)
        weights.append(model.get_weights()[1])
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], np.zeros(2))
