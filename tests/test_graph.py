"""Graphs of layers in the core: values that are read more than once, and outputs in the middle, against NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import _core

RNG = np.random.default_rng(3)
X = RNG.standard_normal((5, 4)).astype(np.float32)
DENSE = {"kind": "dense", "units": 4, "activation": "linear", "use_bias": False}


def build(
    layers: Sequence[Mapping[str, Any]], outputs: Sequence[tuple[int, int]] = ()
) -> tuple[Any, list[Any]]:
    """A program of these layers on samples of 4 numbers, and its random weights."""
    program = _core.Program(4, layers, outputs=outputs)
    weights = [RNG.standard_normal(w.shape).astype(np.float32) for w in program.variables]
    program.write_variables(weights)
    return program, weights


def train_once(program: Any, y: Any, loss: Any = None, threads: int = 1) -> None:
    """One step of SGD with a learning rate of 1."""
    _core.set_threads(threads)
    try:
        program.compile(loss or {"kind": "mean_squared_error"}, {"kind": "sgd", "momentum": 0.0}, [])
        program.begin("train", _core.Dataset(X, y), len(X)).advance(0, 1, np.array([1.0]))
    finally:
        _core.set_threads(0)


@pytest.mark.parametrize("terms", [[0, 1, 0], [0, 0], [1, 0, 0, 1], [0, 0, 0]])
def test_a_sum_may_name_a_term_several_times(terms: list[int]) -> None:
    program, w = build([DENSE | {"inputs": [-1]}, DENSE | {"inputs": [-1]}, {"kind": "add", "inputs": terms}])
    expected = np.sum([X @ w[term] for term in terms], axis=0)
    assert program.predict(X) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_a_value_with_several_readers_add_up(threads: int) -> None:
    layers = [
        DENSE | {"inputs": [-1]},
        {"kind": "add", "inputs": [0, -1]},
        {"kind": "add", "inputs": [1, 0]},
        {"kind": "add", "inputs": [2, 0]},
    ]
    program, (w,) = build(layers)
    y = np.zeros((5, 4), np.float32)
    train_once(program, y, threads=threads)
    out = 3 * X @ w + X
    assert w - program.variables[0] == pytest.approx(3 * X.T @ (2 * out / out.size), rel=1e-4, abs=1e-5)


def test_an_output_in_the_middle_keeps_its_value() -> None:
    relu = {"kind": "activation", "activation": "relu", "inputs": [0]}
    program, (w,) = build([DENSE | {"inputs": [-1]}, relu], [(0, 1), (1, 1)])
    hidden = X @ w
    assert program.predict(X) == pytest.approx(np.hstack([hidden, np.maximum(hidden, 0)]), rel=1e-5, abs=1e-5)


def test_an_input_may_be_an_output() -> None:
    program, _ = build([{"kind": "rescaling", "scale": 2.0, "inputs": [-1]}], [(-1, 1), (0, 1)])
    assert np.array_equal(program.predict(X), np.hstack([X, 2 * X]))


def test_outputs_in_the_middle_train() -> None:
    relu = {"kind": "activation", "activation": "relu", "inputs": [0]}
    program, (w,) = build([DENSE | {"inputs": [-1]}, relu], [(0, 1), (1, 1)])
    y = np.zeros((5, 4), np.float32)
    train_once(program, (y, y), [{"kind": "mean_squared_error"}] * 2)
    hidden = X @ w
    expected = X.T @ (2 * (hidden + np.maximum(hidden, 0)) / hidden.size)
    assert w - program.variables[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_penalty_on_a_branch_without_a_loss_has_a_gradient() -> None:
    class Branch(keras.layers.Layer):
        def build(self, input_shape: tuple[int | None, ...]) -> None:
            self.side = keras.layers.Dense(4, use_bias=False, activity_regularizer=keras.regularizers.L2(0.5))

        def call(self, inputs: Any) -> Any:
            self.side(inputs)
            return inputs

    model = keras.Sequential([keras.Input((4,)), Branch(), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    w = model.layers[0].side.kernel.numpy()
    model.train_on_batch(X, np.zeros((5, 2), np.float32))
    expected = X.T @ (X @ w) / len(X)
    assert w - model.layers[0].side.kernel.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_masked_loss_divides_no_penalties() -> None:
    layers = [{"kind": "mask", "value": 0.0, "groups": 2}, DENSE | {"units": 1, "groups": 2}]
    program = _core.Program(4, layers, 2)
    loss = {"kind": "mean_squared_error", "masked": True, "divides_penalties": True}
    with pytest.raises(ValueError, match="can't divide penalties"):
        program.compile(loss, {"kind": "sgd", "momentum": 0.0}, [])
