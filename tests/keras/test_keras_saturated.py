"""Compares crossentropies of probabilities that round to 0 or 1 with Keras.

In training, a sigmoid or a softmax that ends a network and its crossentropy are computed together from the logits. So does
Keras on TensorFlow. On JAX it clips the probabilities, so that such a loss is at most 16.1 and has no gradient. All other
uses of crossentropies clip here too.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

X = np.array([[1.0], [-1.0], [2.0]], np.float32)
CASES = {
    "binary": ("sigmoid", [[50.0]], [[0.0], [1.0], [1.0]], "BinaryCrossentropy"),
    "categorical": ("softmax", [[50.0, -50.0]], np.eye(2)[[1, 0, 0]], "CategoricalCrossentropy"),
    "sparse": ("softmax", [[50.0, -50.0]], [1, 0, 0], "SparseCategoricalCrossentropy"),
}
KINDS = pytest.mark.parametrize(("activation", "kernel", "y", "loss"), CASES.values(), ids=CASES)


def model_with(api: Any, activation: str | None, kernel: Any, loss: Any, metrics: Any = ()) -> Any:
    model = api.Sequential([api.Input((1,)), api.layers.Dense(len(kernel[0]), activation, use_bias=False)])
    model.set_weights([np.array(kernel, np.float32)])
    model.compile(api.optimizers.SGD(0.1), loss, metrics=list(metrics))
    return model


@KINDS
def test_training_is_that_of_logits(activation: str, kernel: Any, y: Any, loss: str) -> None:
    y = np.asarray(y, np.float32)
    theirs = model_with(keras, None, kernel, getattr(keras.losses, loss)(from_logits=True))
    ours = model_with(engine, activation, kernel, getattr(engine.losses, loss)())
    assert ours.evaluate(X, y, verbose=0) == pytest.approx(theirs.evaluate(X, y, verbose=0), rel=1e-6)
    for model in (theirs, ours):
        model.fit(X, y, epochs=3, verbose=0, shuffle=False)
    assert np.abs(ours.get_weights()[0] - np.array(kernel)).max() > 0.1  # the network learns
    np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], rtol=1e-5)


@KINDS
def test_metrics_and_calls_clip_as_keras_does(activation: str, kernel: Any, y: Any, loss: str) -> None:
    y, found = np.asarray(y, np.float32), []
    for api in (keras, engine):
        metric = getattr(api.metrics, loss)(name="m")
        model = model_with(api, activation, kernel, getattr(api.losses, loss)(), [metric])
        called = getattr(api.losses, loss)()(y, np.asarray(model(X)))
        found.append((model.evaluate(X, y, verbose=0)[1], float(called)))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
