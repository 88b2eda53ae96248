"""Losses and metrics called by hand: shapes never broadcast, labels never wrap around."""

from __future__ import annotations

import numpy as np
import pytest

import engine as keras

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
    with pytest.raises(ValueError, match=r"`y_true` must have the shape of `y_pred`, \(4, 1\), got \(3,\)"):
        keras.losses.MeanSquaredError()(Y[:3], P)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        keras.losses.CategoricalCrossentropy()(Y, np.hstack([P, 1 - P]))


@pytest.mark.parametrize("label", [-1, 1.7, 5, np.nan])
def test_labels_must_be_classes(label: float) -> None:
    with pytest.raises(ValueError, match=r"`y_true` must hold class indices in \[0, 2\)"):
        keras.losses.SparseCategoricalCrossentropy()([label], [[0.1, 0.9]])


def test_masked_entries_are_refused() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`x` has masked entries.*filled"):
        model.predict(np.ma.masked_equal(np.eye(3), 0))


def test_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    monkeypatch.setattr("sys.stdout", None)
    model.summary()
    model.fit(P, Y, verbose=2)


def test_callbacks_may_log_text(capsys: pytest.CaptureFixture[str]) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update(note="fine"))
    model.fit(P, Y, verbose=2, callbacks=[note])
    assert "note: fine" in capsys.readouterr().out


def test_good_weights_end_a_divergence() -> None:
    x, y = np.ones((8, 4), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 0, 1]]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    good = model.get_weights()
    before = model.evaluate(x, y)
    model.set_weights([np.full_like(weight, np.nan) for weight in good])
    model.fit(x, y, verbose=0)
    model.set_weights(good)
    assert model.evaluate(x, y) == before


def test_threads_that_no_machine_has() -> None:
    with pytest.raises(ValueError, match=r"1 ... 1024.*60000"):
        keras.config.set_threads(60000)
