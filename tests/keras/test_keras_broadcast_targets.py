"""Compares targets and weights that are broadcast to the outputs with Keras: one target for several outputs, weights (1, n)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import assert_same_histories, twins

import engine

N, OUTPUTS = 8, 3
RNG = np.random.default_rng(2)
X = RNG.normal(size=(N, 4)).astype(np.float32)
COLUMN = (RNG.random((N, 1)) > 0.4).astype(np.float32)
PREDICTIONS = RNG.random((N, OUTPUTS), np.float32)
WEIGHTS = RNG.random(N, np.float32)

LOSSES = [
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError"),
    *("Huber", "LogCosh", "Poisson", "KLDivergence", "Hinge", "SquaredHinge"),
]
REFUSED = ["CosineSimilarity", "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "Dice"]
METRICS = [name for name in LOSSES if name not in ("Huber", "LogCosh")] + [
    *("LogCoshError", "RootMeanSquaredError", "BinaryAccuracy"),
]
ONE_FOR_ALL = "one number for each sample, shape .*: as in Keras, each output is compared with this number"


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(N, 1), (1, OUTPUTS), (N, OUTPUTS, 1), (N, OUTPUTS)])
def test_losses(name: str, shape: tuple[int, ...]) -> None:
    targets = (np.random.default_rng(4).random(shape) > 0.5).astype(np.float32)
    theirs, ours = (
        getattr(api.losses, name)(reduction=None)(targets, PREDICTIONS) for api in (keras, engine)
    )
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(N, 1), (1, OUTPUTS)])
def test_metrics(name: str, shape: tuple[int, ...]) -> None:
    targets = (np.random.default_rng(4).random(shape) > 0.5).astype(np.float32)
    found = []
    for api in (keras, engine):
        metric = getattr(api.metrics, name)()
        metric.update_state(targets, PREDICTIONS)
        found.append(float(metric.result()))
    assert found[1] == pytest.approx(found[0], rel=2e-5)


def model_with(loss: str) -> Any:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((4,)), api.layers.Dense(OUTPUTS, "sigmoid")])
        metrics = [api.metrics.MeanAbsoluteError(name="mae"), api.metrics.BinaryAccuracy(name="hits")]
        return compiled(model, api.optimizers.SGD(0.01), getattr(api.losses, loss)(), metrics=metrics)

    return make


@pytest.mark.parametrize("loss", LOSSES)
def test_training_with_one_target_for_all_outputs(loss: str) -> None:
    both = twins(model_with(loss))
    with pytest.warns(UserWarning, match=ONE_FOR_ALL):
        histories = both.fit(X, COLUMN, epochs=2, batch_size=4, sample_weight=WEIGHTS)
    assert_same_histories(*histories)
    both.assert_same_weights()


def test_steps_with_one_target_for_all_outputs() -> None:
    x, y = RNG.normal(size=(N, 2, 4)).astype(np.float32), RNG.normal(size=(N, 2, 1)).astype(np.float32)

    def make(api: Any) -> Any:
        return compiled(api.Sequential([api.Input((2, 4)), api.layers.Dense(OUTPUTS)]), "sgd", "mse")

    both = twins(make)
    with pytest.warns(UserWarning, match="one number for each row of outputs, shape"):
        assert_same_histories(*both.fit(x, y, epochs=2, batch_size=4))


def test_metrics_of_ones_own_get_the_targets_as_given() -> None:
    shapes = []

    class Shapes(engine.metrics.Metric):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            shapes.append((y_true.shape, y_pred.shape))
            np.testing.assert_array_equal(y_true, COLUMN)

        def result(self) -> float:
            return 0.0

    model = engine.Sequential([engine.Input((4,)), engine.layers.Dense(OUTPUTS)])
    model.compile("sgd", "mse", metrics=[Shapes()])
    with pytest.warns(UserWarning, match=ONE_FOR_ALL):
        model.evaluate(X, COLUMN, verbose=0)
    assert set(shapes) == {((N, 1), (N, OUTPUTS))}


def test_targets_with_an_axis_too_many() -> None:
    y = RNG.random((N, OUTPUTS, 1), np.float32)
    both = twins(model_with("MeanSquaredError"))
    assert_same_histories(*both.fit(X, y, epochs=2, batch_size=4))


@pytest.mark.parametrize("name", REFUSED)
def test_losses_of_whole_rows_refuse_one_target(name: str) -> None:
    """Keras raises an error for some of them, and computes a number that means nothing for the others."""
    model = model_with(name)(engine)
    with pytest.raises(ValueError, match="shape"):
        model.fit(X, COLUMN, verbose=0)
    for given in (COLUMN[:, 0], np.ones((N, 2), np.float32)):
        with pytest.raises(ValueError, match="shape"):
            model_with("MeanSquaredError")(engine).fit(X, given, verbose=0)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_a_row_of_weights(reduction: str) -> None:
    theirs, ours = (
        api.losses.MeanSquaredError(reduction=reduction)(
            PREDICTIONS[::-1], PREDICTIONS, sample_weight=WEIGHTS[None]
        )
        for api in (keras, engine)
    )
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("weights", [WEIGHTS[None], 2.0, np.float32(0.5)], ids=["(1, n)", "float", "float32"])
def test_weights_of_one_batch(weights: Any) -> None:
    both = twins(model_with("MeanSquaredError"))
    y = RNG.random((N, OUTPUTS), np.float32)
    theirs, ours = (model.train_on_batch(X, y, sample_weight=weights)[0] for model in both)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    both.assert_same_weights()


@pytest.mark.parametrize("shape", [(N, 1, 1), (N, 2), (N, 1), (N, 2, 1)])
def test_weights_of_steps(shape: tuple[int, ...]) -> None:
    x, y = RNG.normal(size=(N, 2, 4)).astype(np.float32), RNG.normal(size=(N, 2, 3)).astype(np.float32)

    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((2, 4)), api.layers.Dense(3)])
        return compiled(model, "sgd", "mse", weighted_metrics=["mae"])

    both, weights = twins(make), RNG.random(shape, np.float32)
    assert_same_histories(*both.fit(x, y, epochs=2, batch_size=4, sample_weight=weights))
    both.assert_same_weights()


def test_class_indices_get_a_hint() -> None:
    model = model_with("MeanSquaredError")(engine)
    with pytest.warns(UserWarning, match=r"If it holds class indices, .* or pass to_categorical\(y, 3\)"):
        model.evaluate(X, COLUMN.astype(int), verbose=0)
