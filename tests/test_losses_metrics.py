"""Tests of losses, metrics and optimizers: formulas, names, and `compile`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from conftest import Blobs, classifier
from numpy.typing import NDArray

import engine as keras
from engine import losses, metrics

# Tolerance of float32 against float64: roundings of a logarithm and of a sum over a row.
RTOL = 1e-5

LOSSES = [
    losses.SparseCategoricalCrossentropy(),
    losses.SparseCategoricalCrossentropy(from_logits=True),
    losses.CategoricalCrossentropy(),
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.CategoricalCrossentropy(label_smoothing=0.2),
    losses.BinaryCrossentropy(),
    losses.BinaryCrossentropy(from_logits=True),
    losses.BinaryCrossentropy(label_smoothing=0.1),
    losses.MeanSquaredError(),
]


def predictions(loss: losses.Loss, rng: np.random.Generator) -> NDArray[np.float32]:
    if getattr(loss, "from_logits", False):
        return rng.normal(0, 3, (20, 4)).astype(np.float32)
    return rng.uniform(0.01, 0.99, (20, 4)).astype(np.float32)


def labels(loss: losses.Loss, rng: np.random.Generator) -> NDArray[Any]:
    if loss._targets_are_indices:
        return rng.integers(0, 4, 20)
    return (
        np.eye(4)[rng.integers(0, 4, 20)]
        if loss._wants_classes
        else rng.integers(0, 2, (20, 4)).astype(float)
    )


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_as_function_class_and_training(loss: losses.Loss, rng: np.random.Generator) -> None:
    y_pred, y, weight = predictions(loss, rng), labels(loss, rng), rng.uniform(0, 2, 20)
    expected, _ = reference.loss_rows(loss._lower(), y_pred.astype(float), y)
    options = {key: value for key, value in loss.get_config().items() if key not in {"name", "reduction"}}
    function = getattr(losses, loss._lower()["kind"])
    np.testing.assert_allclose(function(y, y_pred, **options), expected, rtol=RTOL, atol=1e-6)
    assert loss(y, y_pred) == pytest.approx(expected.mean(), rel=RTOL)
    assert loss(y, y_pred, weight) == pytest.approx((weight * expected).mean(), rel=RTOL)

    model = keras.Sequential([keras.layers.Activation("linear", input_shape=(4,))])
    model.compile("sgd", loss)
    assert model.evaluate(y_pred, y) == pytest.approx(expected.mean(), rel=RTOL)
    weighted = model.evaluate(y_pred, y, sample_weight=weight)
    assert weighted == pytest.approx((weight * expected).mean(), rel=RTOL)


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("MeanSquaredError", losses.MeanSquaredError),
        (losses.Huber(0.5), losses.Huber),
        (losses.CategoricalCrossentropy, losses.CategoricalCrossentropy),
        ({"class_name": "SparseCategoricalCrossentropy", "config": {}}, losses.SparseCategoricalCrossentropy),
    ],
)
def test_losses_by_class_and_config(identifier: object, cls: type) -> None:
    assert type(losses.get(identifier)) is cls


@pytest.mark.parametrize(
    ("identifier", "function"),
    [
        ("mse", losses.mean_squared_error),
        ("MSE", losses.mean_squared_error),
        ("mean_squared_error", losses.mean_squared_error),
        ("bce", losses.binary_crossentropy),
        ("kld", losses.kl_divergence),
        (losses.binary_crossentropy, losses.binary_crossentropy),
        (None, None),
    ],
)
def test_losses_by_name_and_function(identifier: object, function: object) -> None:
    assert losses.get(identifier) is function


def test_config_keeps_options() -> None:
    loss = losses.get(
        {"class_name": "BinaryCrossentropy", "config": {"from_logits": True, "label_smoothing": 0.25}}
    )
    expected = {
        "from_logits": True, "label_smoothing": 0.25, "axis": -1, "reduction": "sum_over_batch_size",
        "name": "binary_crossentropy",
    }  # fmt: skip
    assert loss.get_config() == expected
    assert losses.BinaryCrossentropy.from_config(expected).get_config() == expected


def test_sparse_labels_may_have_a_last_axis() -> None:
    y_pred = np.array([[0.2, 0.8], [0.5, 0.5]])
    flat = losses.sparse_categorical_crossentropy([1, 0], y_pred)
    assert np.array_equal(flat, losses.sparse_categorical_crossentropy([[1], [0]], y_pred))
    assert flat == pytest.approx([-np.log(0.8), -np.log(0.5)])


@pytest.mark.parametrize(
    ("metric", "y", "expected"),
    [
        (metrics.SparseCategoricalAccuracy(), [1, 1, 0], 2 / 3),
        (metrics.SparseCategoricalAccuracy(), [[1], [1], [0]], 2 / 3),
        (metrics.CategoricalAccuracy(), [[0, 1], [0, 1], [1, 0]], 2 / 3),
        (metrics.BinaryAccuracy(), [[0, 1], [1, 1], [0, 1]], 3 / 6),
        (metrics.BinaryAccuracy(threshold=0.25), [[0, 1], [1, 1], [0, 1]], 5 / 6),
        (metrics.MeanSquaredError(), [[0, 1], [0, 1], [1, 0]], (0.1**2 + 0.6**2 + 0.3**2) / 3),
        (metrics.metric_for_training("accuracy"), [1, 1, 0], 2 / 3),
        (metrics.metric_for_training("acc"), [[0, 1], [0, 1], [1, 0]], 2 / 3),
    ],
    ids=repr,
)
def test_metrics_alone(metric: metrics.Metric, y: Any, expected: float) -> None:
    y_pred = np.array([[0.1, 0.9], [0.6, 0.4], [0.7, 0.3]])
    assert metric.result() == 0.0
    assert metric(y, y_pred) == pytest.approx(expected)
    metric.update_state(y, y_pred)
    assert metric.result() == pytest.approx(expected)
    metric.reset_state()
    metric.update_state(y, y_pred, sample_weight=[2, 0, 0])
    first = (
        type(metric)()
        if not isinstance(metric, metrics.BinaryAccuracy)
        else metric.from_config(metric.get_config())
    )
    assert metric.result() == pytest.approx(first(y[:1], y_pred[:1]))


def test_accuracy_suits_labels_and_outputs(blobs: Blobs) -> None:
    sparse, dense = classifier(), classifier(loss="categorical_crossentropy")
    dense.set_weights(sparse.get_weights())
    expected = np.mean(sparse.predict(blobs.x).argmax(axis=1) == blobs.y)
    assert sparse.evaluate(blobs.x, blobs.y)[1] == pytest.approx(expected)
    assert dense.evaluate(blobs.x, blobs.one_hot)[1] == pytest.approx(expected)

    binary = keras.Sequential([keras.layers.Dense(1, "sigmoid", input_shape=(6,))])
    binary.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    y = blobs.y > 0
    expected = np.mean((binary.predict(blobs.x)[:, 0] > 0.5) == y)
    assert binary.evaluate(blobs.x, y)[1] == pytest.approx(expected)


def test_logits_reach_metrics_as_they_are(blobs: Blobs) -> None:
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(6,))])
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy", "mse"])
    y, y_pred = (blobs.y > 0).astype(float), model.predict(blobs.x)[:, 0]
    _, accuracy, mse = model.evaluate(blobs.x, y)
    assert accuracy == pytest.approx(np.mean((y_pred > 0.5) == y))
    assert mse == pytest.approx(np.mean((y_pred - y) ** 2), rel=RTOL)


def test_metric_names(blobs: Blobs) -> None:
    model = classifier(
        loss="categorical_crossentropy",
        metrics=["acc", "mse", metrics.MeanSquaredError(), metrics.MeanSquaredError(name="loss"), "acc"],
        weighted_metrics=["acc", "mean_squared_error", metrics.CategoricalAccuracy()],
    )
    names = ["loss", "acc", "mse", "mean_squared_error", "loss_1", "acc_1"]
    names += ["weighted_acc", "weighted_mean_squared_error", "categorical_accuracy"]
    assert model.metrics_names == names
    result = model.evaluate(blobs.x, blobs.one_hot, return_dict=True)
    assert list(result) == sorted(names)
    assert all(isinstance(value, float) for value in result.values())
    assert list(result.values()) == [result[name] for name in sorted(names)]
    assert model.evaluate(blobs.x, blobs.one_hot) == [result[name] for name in names]


def test_weighted_metrics_use_weights(blobs: Blobs) -> None:
    model = classifier(weighted_metrics=["accuracy"])
    weight = (blobs.y == 0).astype(float)
    hits = model.predict(blobs.x).argmax(axis=1) == blobs.y
    _, plain, weighted = model.evaluate(blobs.x, blobs.y, sample_weight=weight)
    assert plain == pytest.approx(hits.mean())
    assert weighted == pytest.approx(hits[blobs.y == 0].mean())


def test_without_metrics_the_loss_comes_alone(blobs: Blobs) -> None:
    model = classifier(metrics=None)
    assert isinstance(model.evaluate(blobs.x, blobs.y), float)
    assert model.metrics_names == ["loss"]
    assert list(model.evaluate(blobs.x, blobs.y, return_dict=True)) == ["loss"]


def test_recompiling_keeps_weights_and_starts_the_optimizer_anew(blobs: Blobs) -> None:
    model = classifier()
    model.fit(blobs.x, blobs.y, verbose=0)
    before = model.get_weights()
    model.compile("sgd", "categorical_crossentropy")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0
    model.fit(blobs.x, blobs.one_hot, verbose=0)
    assert model.optimizer.iterations == 5


# Losses and metrics that are called directly: shapes are not broadcast, and negative labels are errors.


Y = np.array([0.0, 1, 1, 0])
P = np.array([[0.1], [0.9], [0.8], [0.2]])


@pytest.mark.parametrize("y", [Y, Y[:, None]], ids=["(n,)", "(n, 1)"])
def test_labels_of_one_output_may_lack_its_axis(y: np.ndarray) -> None:
    assert keras.losses.MeanSquaredError()(y, P) == pytest.approx(0.025)
    assert keras.losses.BinaryCrossentropy()(y, P) == pytest.approx(-np.log([0.9, 0.9, 0.8, 0.8]).mean())
    assert keras.metrics.BinaryAccuracy()(y, P) == 1.0
    assert keras.metrics.MeanSquaredError()(y, P) == pytest.approx(0.025)


def test_weights_may_be_a_column() -> None:
    loss, weights = keras.losses.MeanSquaredError(), np.arange(4.0)
    assert loss(Y, P, weights[:, None]) == loss(Y, P, weights)
    with pytest.raises(ValueError, match=r"`sample_weight` must have shape \(4,\), got \(3,\)"):
        loss(Y, P, weights[:3])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`y_true` must have the shape of `y_pred`, \(4, 1\), got \(3, 1\)"):
        keras.losses.MeanSquaredError()(Y[:3], P)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        keras.losses.CategoricalCrossentropy()(Y, np.hstack([P, 1 - P]))


@pytest.mark.parametrize("label", [-1, 1.7, 5, np.nan])
def test_labels_must_be_classes(label: float) -> None:
    with pytest.raises(ValueError, match=r"`y_true` must hold class indices in \[0, 2\)"):
        keras.losses.SparseCategoricalCrossentropy()([label], [[0.1, 0.9]])
