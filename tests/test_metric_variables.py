"""Tests of the variables of metrics, which scripts read and assign, and of metrics within metrics."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import metrics

Y, P = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.9, 0.2, 0.3, 0.6])


@pytest.mark.parametrize(
    "metric",
    [
        metrics.MeanSquaredError(),
        metrics.BinaryAccuracy(),
        metrics.MeanMetricWrapper(lambda y, p: abs(y - p)),
    ],
)
def test_means_have_a_total_and_a_count(metric: Any) -> None:
    assert [(variable.name, float(variable)) for variable in metric.variables] == [("total", 0), ("count", 0)]
    metric.update_state(Y, P)
    value = float(metric.result())
    assert float(metric.total) / float(metric.count) == pytest.approx(value)
    for other in (
        copy.deepcopy(metric),
        *([] if metric.name == "<lambda>" else [pickle.loads(pickle.dumps(metric))]),
    ):
        other.reset_state()
        assert [float(variable) for variable in other.variables] == [0, 0]
    # As in Keras, a vector is one sample for the mean of a loss.
    count = 1 if isinstance(metric, metrics.MeanSquaredError) else 4
    assert float(metric.count) == count
    metric.total.assign(3.0)
    metric.count.assign_add(2)
    assert metric.result() == pytest.approx(3.0 / (count + 2))
    for variable in metric.variables:
        variable.assign(np.zeros(variable.shape))
    assert metric.result() == 0
    metric.update_state(Y, P)
    assert metric.result() == pytest.approx(value)


def test_sums_have_a_total() -> None:
    metric = metrics.Sum()
    metric.update_state([1.0, 2.0])
    assert [(variable.name, float(variable)) for variable in metric.variables] == [("total", 3)]


def test_variables_of_a_model_follow_its_passes() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.evaluate(P[:, np.newaxis], Y)
    assert [metric.name for metric in model.metrics] == ["loss", "mae"]
    for metric, value in zip(model.metrics, (loss, mae), strict=True):
        total, count = metric.variables
        assert (float(total) / float(count), float(count)) == (pytest.approx(value), 4)


def test_functions_are_named_as_in_keras() -> None:
    class Largest:
        def __call__(self, y_true: Any, y_pred: Any) -> Any:
            return np.abs(y_true - y_pred).max(axis=-1)

    def MeanError(y_true: Any, y_pred: Any) -> Any:  # noqa: N802 # the case matters
        return np.abs(y_true - y_pred)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[MeanError, Largest(), lambda y, p: np.abs(y - p)])
    assert model.metrics_names == ["loss", "mean_error", "largest", "lambda"]


def test_a_metric_resets_those_within() -> None:
    class F1(metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="f1")
            self.precision, self.others = metrics.Precision(), [metrics.Recall(), {"mean": metrics.Mean()}]

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.precision.update_state(y_true, y_pred)
            self.others[0].update_state(y_true, y_pred)
            self.others[1]["mean"].update_state(1.0)

        def result(self) -> float:
            p, r = float(self.precision.result()), float(self.others[0].result())
            return 2 * p * r / (p + r)

    f1 = F1()
    assert f1(Y, P) == pytest.approx(0.8)
    f1.reset_state()
    assert float(f1.precision.result()) == float(f1.others[0].result()) == 0
    assert float(f1.others[1]["mean"].result()) == 0
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[f1])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    values = [model.evaluate(P[:, np.newaxis], Y)[1] for _ in range(2)]
    assert values[0] == values[1]


class Counted(metrics.Metric):
    """Counts batches, in a variable of its own and in those that are attributes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batches = self.add_variable((), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.batches.assign_add(1)

    def result(self) -> Any:
        return self.batches


def test_variables_of_attributes_and_of_metrics_within() -> None:
    metric = Counted("outer")
    metric.more = {"a": [keras.Variable(0.0), keras.Variable(1.0)]}
    metric.again = metric.more["a"][0]
    metric.inner = [Counted("one"), metrics.Mean("two")]
    found = metric.variables
    assert [id(each) for each in found[:3]] == [id(metric.batches), *map(id, metric.more["a"])]
    assert [each.name for each in found[3:]] == ["variable", "total", "count"]
    metric.update_state(0, 0)
    metric.inner[0].update_state(0, 0)
    metric.reset_state()
    assert [float(each) for each in metric.variables] == [0.0] * 6


def test_a_variable_that_begins_with_an_array() -> None:
    metric = Counted("counted")
    start = np.array([[2**30, 1], [2, 3]])
    variable = metric.add_variable((2, 2), start, dtype="int64")
    np.testing.assert_array_equal(variable, start)
    with pytest.raises(ValueError, match=r"must have the shape \(3,\) of the variable, got \(2, 2\)"):
        metric.add_variable((3,), start)
