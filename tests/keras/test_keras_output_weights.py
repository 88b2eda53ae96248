"""Compares sample weights for each output with Keras: metrics, losses, training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled

import engine

N, STEPS, OUTPUTS = 6, 2, 3
BY_OUTPUT = {
    "BinaryAccuracy": {},
    "Accuracy": {},
    "Precision": {},
    "Recall": {"thresholds": [0.2, 0.6]},
    "TruePositives": {},
    "FalseNegatives": {},
    "AUC": {},
    "RootMeanSquaredError": {},
    "PrecisionAtRecall": {"recall": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
}
ROWS_ONLY = {
    "R2Score": {"class_aggregation": None},
    "Precision": {"top_k": 2},
    "AUC": {"multi_label": True, "num_labels": OUTPUTS},
}


def _data(*shape: int) -> Any:
    rng = np.random.default_rng(len(shape))
    targets = (rng.random(shape) > 0.5).astype("float32")
    return targets, rng.random(shape, "float32"), rng.random(shape, "float32")


def _compared(name: Any, options: Any, batches: Any) -> Any:
    theirs, ours = (getattr(one.metrics, name)(**options) for one in (keras, engine))
    for batch in batches:
        for metric in (theirs, ours):
            metric.update_state(*batch[:2], sample_weight=batch[2])
    np.testing.assert_allclose(np.asarray(ours.result()), np.asarray(theirs.result()), rtol=2e-5)
    return ours, theirs


@pytest.mark.parametrize(("name", "options"), BY_OUTPUT.items())
def test_metrics_take_one_weight_for_each_output_of_rows_and_of_steps(name: Any, options: Any) -> None:
    for shape in ((N, OUTPUTS), (N, STEPS, OUTPUTS)):
        targets, outputs, weights = _data(*shape)
        if name == "Accuracy":
            outputs = np.round(outputs)
        batches = [
            (targets[:4], outputs[:4], weights[:4]),
            (targets[4:], outputs[4:], weights[4:, ..., :1]),
            (targets, outputs, weights[:1]),
        ]
        _compared(name, options, batches)


@pytest.mark.parametrize(("name", "options"), ROWS_ONLY.items())
def test_metrics_with_a_state_for_each_output_take_one_weight_for_each(name: Any, options: Any) -> None:
    targets, outputs, weights = _data(N, OUTPUTS)
    _compared(name, options, [(targets[:4], outputs[:4], weights[:4]), (targets[4:], outputs[4:], None)])


@pytest.mark.parametrize("name", ["BinaryAccuracy", "RootMeanSquaredError", "Precision", "AUC"])
def test_variables_hold_the_sums_that_keras_has(name: Any) -> None:
    ours, theirs = _compared(name, {}, [_data(N, OUTPUTS)])
    for mine, its in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(its), rtol=1e-5, err_msg=its.name)


def test_areas_with_weights_of_ones_are_those_without() -> None:
    targets, outputs, weights = _data(N, OUTPUTS)
    metric = engine.metrics.AUC(multi_label=True, label_weights=[1.0, 2.0, 0.5])
    plain = float(metric(targets, outputs))
    metric.reset_state()
    metric.update_state(targets[:2], outputs[:2], np.ones_like(weights[:2]))
    metric.update_state(targets[2:], outputs[2:])
    assert float(metric.result()) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [("MeanSquaredError", {}), ("CategoricalAccuracy", {}), ("Precision", {"class_id": 1})],
)
def test_what_reduces_outputs_first_refuses_weights_for_each_as_keras_does(name: Any, options: Any) -> None:
    for one in (keras, engine):
        metric = getattr(one.metrics, name)(**options)
        with pytest.raises(ValueError, match=r"one weight for each of|broadcast|Incompatible"):
            metric.update_state(*_data(N, OUTPUTS)[:2], sample_weight=_data(N, OUTPUTS)[2])


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
def test_losses_of_a_whole_batch_take_weights_of_any_shape(name: Any, reduction: Any) -> None:
    targets, outputs, weights = _data(N, OUTPUTS)
    for given in (weights, weights[:, :1], weights[:, 0]):
        theirs, ours = (
            getattr(one.losses, name)(reduction=reduction)(targets, outputs, sample_weight=given)
            for one in (keras, engine)
        )
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5)


def _squares(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


_squares.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true)


class _Squares:
    """A loss with one value for each output, with a reduction."""

    @staticmethod
    def of(one: Any, reduction: Any) -> Any:
        class Squares(one.losses.Loss):
            call = staticmethod(_squares)
            gradient = staticmethod(_squares.gradient)

        return Squares(reduction=reduction)


LOSSES = {
    "function": lambda one: _squares,
    "mean": lambda one: _Squares.of(one, "sum_over_batch_size"),
    "sum": lambda one: _Squares.of(one, "sum"),
    "weighted mean": lambda one: _Squares.of(one, "mean_with_sample_weight"),
    "dice": lambda one: one.losses.Dice(),
    "tversky": lambda one: one.losses.Tversky(alpha=0.3, beta=0.7, reduction="sum"),
}


def _twins(shape: Any, loss: Any) -> Any:
    models = []
    for one in (keras, engine):
        model = one.Sequential([one.Input(shape), one.layers.Dense(OUTPUTS, "sigmoid")])
        model.compile(
            one.optimizers.SGD(0.1),
            LOSSES[loss](one),
            metrics=["mse"],
            weighted_metrics=["binary_accuracy", one.metrics.Precision(name="precision"), "auc"],
        )
        models.append(model)
    models[1].set_weights(models[0].get_weights())
    return models


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("axes", [(), (STEPS,)])
def test_training_and_evaluation_take_one_weight_for_each_output(loss: Any, axes: Any) -> None:
    x = np.random.default_rng(5).random((N, *axes, 4), "float32")
    y, _, weights = _data(N, *axes, OUTPUTS)
    theirs, ours = _twins((*axes, 4), loss)
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    fits = [
        model.fit(x, y, sample_weight=weights, validation_data=(x, y, weights), **options).history
        for model in (theirs, ours)
    ]
    assert set(fits[0]) == set(fits[1])
    for name, values in fits[0].items():
        np.testing.assert_allclose(fits[1][name], values, rtol=2e-4, atol=1e-6, err_msg=name)
    assert_all_close(ours.get_weights(), theirs.get_weights(), rtol=1e-4, atol=1e-6)
    steps = ("evaluate", "test_on_batch", "train_on_batch")
    for step in steps:
        quiet = {"verbose": 0} if step == "evaluate" else {}
        results = []
        for model in (theirs, ours):
            if hasattr(model, "reset_metrics"):
                model.reset_metrics()
            results.append(getattr(model, step)(x, y, sample_weight=weights, return_dict=True, **quiet))
        for name, value in results[0].items():
            assert float(results[1][name]) == pytest.approx(float(value), rel=2e-4), (step, name)


@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy"])
def test_losses_with_a_value_for_each_row_refuse_weights_for_each_output_as_keras_does(loss: Any) -> None:
    x, (y, _, weights) = np.ones((N, 4), "float32"), _data(N, OUTPUTS)
    for one in (keras, engine):
        model = compiled(one.Sequential([one.Input((4,)), one.layers.Dense(OUTPUTS, "sigmoid")]), "sgd", loss)
        before = model.get_weights()
        with pytest.raises((ValueError, TypeError), match=r"one weight per output|Incompatible shapes"):
            model.fit(x, y, sample_weight=weights, verbose=0)
        if one is engine:
            np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_class_weights_multiply_those_of_outputs_and_batches_may_come_from_a_generator() -> None:
    x = np.random.default_rng(5).random((N, 4), "float32")
    y, _, weights = _data(N, OUTPUTS)
    by_class = np.array([1.0, 2.0, 0.5], "float32")
    scaled = weights * by_class[y.argmax(axis=1)][:, np.newaxis]
    _, model = _twins((4,), "mean")
    start = model.get_weights()
    found = []
    for given in ("arrays", "class weights", "generator"):
        model.set_weights(start)
        if given == "generator":
            batches = ((x[i : i + 4], y[i : i + 4], scaled[i : i + 4]) for i in (0, 4))
            model.fit(batches, verbose=0)
        elif given == "arrays":
            model.fit(x, y, batch_size=4, sample_weight=scaled, shuffle=False, verbose=0)
        else:
            numbers = dict(enumerate(by_class.tolist()))
            options = {"batch_size": 4, "shuffle": False, "verbose": 0}
            model.fit(x, y, sample_weight=weights, class_weight=numbers, **options)
        found.append(model.get_weights())
    for other in found[1:]:
        assert_all_close(other, found[0], rtol=1e-6)
