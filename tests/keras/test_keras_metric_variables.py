"""Compares variables of metrics with Keras: names, shapes, values, and the effect of assignments."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

WITH_VARIABLES: dict[str, Any] = {
    "precision": lambda m: m.Precision(),
    "precision_of_the_largest": lambda m: m.Precision(top_k=2, class_id=1),
    "recall": lambda m: m.Recall(thresholds=[0.7, 0.2]),
    "true_positives": lambda m: m.TruePositives(),
    "false_positives": lambda m: m.FalsePositives([0.1, 0.5]),
    "true_negatives": lambda m: m.TrueNegatives(),
    "false_negatives": lambda m: m.FalseNegatives([0.9, 0.3]),
    "auc": lambda m: m.AUC(num_thresholds=5),
    "auc_by_label": lambda m: m.AUC(num_thresholds=4, multi_label=True, num_labels=3),
    "auc_by_unknown_label": lambda m: m.AUC(curve="PR", num_thresholds=4, multi_label=True),
    "auc_of_weighed_labels": lambda m: m.AUC(num_thresholds=4, label_weights=[0.5, 2.0, 1.0]),
    "sensitivity": lambda m: m.SensitivityAtSpecificity(0.5, num_thresholds=4),
    "specificity": lambda m: m.SpecificityAtSensitivity(0.5, num_thresholds=1),
    "precision_at_recall": lambda m: m.PrecisionAtRecall(0.5, num_thresholds=4),
    "recall_at_precision": lambda m: m.RecallAtPrecision(0.5, num_thresholds=4),
    "f1": lambda m: m.F1Score(),
    "fbeta": lambda m: m.FBetaScore("micro", 2.0, 0.5),
    "r2": lambda m: m.R2Score(),
    "adjusted_r2": lambda m: m.R2Score("variance_weighted_average", num_regressors=2),
    "rmse": lambda m: m.RootMeanSquaredError(),
    "accuracy": lambda m: m.CategoricalAccuracy(),
}


def states(metric: Any) -> list[tuple[str, str, tuple[int, ...], list[float]]]:
    return [(v.name, v.path, tuple(v.shape), np.asarray(v, float).ravel().tolist()) for v in metric.variables]


@pytest.mark.parametrize("name", WITH_VARIABLES)
def test_variables(name: str) -> None:
    """Variables are compared before the first batch, after two, after assignments, and after a reset."""
    rng = np.random.default_rng(3)
    y_pred = rng.uniform(0.05, 0.95, (2, 8, 3)).astype(np.float32)
    y_true = np.float32(rng.uniform(size=(2, 8, 3)) > 0.5)
    weights = rng.uniform(0.5, 2.0, (2, 8)).astype(np.float32)
    theirs, ours = (WITH_VARIABLES[name](api.metrics) for api in (keras, engine))

    def assert_same() -> None:
        for (*text, values), (*own, found) in zip(states(theirs), states(ours), strict=True):
            assert [text[0], text[2]] == [own[0], own[2]]
            assert own[1] == f"{ours.name}/{text[0]}"
            assert text[1].endswith(f"/{text[0]}")
            np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5, err_msg=text[0])
        np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=1e-4, atol=1e-6)

    assert [(name, *rest) for name, _, *rest in states(ours)] == [
        (name, *rest) for name, _, *rest in states(theirs)
    ]
    for metric in (theirs, ours):
        for batch in zip(y_true, y_pred, weights, strict=True):
            metric.update_state(*batch[:2], sample_weight=batch[2])
    assert_same()
    attributes = [key for key in vars(theirs) if hasattr(vars(theirs)[key], "assign")]
    assert attributes
    for key in attributes:
        np.testing.assert_allclose(getattr(ours, key), np.asarray(getattr(theirs, key)), rtol=1e-5, atol=1e-5)
    kept = [np.asarray(variable) * 1.5 for variable in theirs.variables]
    for metric in (theirs, ours):
        metric.reset_state()
    for variable, zeros in zip(ours.variables, theirs.variables, strict=True):
        assert not np.asarray(variable).any()
        assert np.shape(variable) == tuple(zeros.shape)
    for metric in (theirs, ours):
        for variable, value in zip(metric.variables, kept, strict=True):
            variable.assign(value)
    assert_same()
    for metric in (theirs, ours):
        metric.update_state(y_true[0], y_pred[0], sample_weight=weights[0])
    assert_same()


def test_variables_assigned_one_at_a_time() -> None:
    """For example, a script may assign counts and read them back."""
    for api in (keras, engine):
        precision = api.metrics.Precision()
        precision.true_positives.assign([3.0])
        precision.false_positives.assign_add([1.0])
        assert float(precision.result()) == 0.75
        recall = api.metrics.Recall([0.2, 0.8])
        recall.false_negatives.assign([1.0, 3.0])
        recall.true_positives.assign([3.0, 1.0])
        assert np.asarray(recall.result()).tolist() == [0.75, 0.25]
        negatives = api.metrics.TrueNegatives([0.8, 0.2])
        negatives.accumulator.assign([7.0, 5.0])
        assert np.asarray(negatives.result()).tolist() == [7.0, 5.0]
