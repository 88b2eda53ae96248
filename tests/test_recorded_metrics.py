"""Metrics that are functions of the user's: the core computes them where they can be recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
Y = X.sum(1, keepdims=True)
CALLS: list[Any] = []


def by_sample(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def of_batch(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return ops.max(y_pred) - ops.min(y_true)


def of_arrays(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return np.sort(np.asarray(y_pred), axis=0)[0]


def model_with(*metrics: Any, loss: Any = "mse", weighted: Any = None, units: int = 1) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(units)])
    model.compile("sgd", loss, metrics=list(metrics), weighted_metrics=weighted)
    CALLS.clear()
    return model


def test_functions_run_with_symbols_alone() -> None:
    model = model_with(by_sample, of_batch)
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0, validation_data=(X, Y))
    assert CALLS == ["TracedArray"] * len(CALLS) != []
    assert model.summary is not None


def test_numbers() -> None:
    model = model_with(by_sample, of_batch, of_arrays)
    y_pred = model.predict(X, verbose=0)
    _, mean, extreme, smallest = model.evaluate(X, Y, batch_size=20, verbose=0)
    np.testing.assert_allclose(mean, np.abs(Y - y_pred).mean(), rtol=1e-5)
    # A number of a batch counts once, whatever the size of the batch is.
    parts = [slice(0, 20), slice(20, 40), slice(40, 50)]
    np.testing.assert_allclose(extreme, np.mean([y_pred[p].max() - Y[p].min() for p in parts]), rtol=1e-5)
    np.testing.assert_allclose(smallest, np.mean([y_pred[p].min() for p in parts]), rtol=1e-5)
    assert "ndarray" in CALLS[-1] or "Tensor" in CALLS[-1]


def test_sample_weights() -> None:
    model = model_with(by_sample, weighted=[by_sample])
    weights = np.linspace(0.1, 2, 50).astype("float32")
    y_pred = model.predict(X, verbose=0)
    _, plain, weighted = model.evaluate(X, Y, sample_weight=weights, verbose=0)
    errors = np.abs(Y - y_pred)[:, 0]
    np.testing.assert_allclose(plain, errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(weighted, (errors * weights).sum() / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_targets_come_as_they_were_given(shape: Any, dtype: str) -> None:
    labels = np.random.default_rng(1).integers(0, 3, shape).astype(dtype)

    def exact(y_true: Any, y_pred: Any) -> Any:
        CALLS.append((len(y_true.shape), str(y_true.dtype)))
        return ops.equal(ops.reshape(y_true, (-1,)), ops.cast(ops.argmax(y_pred, axis=-1), y_true.dtype))

    model = model_with(exact, loss="sparse_categorical_crossentropy", units=3)
    found = model.evaluate(X, labels, verbose=0)[1]
    expected = model.predict(X, verbose=0).argmax(1) == labels.ravel()
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-6)
    assert CALLS == [(len(shape), dtype)] * len(CALLS) != []


def test_targets_of_another_form_are_left_to_python() -> None:
    def rank(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred) * 0 + len(y_true.shape)

    model = model_with(rank)
    assert model.evaluate(X, Y, verbose=0)[1] == 2
    assert model.evaluate(X, Y[:, 0], verbose=0)[1] == 1
    assert model.evaluate(X, Y, verbose=0)[1] == 2


def test_the_state_of_the_optimizer_goes_on() -> None:
    def fits(*metrics: Any) -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), "mse", metrics=list(metrics))
        model.fit(X, Y, epochs=2, verbose=0, shuffle=False)
        model.fit(X, Y[:, 0], epochs=2, verbose=0, shuffle=False)  # in another form
        return model.get_weights()

    for one, other in zip(fits(), fits(of_batch), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_follows_from_other_things_than_the_batch_is_asked_again() -> None:
    rate = [1.0]
    model = model_with(lambda y_true, y_pred: rate[0])
    assert model.evaluate(X, Y, verbose=0)[1] == 1
    rate[0] = 2.0
    assert model.evaluate(X, Y, verbose=0)[1] == 2


def test_pairs_by_mistake_are_refused_as_before() -> None:
    model = model_with(lambda y_true, y_pred: ops.abs(y_true - y_pred))
    with pytest.raises(ValueError, match="of which NumPy would make every pair"):
        model.evaluate(X, Y[:, 0], verbose=0)


def test_results_and_states_of_recorded_metrics() -> None:
    model = model_with(by_sample)
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    (metric,) = [each for each in model.metrics if each.name == "by_sample"]
    np.testing.assert_allclose(float(metric.result()), logs["by_sample"], rtol=1e-6)
    assert float(metric.count) == 50
    assert list(logs) == ["by_sample", "loss"]
