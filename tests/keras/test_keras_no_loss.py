"""Compares models compiled without a loss, which learn from losses of their layers, with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import assert_same_histories, twins

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 4)).astype("float32")


def adding(api: Any) -> Any:
    class Adding(api.layers.Layer):
        def call(self, inputs: Any) -> Any:
            mean = api.ops.mean if api is keras else np.mean
            self.add_loss(0.1 * mean(inputs**2))
            return inputs

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream + 0.2 * inputs / inputs.size

    return Adding()


LAYERS: dict[str, Callable[[Any], list[Any]]] = {
    "weights": lambda api: [api.layers.Dense(2, kernel_regularizer="l2", bias_regularizer="l1")],
    "outputs": lambda api: [api.layers.Dense(2, activity_regularizer="l2")],
    "add_loss": lambda api: [api.layers.Dense(2), adding(api)],
    "all": lambda api: [
        api.layers.Dense(3, activation="tanh", activity_regularizer="l1", kernel_regularizer="l2"),
        adding(api),
        api.layers.Dense(2),
        api.layers.ActivityRegularization(0.1, 0.01),
    ],
    "rows": lambda api: [api.layers.Reshape((2, 2)), api.layers.Dense(2, activity_regularizer="l2")],
    "nothing": lambda api: [api.layers.Dense(2)],
}
TARGETS = {
    "none": None,
    "outputs": RNG.random((48, 2)),
    "indices": RNG.integers(0, 2, 48),
    "others": RNG.random((48, 5)),
}


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", LAYERS)
def test_training(kind: str, targets: str) -> None:
    def make(api: Any) -> Any:
        return compiled(api.Sequential([api.Input((4,)), *LAYERS[kind](api)]), api.optimizers.SGD(0.5))

    pair, y = twins(make), TARGETS[targets]
    given = (X,) if y is None else (X, y)
    assert_same_histories(*pair.fit(*given, batch_size=16, epochs=2), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    assert pair.engine.metrics_names == pair.keras.metrics_names == ["loss"]
    for act in (
        lambda model: model.evaluate(*given, verbose=0),
        lambda model: model.evaluate(X, verbose=0),
        lambda model: model.evaluate(*given, verbose=0, return_dict=True)["loss"],
        lambda model: model.train_on_batch(*(each[:16] for each in given)),
        lambda model: model.test_on_batch(X[:16]),
    ):
        assert act(pair.engine) == pytest.approx(float(act(pair.keras)), rel=1e-4, abs=1e-6)


def test_metrics() -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((4,)), *LAYERS["outputs"](api)])
        return compiled(model, api.optimizers.SGD(0.5), metrics=["mae"])

    pair, y = twins(make), TARGETS["outputs"]
    assert_same_histories(*pair.fit(X, y, batch_size=16, epochs=2, validation_data=(X, y)), rtol=1e-4)
    with pytest.raises(ValueError, match="`y` is missing"):
        pair.engine.fit(X, verbose=0)


def test_samples_that_are_weighed_and_batches_that_are_yielded() -> None:
    def make(api: Any) -> Any:
        return compiled(api.Sequential([api.Input((4,)), *LAYERS["all"](api)]), api.optimizers.SGD(0.5))

    pair, y = twins(make), TARGETS["outputs"]
    weights = RNG.random(48)
    assert_same_histories(*pair.fit(X, y, sample_weight=weights, batch_size=16), rtol=1e-4)
    assert_same_histories(*pair.fit(X, y, validation_split=0.5, batch_size=8), rtol=1e-4)
    found = [
        model.fit(((X[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)), verbose=0).history["loss"]
        for model in pair
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
