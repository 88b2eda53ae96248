"""Compares outputs with several axes per sample with Keras: losses, metrics, weights for each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from conftest import with_gradient
from numpy.typing import NDArray

import engine

Array = NDArray[Any]

SHAPE, CLASSES = (5, 6), 6
RNG = np.random.default_rng(0)
X, KERNEL = RNG.uniform(size=(8, *SHAPE)).astype(np.float32), RNG.normal(size=(6, 6)).astype(np.float32)
BINARY = RNG.integers(0, 2, (8, *SHAPE)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, (8, 5))
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
SHARES = (BINARY + 0.1) / (BINARY + 0.1).sum(axis=-1, keepdims=True)
BY_STEP, BY_SAMPLE = (
    RNG.uniform(0, 2, (8, 5)).astype(np.float32),
    RNG.uniform(0, 2, (8, 1)).astype(np.float32),
)

LOSSES: list[tuple[str, dict[str, Any], Array]] = [
    *((name, {}, BINARY) for name in (
        "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Huber",
        "LogCosh", "Poisson", "Hinge", "SquaredHinge", "BinaryCrossentropy", "BinaryFocalCrossentropy", "Dice",
        "Tversky", "CosineSimilarity",
    )),
    ("Dice", {"axis": -1}, BINARY),
    ("Tversky", {"axis": -1, "alpha": 0.3}, BINARY),
    ("KLDivergence", {}, SHARES),
    *((name, {}, ONE_HOT) for name in (
        "CategoricalHinge", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    )),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1, "axis": 2}, ONE_HOT),
    ("SparseCategoricalCrossentropy", {}, LABELS),
    ("SparseCategoricalCrossentropy", {}, LABELS[..., np.newaxis]),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS),
]  # fmt: skip
METRICS: list[tuple[str, dict[str, Any], Array]] = [
    *((name, {}, BINARY) for name in (
        "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "LogCoshError", "Poisson", "Hinge",
        "SquaredHinge", "BinaryCrossentropy", "BinaryAccuracy", "Accuracy", "AUC", "Precision", "Recall",
        "FalseNegatives", "CosineSimilarity", "KLDivergence",
    )),
    *((name, {}, ONE_HOT) for name in (
        "CategoricalHinge", "CategoricalCrossentropy", "CategoricalAccuracy", "TopKCategoricalAccuracy",
    )),
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT),
    ("Precision", {"top_k": 2}, ONE_HOT),
    ("Recall", {"class_id": 1}, ONE_HOT),
    ("Precision", {"thresholds": [0.1, 0.3]}, ONE_HOT),
    ("PrecisionAtRecall", {"recall": 0.5}, BINARY),
    ("AUC", {"num_thresholds": 50, "curve": "PR"}, BINARY),
    ("SparseCategoricalCrossentropy", {}, LABELS),
    ("SparseCategoricalAccuracy", {}, LABELS),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS),
]  # fmt: skip
REFUSED: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("F1Score", "FBetaScore", "R2Score")),
    ("AUC", {"multi_label": True}),
]  # fmt: skip
WEIGHTS = {"none": None, "by_step": BY_STEP, "by_sample": BY_SAMPLE}


def outcome(
    api: Any, loss: object, y: Array, metrics: Any = None, weight: Array | None = None, **options: Any
) -> list[float]:
    model = api.Sequential([api.Input(SHAPE), api.layers.Dense(6, activation="softmax")])
    model.compile(api.optimizers.SGD(0.1), loss, metrics=metrics, **options)
    model.set_weights([KERNEL, np.zeros(6, np.float32)])
    passed = {"batch_size": 4, "sample_weight": weight, "verbose": 0}
    history = model.fit(X, y, epochs=2, shuffle=False, **passed).history
    values = [value for name in sorted(history) for value in history[name]]
    evaluated = model.evaluate(X, y, **passed)
    values += evaluated if isinstance(evaluated, list) else [evaluated]
    # Some are arrays.
    return list(np.concatenate([np.ravel(value) for value in [*values, *model.get_weights()]]))


def same(make: Callable[[Any], list[float]], rel: float = 2e-5) -> None:
    theirs = make(keras)
    np.testing.assert_allclose(make(engine), theirs, rtol=rel, atol=2e-6)


@pytest.mark.parametrize(("name", "config", "y"), LOSSES, ids=lambda value: str(value)[:25])
def test_losses(name: str, config: dict[str, Any], y: Array) -> None:
    of_the_batch = name in {"Dice", "Tversky"} and "axis" not in config
    weight = None if of_the_batch else BY_STEP
    same(lambda api: outcome(api, getattr(api.losses, name)(**config), y, weight=weight))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weight", ["none", "by_step"])
@pytest.mark.parametrize("name", ["MeanSquaredError", "SparseCategoricalCrossentropy"])
def test_reductions(name: str, weight: str, reduction: str) -> None:
    y = LABELS if name.startswith("Sparse") else BINARY
    same(lambda api: outcome(api, getattr(api.losses, name)(reduction=reduction), y, weight=WEIGHTS[weight]))


def test_weights_of_whole_samples_count_for_each_row() -> None:
    for name, y in (("mse", BINARY), ("sparse_categorical_crossentropy", LABELS)):
        same(lambda api, name=name, y=y: outcome(api, name, y, weight=BY_SAMPLE))
        flat = outcome(engine, name, y, weight=BY_SAMPLE[:, 0], weighted_metrics=["accuracy"])
        assert flat == outcome(engine, name, y, weight=BY_SAMPLE, weighted_metrics=["accuracy"])


@pytest.mark.parametrize(("name", "config", "y"), METRICS, ids=lambda value: str(value)[:25])
def test_metrics(name: str, config: dict[str, Any], y: Array) -> None:
    weight = list(WEIGHTS)[(len(name) + len(config)) % len(WEIGHTS)]  # each occurs with many metrics
    loss = "sparse_categorical_crossentropy" if y is LABELS else "mse"

    def make(api: Any) -> list[float]:
        metrics = [getattr(api.metrics, name)(**config)]
        return outcome(api, loss, y, weight=WEIGHTS[weight], weighted_metrics=metrics)

    same(make)
    ours, theirs = (getattr(api.metrics, name)(**config) for api in (engine, keras))
    for metric in (ours, theirs):
        metric.update_state(y, np.clip(X, 0.01, 0.99), sample_weight=WEIGHTS[weight])
    np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("y", [LABELS, LABELS[..., np.newaxis], ONE_HOT], ids=["labels", "column", "one_hot"])
def test_accuracy_and_crossentropy_suit_the_targets(y: Array) -> None:
    loss = "categorical_crossentropy" if y is ONE_HOT else "sparse_categorical_crossentropy"
    same(lambda api: outcome(api, loss, y, ["accuracy"]))
    assert outcome(engine, "crossentropy", y, ["accuracy"]) == outcome(engine, loss, y, ["accuracy"])


@with_gradient(lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1])
def squares(y_true: Any, y_pred: Any) -> Any:
    return ((y_pred - y_true) ** 2).mean(axis=-1)


@with_gradient(lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred[0].size)
def squares_by_sample(y_true: Any, y_pred: Any) -> Any:
    return ((y_pred - y_true) ** 2).mean(axis=(1, 2))


@with_gradient(lambda y_true, y_pred: 2 * (y_pred - y_true))
def squares_by_output(y_true: Any, y_pred: Any) -> Any:
    return (y_pred - y_true) ** 2


@pytest.mark.parametrize("loss", [squares, squares_by_sample, squares_by_output], ids=lambda f: f.__name__)
def test_losses_of_ones_own(loss: Any) -> None:
    same(lambda api: outcome(api, loss, BINARY))


def test_weights_and_losses_of_ones_own() -> None:
    for weight in (BY_STEP, BY_SAMPLE):
        same(lambda api, weight=weight: outcome(api, squares, BINARY, weight=weight))
    same(lambda api: outcome(api, squares_by_sample, BINARY, weight=BY_SAMPLE[:, 0]))
    with pytest.raises(ValueError, match=r"'squares_by_sample' must return .* weights of \(4, 5\)"):
        outcome(engine, squares_by_sample, BINARY, weight=BY_STEP)


def largest(y_true: Any, y_pred: Any) -> Any:
    return (y_pred == y_pred.max(axis=-1, keepdims=True)).mean(axis=-1) + y_true.mean(axis=-1)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_metric_of_ones_own_sees_all_axes(weight: str) -> None:
    same(lambda api: outcome(api, "mse", BINARY, weight=WEIGHTS[weight], weighted_metrics=[largest]))


@pytest.mark.parametrize(("name", "config"), REFUSED, ids=str)
def test_what_keras_refuses(name: str, config: dict[str, Any]) -> None:
    for api in (keras, engine):
        with pytest.raises(ValueError, match=r"2D|rank 2|needs one row per sample, .* is \(n, 5, 6\)"):
            outcome(api, "mse", BINARY, [getattr(api.metrics, name)(**config)])


def test_one_number_per_row() -> None:
    def make(api: Any) -> list[float]:
        model = api.Sequential([api.Input(SHAPE), api.layers.Dense(1, "sigmoid", kernel_initializer="ones")])
        model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(X, BINARY[..., 0], shuffle=False, verbose=0).history
        return [*history["loss"], *history["accuracy"], *np.ravel(model.get_weights()[0])]

    same(make)


def test_the_wrapper_of_a_function_has_the_signature_of_keras() -> None:
    theirs, ours = (
        {
            name: (each.kind, each.default)
            for name, each in inspect.signature(api.metrics.MeanMetricWrapper).parameters.items()
        }
        for api in (keras, engine)
    )
    assert list(ours.items()) == list(theirs.items())
