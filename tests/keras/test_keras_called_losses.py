"""Losses that are called: of users that override `__call__`, in compiled functions, on tapes and in own steps, as in Keras."""

from __future__ import annotations

import warnings
from typing import Any

import jax
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


OVERLAPS = [("Dice", {}), ("Tversky", {"alpha": 0.3, "beta": 0.6})]


@pytest.mark.parametrize("axis", [None, -1, 0, (0, 1)])
@pytest.mark.parametrize(("name", "options"), OVERLAPS)
def test_overlaps_are_compiled(name: str, options: dict[str, float], axis: Any) -> None:
    """Value and gradient are those of Keras, and no Python runs in the compiled step."""
    targets = np.eye(3, dtype="float32")[np.arange(24) % 3]
    predictions = np.random.default_rng(1).uniform(0.1, 0.9, (24, 3)).astype("float32")
    ours, theirs = (getattr(api.losses, name)(axis=axis, **options) for api in (engine, keras))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = engine.function(engine.value_and_grad(lambda x: ours(targets, x)))(predictions)
    wanted = jax.value_and_grad(lambda x: theirs(targets, x))(predictions)
    for found, expected in zip(compiled, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
@pytest.mark.parametrize("axis", [None, 1, 0, (1, 2)])
@pytest.mark.parametrize(("name", "options"), OVERLAPS)
def test_overlaps_in_own_steps(name: str, options: dict[str, float], axis: Any, reduction: str) -> None:
    """They train as by the steps of the library."""

    class Stepped(engine.Sequential):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with engine.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            variables = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(12, 3, 4)).astype("float32"), rng.integers(0, 2, (12, 3, 2)).astype("float32")
    trained = []
    for kind in (engine.Sequential, Stepped):
        model = kind([engine.Input((3, 4)), engine.layers.Dense(2, "sigmoid", kernel_initializer="ones")])
        model.compile(
            engine.optimizers.SGD(0.5),
            getattr(engine.losses, name)(axis=axis, reduction=reduction, **options),
        )
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        trained.append(np.ravel(model.get_weights()[0]))
    assert not np.allclose(trained[0], 1, rtol=1e-3)
    np.testing.assert_allclose(trained[1], trained[0], rtol=2e-5)
