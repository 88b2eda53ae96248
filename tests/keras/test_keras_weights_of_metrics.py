"""Compares weights of single outputs in metrics, and metrics derived from built-in ones, with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import engine

RNG = np.random.default_rng(0)
ROWS, CLASSES = 4, 3
PREDICTIONS = RNG.random((2, ROWS, CLASSES), np.float32)
TARGETS = (RNG.random((2, ROWS, CLASSES)) < 0.5).astype("float32")
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[RNG.integers(0, CLASSES, (2, ROWS))]

BY_OUTPUT: dict[str, Callable[[Any], Any]] = {
    "accuracy": lambda m: m.Accuracy(),
    "binary_accuracy": lambda m: m.BinaryAccuracy(),
    "precision": lambda m: m.Precision(),
    "precision_top": lambda m: m.Precision(top_k=2),
    "precision_several": lambda m: m.Precision(thresholds=[0.2, 0.5]),
    "recall": lambda m: m.Recall(),
    "recall_top": lambda m: m.Recall(top_k=1),
    "true_positives": lambda m: m.TruePositives(),
    "false_negatives": lambda m: m.FalseNegatives(),
    "auc": lambda m: m.AUC(),
    "auc_pr": lambda m: m.AUC(curve="PR"),
    "auc_weights": lambda m: m.AUC(label_weights=[0.2, 1.0, 2.0]),
    "recall_at": lambda m: m.RecallAtPrecision(0.4),
    "sensitivity_at": lambda m: m.SensitivityAtSpecificity(0.5),
    "r2": lambda m: m.R2Score(),
    "r2_by_output": lambda m: m.R2Score(class_aggregation=None),
}
BY_ROW: dict[str, Callable[[Any], Any]] = {
    "mean_squared_error": lambda m: m.MeanSquaredError(),
    "categorical_accuracy": lambda m: m.CategoricalAccuracy(),
    "categorical_crossentropy": lambda m: m.CategoricalCrossentropy(),
    "cosine_similarity": lambda m: m.CosineSimilarity(),
    "precision_of_a_class": lambda m: m.Precision(class_id=1),
}
WEIGHTS = {
    "outputs": np.array([[0.5, 1.0, 2.0]]),
    "each": RNG.random((ROWS, CLASSES)),
    "rows": np.arange(1.0, 1 + ROWS)[:, np.newaxis],
    "samples": np.arange(1.0, 1 + ROWS),
    "one": np.array([2.0]),
    "one_by_one": np.array([[2.0]]),
}


def results(make: Callable[[Any], Any], weights: Any, targets: Any = TARGETS) -> list[Any]:
    """Returns the metric after two batches, the first without weights, and after a single batch with weights."""
    found = []
    for api in (keras, engine):
        both, alone = make(api.metrics), make(api.metrics)
        both.update_state(targets[0], PREDICTIONS[0])
        both.update_state(targets[1], PREDICTIONS[1], sample_weight=weights)
        alone.update_state(targets[1], PREDICTIONS[1], sample_weight=weights)
        found.append([np.asarray(both.result()), np.asarray(alone.result())])
    return found


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", BY_OUTPUT)
def test_weights_of_outputs(metric: str, weights: str) -> None:
    theirs, ours = results(BY_OUTPUT[metric], WEIGHTS[weights])
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", BY_ROW)
def test_weights_of_rows(metric: str, weights: str) -> None:
    make = BY_ROW[metric]
    if weights not in ("outputs", "each"):
        theirs, ours = results(make, WEIGHTS[weights], ONE_HOT)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        return
    for api in (keras, engine):
        metric_of_api = make(api.metrics)
        with pytest.raises(ValueError):  # noqa: PT011 # Keras' message is JAX's
            metric_of_api.update_state(ONE_HOT[0], PREDICTIONS[0], sample_weight=WEIGHTS[weights])
    with pytest.raises(ValueError, match=r"one weight for each of 4 rows, got one for each output: \(4, 3\)"):
        make(engine.metrics).update_state(ONE_HOT[0], PREDICTIONS[0], sample_weight=WEIGHTS[weights])


def test_as_many_classes_as_rows() -> None:
    square = PREDICTIONS[0, :CLASSES]
    for api in (keras, engine):
        with pytest.raises(ValueError):  # noqa: PT011 # Keras' message is JAX's
            api.metrics.MeanSquaredError().update_state(square, square, sample_weight=np.ones((1, CLASSES)))
    found = []
    for api in (keras, engine):
        metric = api.metrics.Precision()
        metric.update_state(ONE_HOT[0, :CLASSES], square, sample_weight=WEIGHTS["outputs"])
        found.append(float(metric.result()))
    assert found[1] == pytest.approx(found[0])


@pytest.mark.parametrize("kind", ["Mean", "Sum"])
def test_means_and_sums(kind: str) -> None:
    for weights in WEIGHTS.values():
        found = []
        for api in (keras, engine):
            metric = getattr(api.metrics, kind)()
            metric.update_state(PREDICTIONS[0], sample_weight=weights)
            found.append(float(metric.result()))
        assert found[1] == pytest.approx(found[0])


@pytest.mark.parametrize("kind", ["Precision", "Recall"])
@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_k": 2}, {"top_k": 3, "thresholds": 0.85}, {}])
@pytest.mark.parametrize("weights", [None, np.array([0.5, 1.0, 2.0, 1.5, 3.0])], ids=["plain", "weighted"])
def test_vectors(kind: str, options: dict[str, Any], weights: Any) -> None:
    targets, outputs = np.array([0, 1, 1, 0, 1.0]), np.array([0.1, 0.2, 0.9, 0.8, 0.3])
    found = []
    for api in (keras, engine):
        metric = getattr(api.metrics, kind)(**options)
        for _ in range(2):
            metric.update_state(targets, outputs, sample_weight=weights)
        found.append(float(metric.result()))
    assert found[1] == pytest.approx(found[0])


@pytest.mark.parametrize("method", ["reset_state", "result", "both"])
@pytest.mark.parametrize("kind", ["MeanSquaredError", "AUC", "Precision", "BinaryAccuracy"])
def test_methods_of_ones_own(kind: str, method: str) -> None:
    x = RNG.standard_normal((40, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    found = []
    for api in (keras, engine):

        class Own(getattr(api.metrics, kind)):  # type: ignore[misc] # the base is a parameter
            def _nothing(self) -> None:
                pass

            def _more(self) -> Any:
                return super().result() + 1

        if method != "result":
            Own.reset_state = Own._nothing
        if method != "reset_state":
            Own.result = Own._more
        model = api.Sequential(
            [api.Input((4,)), api.layers.Dense(1, kernel_initializer="ones", activation="sigmoid")]
        )
        model.compile(api.optimizers.SGD(1.0), "mse", metrics=[Own(name="own")])
        history = model.fit(
            x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, validation_data=(x[:9], y[:9])
        ).history
        found.append([*history["own"], *history["val_own"], model.evaluate(x, y, verbose=0)[1]])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
