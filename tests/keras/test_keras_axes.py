"""Outputs with more than one axis per sample: Keras' numbers, or a message; never another number."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

import engine

Array = NDArray[Any]

SHAPE = (5, 6)
RNG = np.random.default_rng(0)
X, KERNEL = RNG.uniform(size=(8, *SHAPE)).astype(np.float32), RNG.normal(size=(6, 6)).astype(np.float32)
BINARY = RNG.integers(0, 2, (8, *SHAPE)).astype(np.float32)

SAME_LOSSES = (
    "mse", "mae", "mape", "msle", "huber", "log_cosh", "poisson", "hinge", "squared_hinge", "binary_crossentropy",
    "binary_focal_crossentropy", "dice", "tversky",
)  # fmt: skip
REFUSED_LOSSES = (
    "kl_divergence", "cosine_similarity", "categorical_hinge", "categorical_crossentropy",
    "sparse_categorical_crossentropy", "categorical_focal_crossentropy",
)  # fmt: skip
SAME_METRICS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (
        "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "LogCoshError", "Poisson", "Hinge",
        "SquaredHinge", "BinaryCrossentropy", "BinaryAccuracy", "Accuracy", "AUC", "Precision", "Recall",
        "FalseNegatives",
    )),
    ("PrecisionAtRecall", {"recall": 0.5}),
]  # fmt: skip
REFUSED_METRICS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (
        "KLDivergence", "CosineSimilarity", "CategoricalHinge", "CategoricalCrossentropy", "CategoricalAccuracy",
        "TopKCategoricalAccuracy", "F1Score", "FBetaScore", "R2Score", "ConfusionMatrix",
    )),
    ("Precision", {"top_k": 2}), ("Recall", {"class_id": 1}), ("AUC", {"multi_label": True}),
]  # fmt: skip


def outcome(api: Any, loss: object, metrics: list[Any]) -> list[float]:
    model = api.Sequential([api.Input(SHAPE), api.layers.Dense(6, activation="softmax")])
    model.compile("sgd", loss, metrics=metrics)
    model.set_weights([KERNEL, np.zeros(6, np.float32)])
    history = model.fit(X, BINARY, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    found = [value for name in sorted(history) for value in history[name]]
    return [*found, *np.atleast_1d(model.evaluate(X, BINARY, batch_size=4, verbose=0))]


@pytest.mark.parametrize("loss", SAME_LOSSES)
def test_losses_that_are_one_mean_over_all(loss: str) -> None:
    assert outcome(engine, loss, []) == pytest.approx(outcome(keras, loss, []), rel=1e-5)


@pytest.mark.parametrize(("name", "config"), SAME_METRICS, ids=str)
def test_metrics_that_look_at_each_output(name: str, config: dict[str, Any]) -> None:
    theirs, ours = (outcome(api, "mse", [getattr(api.metrics, name)(**config)]) for api in (keras, engine))
    assert ours == pytest.approx(theirs, rel=1e-5)


def largest(y_true: Any, y_pred: Any) -> Any:
    return (y_pred == y_pred.max(axis=-1, keepdims=True)).mean(axis=-1) + y_true.mean(axis=-1)


def test_a_metric_of_ones_own_sees_all_axes() -> None:
    theirs, ours = (outcome(api, "mse", [largest]) for api in (keras, engine))
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("loss", REFUSED_LOSSES)
def test_losses_along_the_last_axis_are_refused(loss: str) -> None:
    with pytest.raises(ValueError, match=r"needs one row per sample, \(n, outputs\), .* is \(n, 5, 6\)"):
        outcome(engine, loss, [])


@pytest.mark.parametrize(("name", "config"), REFUSED_METRICS, ids=str)
def test_metrics_along_the_last_axis_are_refused(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"metric .* needs one row per sample, .* is \(n, 5, 6\)"):
        outcome(engine, "mse", [getattr(engine.metrics, name)(**config)])


def test_the_wrapper_of_a_function_has_the_signature_of_keras() -> None:
    theirs, ours = (
        {
            name: (each.kind, each.default)
            for name, each in inspect.signature(api.metrics.MeanMetricWrapper).parameters.items()
        }
        for api in (keras, engine)
    )
    assert list(ours.items()) == list(theirs.items())
