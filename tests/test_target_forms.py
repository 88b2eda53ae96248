"""Losses and metrics in Python get targets in the shape in which they were passed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, compiled
from numpy.typing import NDArray

import engine as keras

Array = NDArray[Any]
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = X.sum(axis=1)


class FirstError(keras.metrics.Metric):
    """The mean error of the first output, for targets (n,)."""

    def __init__(self) -> None:
        super().__init__(name="first")
        self.total, self.count = self.add_weight(), self.add_weight()

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        error = y_pred[:, 0] - y_true
        assert error.shape == y_true.shape
        self.total.assign_add(np.sum(np.abs(error)))
        self.count.assign_add(len(error))

    def result(self) -> Any:
        return self.total / self.count


def model(loss: Any, metrics: list[Any], outputs: int = 1) -> Any:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs)])
    return compiled(made, "sgd", loss, metrics=metrics)


def test_a_metric_reads_targets_of_one_axis() -> None:
    net = model("mse", [FirstError(), "mae"])
    history = net.fit(X, Y, validation_split=0.5, batch_size=2, verbose=0).history
    assert history["first"] == pytest.approx(history["mae"])
    assert history["val_first"] == pytest.approx(history["val_mae"])
    result = net.evaluate(iter([(X[:4], Y[:4]), (X[4:], Y[4:])]), return_dict=True)
    assert result["first"] == pytest.approx(result["mae"])
    result = net.train_on_batch(X, Y, return_dict=True)
    assert result["first"] == pytest.approx(result["mae"])


def test_a_loss_reads_targets_of_one_axis() -> None:
    class First(keras.losses.Loss):
        def call(self, y_true: Array, y_pred: Array) -> Array:
            return (y_pred[:, 0] - y_true) ** 2

        def gradient(self, y_true: Array, y_pred: Array) -> Array:
            return 2 * (y_pred[:, 0] - y_true)[:, np.newaxis]

    net, other = model(First(), []), model("mse", [])
    other.set_weights(net.get_weights())
    for each in (net, other):
        each.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(net.get_weights()[0], other.get_weights()[0], rtol=1e-5)


def test_batches_of_a_stream_may_differ_in_their_form() -> None:
    seen = []

    def shape_of(y_true: Array, y_pred: Array) -> Array:
        seen.append((y_true.shape, y_true.dtype))
        return np.zeros(len(y_pred))

    batches = [(X, Y), (X, Y[:, np.newaxis]), (X, Y > 0), (X, (Y > 0).astype(np.int64))]
    model("mse", [shape_of]).evaluate(batches.__iter__())
    assert seen == [((8,), np.float32), ((8, 1), np.float32), ((8,), bool), ((8,), np.int32)]


def wrong(y_true: Array, y_pred: Array) -> Array:
    return np.abs(y_true - y_pred)


@pytest.mark.parametrize(("y", "good"), [(Y, False), (Y[:, np.newaxis], True), (Y.tolist(), False)])
def test_pairs_of_all_targets_with_all_outputs_are_refused(y: Any, good: bool) -> None:
    net = model("mse", [wrong])
    if good:
        assert net.evaluate(X, y)[1] > 0
        return
    with pytest.raises(ValueError, match=r"`y_true` has shape \(8,\) and meets \(8, 1\).*y_pred\[:, 0\]"):
        net.evaluate(X, y)
    with pytest.raises(ValueError, match="every pair"):
        net.fit(X, y, verbose=0)


@pytest.mark.parametrize(
    "formula",
    [
        lambda y_true, y_pred: np.abs(y_true - y_pred[:, 0]),
        lambda y_true, y_pred: np.abs(y_true[:, np.newaxis] - y_pred),
        lambda y_true, y_pred: np.abs(y_true.reshape(-1, 1) - y_pred),
        lambda y_true, y_pred: np.abs(keras.ops.expand_dims(y_true, -1) - y_pred),
        lambda y_true, y_pred: np.abs(np.asarray(y_true) - np.squeeze(y_pred)),
        lambda y_true, y_pred: (y_true[:, np.newaxis] - y_true).astype(np.float32)[0],  # all pairs of targets
        lambda y_true, y_pred: y_true @ y_pred,
        lambda y_true, y_pred: np.add.reduce(y_true) + np.zeros(len(y_pred)),
    ],
)
def test_other_arithmetic_is_numpys(formula: Any) -> None:
    net = model("mse", [keras.metrics.MeanMetricWrapper(formula, "own")])
    expected = formula(Y, np.float32(net.predict(X)))
    assert net.evaluate(X, Y)[1] == pytest.approx(np.mean(expected), rel=1e-5, abs=1e-6)


def test_a_function_as_loss_gets_targets_with_the_axes_of_the_outputs() -> None:
    def squared(y_true: Array, y_pred: Array) -> Array:
        assert y_true.shape == y_pred.shape
        return np.mean((y_true - y_pred) ** 2, axis=-1)

    squared.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]  # type: ignore[attr-defined]
    assert model(squared, []).fit(X, Y, verbose=0).history["loss"][0] > 0
    rows = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(1)])
    rows.compile("sgd", squared, metrics=["mse"])
    x = np.stack([X] * 4, axis=1)
    loss, mse = rows.train_on_batch(x, np.stack([Y] * 4, axis=1))
    assert loss == pytest.approx(mse, rel=1e-5)


def gaussian(y_true: Array, y_pred: Array) -> Array:
    """Returns minus the log-likelihood of targets (n, 1), for predictions of a mean and the log of a variance."""
    mean, spread = y_pred[:, :1], y_pred[:, 1:]
    return np.mean(0.5 * spread + 0.5 * (y_true - mean) ** 2 * np.exp(-spread), axis=-1)


def slope(y_true: Array, y_pred: Array) -> Array:
    mean, spread = y_pred[:, :1], y_pred[:, 1:]
    error = (y_true - mean) * np.exp(-spread)
    return np.concatenate([-error, 0.5 - 0.5 * error * (y_true - mean)], axis=1)


gaussian.gradient = slope  # type: ignore[attr-defined] # which training needs


def test_a_loss_reads_targets_of_another_width_than_the_outputs() -> None:
    y = Y[:, np.newaxis]
    net = model(gaussian, [gaussian], outputs=2)
    kernel, bias = net.get_weights()
    history = net.fit(X, y, batch_size=3, epochs=2, validation_split=0.25, verbose=0).history
    assert history["loss"] == pytest.approx(history["gaussian"])
    assert history["val_loss"] == pytest.approx(history["val_gaussian"])
    net.set_weights([kernel, bias])
    net.train_on_batch(X[:4], y[:4])
    gradient = X[:4].T @ slope(y[:4], X[:4] @ kernel + bias) / 4
    np.testing.assert_allclose(net.get_weights()[0], kernel - 0.01 * gradient, rtol=1e-5, atol=1e-6)
    expected = np.mean(gaussian(y, net.predict(X)))
    shuffled = net.evaluate(iter([(X[4:], y[4:]), (X[:4], y[:4])]))
    for loss, _ in (net.evaluate(X, y, batch_size=3), shuffled):
        assert loss == pytest.approx(expected, rel=1e-5)


def test_a_loss_reads_more_columns_than_there_are_outputs() -> None:
    def weighed(y_true: Array, y_pred: Array) -> Array:
        return y_true[:, 1] * (y_true[:, 0] - y_pred[:, 0]) ** 2

    weighed.gradient = lambda y, p: (2 * y[:, 1] * (p[:, 0] - y[:, 0]))[:, np.newaxis]  # type: ignore[attr-defined]
    weights = np.linspace(0, 2, 8).astype(np.float32)
    net, plain = model(weighed, []), model("mse", [])
    plain.set_weights(net.get_weights())
    options: dict[str, Any] = {"epochs": 3, "batch_size": 3, "verbose": 0}
    for shuffle in (False, True):
        for each, y, given in ((net, np.stack([Y, weights], axis=1), None), (plain, Y, weights)):
            keras.utils.set_random_seed(2)
            each.fit(X, y, sample_weight=given, shuffle=shuffle, **options)
    assert_all_close(net.get_weights(), plain.get_weights(), rtol=1e-5, atol=1e-6)


def test_what_only_a_loss_can_read() -> None:
    y = np.stack([Y, Y], axis=1)
    with pytest.raises(
        ValueError,
        match=r"'mae' reads targets like the outputs, .*`y` of shape \(n, 2\)",
    ):
        model(gaussian, ["mae"]).fit(X, y, verbose=0)
    net = model(gaussian, [])
    for options in ({"class_weight": {0: 1.0}}, {"validation_split": 0.5, "stratify": True}):
        with pytest.raises(ValueError, match="needs targets that stand for classes"):
            net.fit(X, y, verbose=0, **options)
    with pytest.raises(ValueError, match=r"`y`.*nan"):
        net.evaluate(X, np.full((8, 2), np.nan))
    with pytest.raises(ValueError, match="must have shape"):
        model("mse", []).fit(X, y, verbose=0)


def poisson(y_true: Array, y_pred: Array) -> Array:
    """Returns the Poisson loss of counts (n,). The sum of the two outputs is the log of the mean."""
    log_mean = y_pred.sum(axis=-1)
    return np.exp(log_mean) - np.asarray(y_true) * log_mean


def poisson_slope(y_true: Array, y_pred: Array) -> Array:
    slope = np.exp(y_pred.sum(axis=-1)) - np.asarray(y_true)
    return np.repeat(slope[:, np.newaxis], 2, axis=1)


poisson.gradient = poisson_slope  # type: ignore[attr-defined] # which training needs


@pytest.mark.parametrize("most", [2, 50])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_counts_reach_a_loss_as_they_are(most: int, dtype: Any) -> None:
    """That is so whether the counts could be class indices or not, also if this differs between batches."""
    counts = np.random.default_rng(1).integers(0, most, 8).astype(dtype)
    net = model(poisson, [], 2)
    expected = poisson(counts, net.predict(X)).mean()
    assert net.evaluate(X, counts) == pytest.approx(expected, rel=1e-5)
    net.fit(X, counts, batch_size=4, verbose=0)
    batches = [(X, counts % 2), (X, counts + 7), (X, counts % 2)]
    expected = np.mean([poisson(y, net.predict(x)).mean() for x, y in batches])
    assert net.evaluate(batches.__iter__()) == pytest.approx(expected, rel=1e-5)


def test_what_a_metric_cant_read_of_counts() -> None:
    net = model(poisson, ["accuracy"], 2)
    net.fit(X, np.arange(8) % 2, verbose=0)
    with pytest.raises(ValueError, match=r"'accuracy' reads targets .* indices .*`y` of shape"):
        net.evaluate(X, np.arange(8))

    class Sparse(keras.losses.Loss):
        _targets_are_indices = True

        def call(self, y_true: Array, y_pred: Array) -> Array:
            return -y_pred[np.arange(len(y_true)), y_true]

        def gradient(self, y_true: Array, y_pred: Array) -> Array:
            return -np.eye(2)[y_true]

    with pytest.raises(ValueError, match=r"must hold class indices in \[0, 2\).* row 2 holds 2"):
        model(Sparse(), [], 2).fit(X, np.arange(8), verbose=0)
