"""Tests of warnings about models and trainings that cannot succeed: their texts, and that each comes once."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs

import engine as keras
from engine import layers, losses

X = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
LABELS = np.arange(64) % 3
TARGETS = {
    "binary_crossentropy": (X[:, :1] > 0).astype("float32"),
    "categorical_crossentropy": np.eye(3)[LABELS],
    "sparse_categorical_crossentropy": LABELS,
}


def network(*last: Any, loss: Any = "mse", optimizer: Any = "sgd") -> Any:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), *last])
    model.compile(optimizer, loss)
    return model


def told(caught: Any) -> list[str]:
    assert all(one.category is UserWarning and one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(
    "last",
    [
        [layers.Dense(1, activation="softmax")],
        [layers.Dense(1), layers.Softmax()],
        [layers.Dense(1), layers.Activation("softmax")],
        [layers.Dense(1, activation="softmax"), layers.Dropout(0.5), layers.Dense(2)],
    ],
)
def test_a_softmax_over_one_unit(last: list[Any]) -> None:
    model = network(*last)
    y = np.zeros((64, model.output_shape[-1]))
    with pytest.warns(UserWarning, match="takes the softmax of one unit, which is always 1") as caught:
        model.fit(X, y, verbose=0)
    assert len(told(caught)) == 1
    model.fit(X, y, verbose=0)
    model.train_on_batch(X, y)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match='activation="sigmoid" with loss="binary_crossentropy"'):
        model.train_on_batch(X, y)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("loss", TARGETS)
def test_outputs_that_are_no_probabilities(loss: str, activation: str) -> None:
    units = 1 if loss.startswith("binary") else 3
    name = "".join(part.capitalize() for part in loss.split("_"))
    wanted = (
        rf"the last activation is {activation}, .* activation='s\w+', .* losses.{name}\(from_logits=True\)"
    )
    for last in (
        [layers.Dense(units, activation=activation)],
        [layers.Dense(units), layers.Activation(activation), layers.Dropout(0.1), layers.Identity()],
        [layers.Dense(units, activation=activation), layers.Activation("linear")],
    ):
        model = network(*last, loss=loss)
        before = model.get_weights()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, TARGETS[loss], epochs=2, verbose=0)
        model.set_weights(before)
        outputs, *lost = told(caught)
        assert re.search(wanted, outputs)
        # The sum of outputs that are not positive may be 0.
        assert all("Likely causes: outputs that are no probabilities" in text for text in lost)
        model.compile("sgd", getattr(losses, name)(from_logits=True))
        model.fit(X, TARGETS[loss], verbose=0)


def test_outputs_that_are_probabilities() -> None:
    class Clipped(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return np.clip(inputs, 0.01, 0.99)

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream

    for loss, units, activations in (
        ("binary_crossentropy", 1, ["sigmoid", "hard_sigmoid"]),
        ("categorical_crossentropy", 3, ["softmax", "sigmoid", "softplus", "exponential"]),
        ("sparse_categorical_crossentropy", 3, ["softmax"]),
    ):
        for activation in activations:
            network(layers.Dense(units, activation=activation), loss=loss).fit(X, TARGETS[loss], verbose=0)
        # There is no warning about unknown classes.
        network(layers.Dense(units), Clipped(), loss=loss).fit(X, TARGETS[loss], verbose=0)
    network(layers.Dense(1), layers.ReLU(max_value=1.0), loss="binary_crossentropy").fit(
        X, TARGETS["binary_crossentropy"], verbose=0
    )
    network(layers.Dense(3), layers.Softmax(), loss="crossentropy").fit(X, LABELS, verbose=0)
    network(layers.Dense(1), loss="mse").fit(X, X[:, :1], verbose=0)


def test_the_model_is_judged_as_it_is_trained(blobs: Blobs) -> None:
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(4, activation="relu")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.add(layers.Dense(CLASSES, activation="softmax"))
    model.fit(blobs.x, blobs.y, verbose=0)


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    model = network(layers.Dense(1), optimizer=keras.optimizers.SGD(1e20))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(1000 * X, X[:, :1], epochs=4, verbose=0)
        for _ in range(2):
            model.predict(X)
            model.save(tmp_path / "lost.npz")
            model.save_weights(tmp_path / "lost.weights.h5")
    loss, *others = told(caught)
    assert "and its weights are lost: make the model anew" in loss
    assert "inputs that are not scaled (the largest number in `x` is " in loss
    assert "a learning rate that is too large (here 1e+20: try a tenth of it" in loss
    actions = [text.split(" of model")[0] for text in others]
    assert actions == ["predict()", "save()", "save_weights()"]
    assert all("with weights that are NaN or infinite: train it anew" in text for text in others)


def test_weights_that_were_brought_back() -> None:
    model = network(layers.Dense(1), optimizer=keras.optimizers.SGD(1e20))
    good = model.get_weights()
    with pytest.warns(UserWarning, match="weights are lost"):
        model.fit(1000 * X, X[:, :1], epochs=4, verbose=0)
    model.set_weights(good)
    model.predict(X)
    assert not model._may_hold_nan


def test_a_logarithm_of_negative_outputs() -> None:
    def infinite(y_true: Any, y_pred: Any) -> Any:
        return np.full(len(y_pred), np.inf)

    infinite.gradient = lambda y_true, y_pred: np.zeros_like(y_pred)
    with pytest.warns(UserWarning, match="is inf, and its weights are still finite") as caught:
        network(layers.Dense(1), loss=infinite).fit(X, X[:, :1], verbose=0)
    assert "scaled" not in told(caught)[0]
    model = network(layers.Dense(1), loss="poisson", optimizer=keras.optimizers.SGD(1e30))
    with pytest.warns(UserWarning, match="a logarithm of outputs that are negative, in poisson"):
        model.fit(1e20 * X, np.ones((64, 1)), epochs=3, verbose=0)


def test_a_batch_whose_loss_is_not_finite() -> None:
    model = network(layers.Dense(1), optimizer=keras.optimizers.SGD(1e30))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            model.train_on_batch(1000 * X, X[:, :1])
        model.predict(X)
    assert [text.split(" of model")[0] for text in told(caught)] == ["the loss", "predict()"]


def test_a_callback_that_says_why() -> None:
    model = network(layers.Dense(1), optimizer=keras.optimizers.SGD(1e20))
    model.fit(1000 * X, X[:, :1], epochs=4, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
