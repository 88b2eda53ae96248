"""Losses that are called: of users that override `__call__`, in compiled functions, on tapes and in own steps, as in Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = X[:, :1] * 2 - X[:, 1:2]
WEIGHTS = np.linspace(0.0, 2.0, 24, dtype="float32")


def summed(api: Any) -> Any:
    class Summed(api.losses.Loss):  # type: ignore[misc, name-defined] # of either library
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            losses = api.ops.mean(api.ops.square(y_pred - y_true), axis=-1)
            if sample_weight is not None:
                losses = losses * api.ops.reshape(sample_weight, (-1,)) * 2
            return api.ops.sum(losses) / 7

    return Summed()


def scaled(api: Any) -> Any:
    class Scaled(api.losses.MeanSquaredError):  # type: ignore[misc, name-defined] # of either library
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return 3 * super().__call__(y_true, y_pred, sample_weight)

    return Scaled()


def of_predictions(api: Any) -> Any:
    class OfPredictions(api.losses.Loss):  # type: ignore[misc, name-defined] # of either library
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return api.ops.sum(api.ops.square(y_pred))

    return OfPredictions()


def trained(api: Any, loss: Any, weights: Any) -> Any:
    model = api.Sequential([api.Input((4,)), api.layers.Dense(1, kernel_initializer="ones")])
    model.compile(api.optimizers.SGD(0.01), loss, metrics=["mae"])
    history = model.fit(X, Y, sample_weight=weights, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    on_batch = model.train_on_batch(X[:8], Y[:8])
    return [
        *history["loss"],
        *history["mae"],
        *on_batch,
        *model.evaluate(X, Y, verbose=0),
        *np.ravel(model.get_weights()[0]),
    ]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("make", [summed, scaled, of_predictions])
def test_training(make: Any, weights: Any) -> None:
    theirs, ours = (trained(api, make(api), weights) for api in (keras, engine))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


def test_recompiling_with_another_loss() -> None:
    model = engine.Sequential([engine.Input((4,)), engine.layers.Dense(1)])
    model.compile("sgd", scaled(engine))
    expected = 3 * np.mean((model.predict(X, verbose=0) - Y) ** 2)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-5)
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected / 3, rtol=1e-5)


@pytest.mark.parametrize("reduction", [None, "sum", "sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("shape", [(24,), (24, 1)])
@pytest.mark.parametrize("ignore_class", [None, 1])
def test_losses_of_weights_in_a_column(
    reduction: Any, shape: tuple[int, ...], ignore_class: int | None
) -> None:
    """A call, a call on a tape and a compiled one give Keras' shape and numbers."""
    labels, predictions = (
        np.arange(24) % 3,
        np.random.default_rng(1).uniform(0.1, 0.9, (24, 3)).astype("float32"),
    )
    weights = WEIGHTS.reshape(shape)

    def loss(api: Any) -> Any:
        return api.losses.SparseCategoricalCrossentropy(reduction=reduction, ignore_class=ignore_class)

    wanted = np.asarray(loss(keras)(labels, predictions, sample_weight=weights))
    ours, x = loss(engine), engine.ops.convert_to_tensor(predictions)
    with engine.GradientTape() as tape:
        tape.watch(x)
        recorded = ours(labels, x, sample_weight=weights)
    compiled = engine.function(lambda y, x: ours(y, x, sample_weight=weights))
    for found in (ours(labels, predictions, sample_weight=weights), recorded, compiled(labels, predictions)):
        assert np.shape(found) == wanted.shape
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5)
