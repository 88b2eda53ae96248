"""Layers and models whose `call` returns or takes a named tuple, which keeps its class and its fields."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from common import assert_all_close, compiled

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


class Parts(NamedTuple):
    """Two outputs."""

    first: Any
    total: Any


class Split(layers.Layer):
    def call(self, inputs: Any) -> Parts:
        return Parts(inputs[:, :2] * 2.0, ops.sum(inputs, axis=1, keepdims=True))


class Scaled(layers.Layer):
    def call(self, inputs: Any, training: bool = False) -> Parts:
        return Parts(inputs * 2.0, inputs) if training else Parts(inputs, inputs)


class Added(layers.Layer):
    def call(self, inputs: Parts) -> Any:
        return inputs.first + inputs.total


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.split, self.added, self.last = Split(), Added(), layers.Dense(1)

    def call(self, inputs: Any) -> Parts:
        parts = self.split(inputs)
        return Parts(self.last(self.added(parts)), parts.total)


def assert_parts(found: Any) -> None:
    assert type(found) is Parts
    np.testing.assert_allclose(found.first, 2 * X[:, :2], rtol=1e-6)
    np.testing.assert_allclose(found.total, X.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_a_layer_returns_it_for_arrays_symbols_and_recorded_arrays() -> None:
    assert_parts(Split()(X))
    inputs = keras.Input((3,))
    symbols = Split()(inputs)
    assert type(symbols) is Parts
    assert (symbols.first.shape, symbols.total.shape) == ((None, 2), (None, 1))
    assert_parts(keras.Model(inputs, symbols).predict(X, verbose=0))
    with keras.GradientTape():
        assert_parts(Split()(ops.convert_to_tensor(X)))


def test_a_layer_takes_it() -> None:
    expected = 2 * X[:, :2] + X.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Added()(Split()(X)), expected, rtol=1e-5, atol=1e-6)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Added()(Split()(inputs)))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_training_decides_which_one_it_is() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Scaled()(inputs))
    np.testing.assert_array_equal(model(X).first, X)
    np.testing.assert_array_equal(model(X, training=True).first, 2 * X)


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_model_trains_and_returns_it(eagerly: bool) -> None:
    class Stepped(Subclassed):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                parts = self(x, training=True)
                loss = ops.mean(ops.square(parts.first - y) + ops.square(parts.total))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = compiled(Stepped(), "sgd", run_eagerly=eagerly)
    assert np.isfinite(model.fit(X, np.ones((4, 1)), verbose=0).history["loss"][0])
    found = model.predict(X, verbose=0)
    assert type(found) is Parts
    assert (found.first.shape, found.total.shape) == ((4, 1), (4, 1))
    plain = compiled(Subclassed(), "sgd", ["mse", "mse"])
    plain.fit(X, Parts(np.ones((4, 1)), np.zeros((4, 1))), verbose=0)
    assert type(plain(X)) is Parts


def test_functions_of_trees_record_it() -> None:
    def loss(parts: Parts) -> Any:
        chosen = ops.cond(
            ops.sum(parts.total) > 0, lambda: Parts(parts.first, 1.0), lambda: Parts(parts.first, 3.0)
        )
        return ops.sum(chosen.first * chosen.total)

    found = keras.grad(loss)(Parts(X, np.float32([2.0])))
    assert type(found) is Parts
    np.testing.assert_array_equal(found.first, np.ones_like(X))


class Several(layers.Layer):
    """Several outputs of arrays, in one of three forms."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form = form

    def call(self, inputs: Any, scale: float = 1.0) -> Any:
        return self.form(inputs * scale, inputs + 1)


@pytest.mark.parametrize(
    "form",
    [lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}, Parts],
    ids=["tuple", "list", "dict", "named tuple"],
)
def test_a_layer_without_weights_returns_several_arrays(form: Any) -> None:
    expected = form(X * 3, X + 1)
    found = Several(form)(X, scale=3.0)
    assert type(found) is type(expected)
    assert_all_close(keras.tree.flatten(found), keras.tree.flatten(expected), rtol=1e-6)
    assert len(Several(form)(X)) == 2
    assert len(Several(form)(X[:2])) == 2, "as many outputs as samples"
    assert len(Several(form)(np.arange(4).reshape(4, 1))) == 2
