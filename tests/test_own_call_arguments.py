"""Tests of models whose `call` has further parameters than `training`, such as `model(x, is_training=True)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers

RNG = np.random.default_rng(4)


class Switched(keras.Model):
    """A model whose `call` has a switch of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.last = layers.Dense(3)

    def call(self, x: Any, is_training: bool = False, scale: float = 1.0) -> Any:
        logits = self.last(self.hidden(x)) * scale
        return logits if is_training else keras.ops.softmax(logits)


def test_a_call_with_arguments_of_its_own() -> None:
    model, x = Switched(), RNG.normal(size=(4, 5)).astype(np.float32)
    logits = np.asarray(model(x, is_training=True))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model(x)), probabilities, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(model(x, True)), logits)
    np.testing.assert_array_equal(np.asarray(model(x, True, 2.0)), 2 * logits)
    np.testing.assert_array_equal(np.asarray(model(x, True, scale=2.0)), 2 * logits)
    np.testing.assert_array_equal(model.predict(x, verbose=0), np.asarray(model(x)))


def test_gradients_of_a_call_with_arguments_of_its_own() -> None:
    model, x = Switched(), RNG.normal(size=(4, 5)).astype(np.float32)
    with keras.GradientTape() as tape:
        loss = keras.ops.sum(model(x, is_training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    logits = np.asarray(model(x, is_training=True), np.float64)
    hidden = np.maximum(x.astype(np.float64) @ model.hidden.get_weights()[0], 0)
    np.testing.assert_allclose(np.asarray(gradients[2]), hidden.T @ (2 * logits), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(gradients[3]), (2 * logits).sum(axis=0), rtol=1e-4, atol=1e-5)


def test_a_model_within_another_gets_its_own_arguments() -> None:
    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Switched()

        def call(self, x: Any, training: bool = False) -> Any:
            return self.inner(x, is_training=training)

    model, x = Outer(), RNG.normal(size=(40, 5)).astype(np.float32)
    model.compile("sgd", "mse")
    loss = model.fit(x, np.zeros((40, 3)), epochs=5, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    assert len(model.trainable_variables) == 4
    np.testing.assert_allclose(model.predict(x, verbose=0).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("argument", [{"foo": 1}, {"scales": 2.0}])
def test_a_call_with_unknown_arguments(argument: dict[str, Any]) -> None:
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    with pytest.raises(TypeError, match=r"of model 'switched.*takes .x.*unexpected keyword argument"):
        Switched()(x, **argument)
    plain = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        plain(x, **argument)


def test_symbols_go_through_the_layers_of_a_call_with_arguments() -> None:
    inner, inputs = Switched(), keras.Input((5,))
    model = keras.Model(inputs, inner(inputs, is_training=True))
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x, verbose=0), np.asarray(inner(x, is_training=True)))
    assert len(model.trainable_variables) == 4


def test_a_mask_that_is_given_reaches_the_call() -> None:
    class Masked(keras.Model):
        def call(self, x: Any, mask: Any = None) -> Any:
            return x if mask is None else x * keras.ops.cast(mask, "float32")

    x, mask = np.ones((2, 3), np.float32), np.array([[True, False, True], [False, True, True]])
    np.testing.assert_array_equal(np.asarray(Masked()(x, mask=mask)), mask)
    np.testing.assert_array_equal(np.asarray(Masked()(x, mask)), mask)
    np.testing.assert_array_equal(np.asarray(Masked()(x)), x)
    plain = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(TypeError, match="takes `training` beside its inputs, got 'mask': leave it out"):
        plain(x, mask=mask)
