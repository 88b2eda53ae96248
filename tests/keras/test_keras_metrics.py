"""Compares metrics with Keras: by name and config, over several batches and in training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

Array = NDArray[Any]

ROWS, WIDTH = 40, 4
# Keras computes sums in float32.
RTOL, ATOL = 2e-5, 2e-6

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("Accuracy", {}),
    ("BinaryAccuracy", {}),
    ("BinaryAccuracy", {"threshold": 0.3}),
    ("CategoricalAccuracy", {}),
    ("SparseCategoricalAccuracy", {}),
    ("TopKCategoricalAccuracy", {"k": 2}),
    ("SparseTopKCategoricalAccuracy", {"k": 3}),
    ("MeanSquaredError", {}),
    ("RootMeanSquaredError", {}),
    ("MeanAbsoluteError", {}),
    ("MeanAbsolutePercentageError", {}),
    ("MeanSquaredLogarithmicError", {}),
    ("CosineSimilarity", {}),
    ("LogCoshError", {}),
    ("R2Score", {}),
    ("PearsonCorrelation", {}),
    ("ConcordanceCorrelation", {}),
    ("R2Score", {"class_aggregation": None}),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 3}),
    ("Hinge", {}),
    ("SquaredHinge", {}),
    ("CategoricalHinge", {}),
    ("KLDivergence", {}),
    ("Poisson", {}),
    ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 1}),
    ("TruePositives", {}),
    ("FalsePositives", {"thresholds": [0.7, 0.2, 0.4]}),
    ("TrueNegatives", {"thresholds": 0.4}),
    ("FalseNegatives", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}),
    ("Precision", {}),
    ("Precision", {"thresholds": [0.3, 0.6]}),
    ("Precision", {"top_k": 2}),
    ("Precision", {"class_id": 2, "top_k": 1}),
    ("Precision", {"thresholds": 0.5, "top_k": 2}),
    ("Recall", {}),
    ("Recall", {"thresholds": [0.1, 0.5, 0.9]}),
    ("Recall", {"top_k": 1}),
    ("Recall", {"class_id": 0}),
    ("AUC", {}),
    ("AUC", {"num_thresholds": 20, "curve": "PR"}),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}),
    ("AUC", {"summation_method": "minoring", "thresholds": [0.2, 0.5, 0.6]}),
    ("AUC", {"curve": "PRGAIN"}),
    ("AUC", {"multi_label": True}),
    ("AUC", {"multi_label": True, "num_labels": 4, "label_weights": [1.0, 2.0, 0.5, 0.0], "curve": "PR"}),
    ("AUC", {"label_weights": [1.0, 2.0, 0.5, 0.0]}),
    ("AUC", {"from_logits": True}),
    ("SensitivityAtSpecificity", {"specificity": 0.6}),
    ("SpecificityAtSensitivity", {"sensitivity": 0.4, "num_thresholds": 30}),
    ("PrecisionAtRecall", {"recall": 0.5, "class_id": 1}),
    ("RecallAtPrecision", {"precision": 0.6}),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 1}),
    ("F1Score", {}),
    ("F1Score", {"average": "micro"}),
    ("F1Score", {"average": "macro", "threshold": 0.4}),
    ("FBetaScore", {"average": "weighted", "beta": 2.0}),
    ("FBetaScore", {"beta": 0.5, "threshold": 0.6}),
]

by_config = pytest.mark.parametrize(
    ("name", "config"), CONFIGS, ids=lambda value: str(value).replace(" ", "")
)


def targets_of(name: str, rng: np.random.Generator, rows: int) -> Array:
    if name.startswith("Sparse"):
        return rng.integers(0, WIDTH, rows)
    if "Categorical" in name or name.startswith("F"):
        return np.eye(WIDTH, dtype=np.float32)[rng.integers(0, WIDTH, rows)]
    if name == "Accuracy":
        return rng.integers(0, 3, (rows, WIDTH)).astype(np.float32)
    if name.startswith(("Mean", "Root", "Cosine", "Log", "R2", "KL", "Poisson")):
        return rng.uniform(0.05, 1, (rows, WIDTH)).astype(np.float32)
    return rng.integers(0, 2, (rows, WIDTH)).astype(np.float32)


def batches(name: str, config: dict[str, Any]) -> list[tuple[Array, Array, Array]]:
    """Returns batches of targets, predictions and weights."""
    rng, found = np.random.default_rng(len(name) + len(config)), []
    for rows in (ROWS, 7, 1):
        p = (
            rng.normal(size=(rows, WIDTH))
            if config.get("from_logits")
            else rng.uniform(0.02, 0.98, (rows, WIDTH))
        )
        if name == "Accuracy":
            p = rng.integers(0, 3, (rows, WIDTH))
        if "Categorical" in name and not config.get("from_logits"):
            p /= p.sum(axis=1, keepdims=True)
        # Equal numbers, and the ends of the range.
        p[0, :2] = (0.5, 0.5) if config.get("from_logits") else p[0, :2]
        found.append(
            (targets_of(name, rng, rows), p.astype(np.float32), rng.uniform(0, 2, rows).astype(np.float32))
        )
    return found


@by_config
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:More independent predictors")
def test_alone(name: str, config: dict[str, Any], weighted: bool) -> None:
    theirs, ours = getattr(keras.metrics, name)(**config), getattr(engine.metrics, name)(**config)
    assert ours.name == getattr(keras.metrics, name)(**config, name=ours.name).name
    for y, p, w in batches(name, config):
        for metric in (theirs, ours):
            metric.update_state(y, p, sample_weight=w if weighted else None)
        np.testing.assert_allclose(ours.result(), np.array(theirs.result()), rtol=RTOL, atol=1e-5)
    ours.reset_state()
    again = ours.from_config(ours.get_config())
    y, p, w = batches(name, config)[0]
    assert np.array_equal(again(y, p, w), ours(y, p, w), equal_nan=True)
    theirs_config = {key: value for key, value in theirs.get_config().items() if key != "name"}
    for key, value in theirs_config.items():
        if key != "label_weights":
            np.testing.assert_equal(ours.get_config()[key], value, err_msg=key)


@by_config
@pytest.mark.parametrize("weighted", [False, True])
def test_in_training(name: str, config: dict[str, Any], weighted: bool) -> None:
    if name == "Accuracy":
        pytest.skip("outputs of a network don't equal its targets")
    if config.get("num_regressors"):
        pytest.skip("Keras can't trace it on JAX")
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(50, 5)).astype(np.float32), targets_of(name, rng, 50)
    loss = "sparse_categorical_crossentropy" if y.ndim == 1 else "mean_squared_error"
    link = "softmax" if "Categorical" in name or name.startswith("F") else "sigmoid"

    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((5,)), api.layers.Dense(6, activation="tanh"), api.layers.Dense(WIDTH, link)]
        )
        metrics = [getattr(api.metrics, name)(**config, name="plain")]
        weighted_metrics = [getattr(api.metrics, name)(**config, name="weighted")]
        model.compile(
            api.optimizers.SGD(0.05),
            loss,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=True,
        )
        return model

    pair = twins(make)
    options: dict[str, Any] = {"sample_weight": rng.uniform(0, 2, 50).astype(np.float32)} if weighted else {}
    theirs, ours = pair.fit(x, y, batch_size=16, epochs=2, **options)
    assert list(ours) == list(theirs)
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], np.array(values), rtol=1e-4, atol=1e-5, err_msg=key)
    found = [model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True, **options) for model in pair]
    for key, values in found[0].items():
        np.testing.assert_allclose(found[1][key], np.array(values), rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reductions(name: str) -> None:
    rng = np.random.default_rng(0)
    theirs, ours = getattr(keras.metrics, name)(), getattr(engine.metrics, name)()
    for values, weights in [
        ([1.0, 3.0, 5.0], None),
        (4.0, None),
        (rng.normal(size=(4, 3)), [1.0, 0.0, 2.0, 0.5]),
        (rng.normal(size=(4, 3)), None),
        (rng.normal(size=4), rng.uniform(size=(4, 1))),
    ]:
        theirs.update_state(values, sample_weight=weights)
        ours.update_state(values, sample_weight=weights)
        np.testing.assert_allclose(ours.result(), np.array(theirs.result()), rtol=RTOL)


def test_functions() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 6, 20), rng.uniform(size=(20, 6)).astype(np.float32)
    one_hot = np.eye(6, dtype=np.float32)[y]
    for name, truth, options in [
        ("binary_accuracy", one_hot, {"threshold": 0.4}),
        ("categorical_accuracy", one_hot, {}),
        ("sparse_categorical_accuracy", y, {}),
        ("top_k_categorical_accuracy", one_hot, {"k": 2}),
        ("sparse_top_k_categorical_accuracy", y, {"k": 2}),
    ]:
        theirs, ours = getattr(keras.metrics, name), getattr(engine.metrics, name)
        np.testing.assert_array_equal(ours(truth, p, **options), np.array(theirs(truth, p, **options)))
    ids = np.argsort(-p, axis=1)
    theirs = keras.metrics.SparseTopKCategoricalAccuracy(3, from_sorted_ids=True)
    ours = engine.metrics.SparseTopKCategoricalAccuracy(3, from_sorted_ids=True)
    assert ours(y, ids) == pytest.approx(float(theirs(y, ids)))


def test_names_in_compile() -> None:
    """Metrics are given as string, class, function and object, twice the same, and custom."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 5)).astype(np.float32), rng.uniform(size=(20, 3)).astype(np.float32)

    def make(api: Any) -> Any:
        def spread(y_true: Any, y_pred: Any) -> Any:
            return (y_pred[:, 0] - y_pred[:, 1]) ** 2

        model = api.Sequential([api.Input((5,)), api.layers.Dense(3, "sigmoid")])
        own = ["mse", "MeanAbsoluteError", api.metrics.mean_squared_error, spread, "mse"]
        own += [api.metrics.RootMeanSquaredError(), api.metrics.MeanMetricWrapper(spread, name="wrapped")]
        model.compile("sgd", "mse", metrics=own, weighted_metrics=["mse", spread], run_eagerly=True)
        return model

    pair = twins(make)
    weights = rng.uniform(0, 2, 20).astype(np.float32)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=2, sample_weight=weights), rtol=5e-5)


@pytest.mark.parametrize("name", sorted({name for name, _ in CONFIGS}))
def test_by_string(name: str) -> None:
    if name in {
        "SensitivityAtSpecificity",
        "SpecificityAtSensitivity",
        "PrecisionAtRecall",
        "RecallAtPrecision",
    }:
        pytest.skip("needs an argument")
    assert type(engine.metrics.get(name)).__name__ == name
    snake = engine.metrics.get(name).name
    snake = {"logcosh": "log_cosh_error"}.get(snake, snake)
    assert type(engine.metrics.get(snake)).__name__ == name
    assert type(keras.metrics.get(name)).__name__ == name
