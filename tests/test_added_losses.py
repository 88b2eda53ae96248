"""`model.add_loss` of a model made of symbols, as books for Keras 2 write variational autoencoders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import layers, ops

X = np.random.default_rng(0).random((32, 4)).astype("float32")


def model_and_symbols() -> tuple[engine.Model, Any, Any, Any]:
    inputs = layers.Input((4,))
    hidden = layers.Dense(2, kernel_initializer="ones")(inputs)
    outputs = layers.Dense(4, kernel_initializer="ones")(hidden)
    return engine.Model(inputs, outputs), inputs, hidden, outputs


def test_the_loss_is_what_is_added() -> None:
    model, inputs, _, outputs = model_and_symbols()
    model.add_loss(ops.mean(ops.square(inputs - outputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile(engine.optimizers.SGD(0.01))
    expected = np.mean((X - model.predict(X, verbose=0)) ** 2)
    assert model.train_on_batch(X) == pytest.approx(expected, rel=1e-5)
    losses = model.fit(X, epochs=3, verbose=0).history["loss"]
    assert losses[0] > losses[-1]
    assert model.evaluate(X, verbose=0) == pytest.approx(
        np.mean((X - model.predict(X, verbose=0)) ** 2), rel=1e-5
    )


def test_terms_are_added_to_the_loss_of_compile() -> None:
    model, _, hidden, _ = model_and_symbols()
    before = [layer.name for layer in model.layers]
    model.add_loss([ops.sum(ops.square(hidden)), 2 * ops.mean(hidden)])
    model.add_loss(ops.mean(hidden, axis=-1))  # one for each sample, whose sum is added
    assert model.output_names == before[-1:]
    model.compile("sgd", "mse")
    y = np.zeros((32, 4))
    values = X.sum(-1)
    expected = (
        np.mean(model.predict(X, verbose=0) ** 2) + 2 * np.sum(values**2) + 2 * np.mean(values) + values.sum()
    )
    assert model.evaluate(X, y, batch_size=32, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_files_and_copies(tmp_path: Path) -> None:
    model, inputs, _, outputs = model_and_symbols()
    model.add_loss(ops.mean(ops.square(inputs - outputs)))
    model.compile("sgd")
    model.fit(X, verbose=0)
    expected = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        engine.models.load_model(tmp_path / "model.keras").predict(X, verbose=0), expected
    )
    model.save_weights(tmp_path / "model.weights.h5")
    model.set_weights([np.zeros_like(array) for array in model.get_weights()])
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    assert len(engine.models.clone_model(model).layers) == 3


def test_what_is_refused() -> None:
    model, *_ = model_and_symbols()
    with pytest.raises(TypeError, match="must be a symbol that is computed from the symbols of the model"):
        model.add_loss(lambda: 3.0)
    with pytest.raises(ValueError, match="they depend on another Input"):
        model.add_loss(ops.mean(layers.Input((3,)) * 2))
    model.compile("sgd", "mse")
    assert np.isfinite(model.evaluate(X, X, verbose=0))  # nothing has changed
