"""Compares trainings of weights on which the loss doesn't depend with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled

import engine

X = np.random.default_rng(4).normal(size=(6, 3)).astype("float32")
Y = np.random.default_rng(5).normal(size=(6, 2)).astype("float32")


def trained(api: Any, name: str) -> list[Any]:
    class WithSpare(api.layers.Layer):  # type: ignore[misc, name-defined] # either library's
        def build(self, input_shape: Any) -> None:
            self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones")
            self.spare = self.add_weight(shape=(3, 2), initializer="ones", regularizer="l2")

        def call(self, inputs: Any) -> Any:
            return inputs * self.gain

    inputs = api.Input((3,))
    hidden = api.layers.Dense(3, kernel_initializer="ones")(WithSpare()(inputs))
    output = api.layers.Dense(2, kernel_initializer="ones")(
        api.layers.Lambda(api.ops.stop_gradient)(hidden) if name != "SGD" else hidden
    )
    model = compiled(api.Model(inputs, output), getattr(api.optimizers, name)(0.05, weight_decay=0.1), "mse")
    model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return [np.asarray(w) for w in model.get_weights()]


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop", "Lion", "Ftrl", "Adagrad"])
def test_every_weight_is_that_of_keras(name: str) -> None:
    assert_all_close(trained(engine, name), trained(keras, name), rtol=2e-5, atol=1e-6)
