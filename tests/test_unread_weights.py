"""Trainable weights on which the loss doesn't depend: their gradient is zero, so they decay, and penalties and steps reach them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops

X, Y = np.ones((6, 3), "float32"), np.zeros((6, 2), "float32")


class WithSpare(layers.Layer):
    """A layer with a weight that its outputs don't depend on."""

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones")
        self.spare = self.add_weight(
            shape=(2, 3), initializer=keras.initializers.RandomNormal(seed=1), regularizer=keras.regularizers.L2(0.25)
        )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain


def with_spare(optimizer: Any, **options: Any) -> tuple[Any, Any]:
    """Returns a compiled model, and the layer with a spare weight."""
    keras.utils.set_random_seed(2)
    inputs, layer = keras.Input((3,)), WithSpare()
    stopped = layers.Lambda(ops.stop_gradient)(layers.Dense(3, name="stopped")(layer(inputs)))
    model = compiled(keras.Model(inputs, layers.Dense(2)(stopped)), optimizer, "mse", **options)
    return model, layer


def test_weights_decay_and_are_penalised_by_formulas() -> None:
    model, layer = with_spare(keras.optimizers.SGD(0.1, weight_decay=0.02))
    spare, kernel = np.array(layer.spare, "float64"), np.array(model.get_layer("stopped").kernel, "float64")
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    for _ in range(6):
        penalty = 2 * 0.25 * spare
        spare -= spare * 0.02 * 0.1
        spare -= 0.1 * penalty
        kernel -= kernel * 0.02 * 0.1
    np.testing.assert_allclose(layer.spare, spare, rtol=2e-6)
    np.testing.assert_allclose(model.get_layer("stopped").kernel, kernel, rtol=2e-6)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["AdamW", "Lion", "Lamb", "Ftrl", "Adafactor", "Muon", "Nadam"])
def test_fit_is_a_loop_with_a_tape(name: str, threads: int) -> None:
    """The tape gives the gradient zeros."""
    options = {"weight_decay": 0.01, "global_clipnorm": 0.5}
    keras.config.set_threads(threads)
    try:
        fitted, _ = with_spare(getattr(keras.optimizers, name)(0.05, **options))
        fitted.fit(X, Y, batch_size=6, epochs=3, verbose=0)
    finally:
        keras.config.set_threads(None)
    model, _ = with_spare(getattr(keras.optimizers, name)(0.05, **options))
    for _ in range(3):
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(X, training=True) - Y)) + sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        assert not np.any(gradients[2])
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    assert_all_close(fitted.get_weights(), model.get_weights(), rtol=1e-5, atol=1e-7)


def test_frozen_weights_and_moving_averages_are_left_alone() -> None:
    model, layer = with_spare(keras.optimizers.AdamW(0.1, weight_decay=0.1))
    layer.trainable = model.get_layer("stopped").trainable = False
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse")
    before = [np.array(w) for w in (*layer.weights, *model.get_layer("stopped").weights)]
    model.fit(X, Y, verbose=0)
    assert_all_equal(before, (*layer.weights, *model.get_layer("stopped").weights))
