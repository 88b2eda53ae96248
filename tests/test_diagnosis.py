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


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (1, "sigmoid", losses.BinaryCrossentropy(from_logits=True)),
        (3, "softmax", losses.CategoricalCrossentropy(from_logits=True)),
        (3, "softmax", losses.SparseCategoricalCrossentropy(from_logits=True)),
    ],
)
def test_probabilities_that_are_taken_for_logits(units: int, activation: str, loss: Any) -> None:
    y = TARGETS[loss.name]
    model = network(layers.Dense(units, activation=activation), loss=loss)
    with pytest.warns(
        UserWarning, match="into probabilities a second time: leave out from_logits=True"
    ) as caught:
        model.fit(X, y, epochs=2, verbose=0)
    assert len(told(caught)) == 1
    network(layers.Dense(units), loss=loss).fit(X, y, verbose=0)


def test_a_normalization_that_was_not_adapted() -> None:
    normalization = layers.Normalization()
    model = keras.Sequential([keras.Input((4,)), normalization, layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(
        UserWarning, match=r"'normalization\w*' has the mean 0 and the variance 1.* adapt\(x\)"
    ) as caught:
        model.fit(X, X[:, 0], verbose=0)
    assert len(told(caught)) == 1
    normalization.adapt(X)
    model.compile("sgd", "mse")
    model.fit(X, X[:, 0], verbose=0)
    given = layers.Normalization(mean=0.0, variance=1.0)
    model = keras.Sequential([keras.Input((4,)), given, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, 0], verbose=0)


def test_an_accuracy_of_numbers() -> None:
    def learner(loss: str, metric: str = "accuracy", units: int = 1, activation: str | None = None) -> Any:
        model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])
        model.compile("sgd", loss, metrics=[metric])
        return model

    for loss in ("mse", "mae", "huber"):
        with pytest.warns(UserWarning, match="'accuracy' counts outputs that are the class 0 or 1") as caught:
            learner(loss).fit(X, X[:, 0], epochs=2, verbose=0)
        assert len(told(caught)) == 1
    # Classes and shares of one are no mistakes, nor are other metrics.
    learner("mse").fit(X, X[:, 0] > 0, verbose=0)
    learner("binary_crossentropy", activation="sigmoid").fit(X, np.clip(X[:, 0], 0, 1), verbose=0)
    learner("mse", units=3).fit(X, np.eye(3)[LABELS], verbose=0)
    learner("mse", "mae").fit(X, X[:, 0], verbose=0)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_validation_split_of_samples_in_order(loss: str) -> None:
    y = np.asarray(TARGETS[loss])
    order = np.argsort(y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(-1), kind="stable")
    last = layers.Dense(3, "softmax") if "categorical" in loss else layers.Dense(1, "sigmoid")
    with pytest.warns(UserWarning, match=r"is only among them|in the order of its classes") as caught:
        network(last, loss=loss).fit(X, y[order], validation_split=0.2, verbose=0)
    assert "pass stratify=True" in told(caught)[0]
    fresh = layers.Dense(3, "softmax") if "categorical" in loss else layers.Dense(1, "sigmoid")
    model = network(fresh, loss=loss)
    model.fit(X, y, validation_split=0.2, verbose=0)
    model.fit(X, y[order], validation_split=0.2, stratify=True, verbose=0)
    model.fit(X, y[order], validation_data=(X, y), verbose=0)
    network(layers.Dense(1)).fit(X, np.sort(X[:, 0]), validation_split=0.2, verbose=0)


def test_a_class_that_validation_alone_has() -> None:
    y = np.where(np.arange(64) < 60, LABELS % 2, 2)
    with pytest.warns(UserWarning, match="class 2 is only among them"):
        network(layers.Dense(3, "softmax"), loss="sparse_categorical_crossentropy").fit(
            X, y, validation_split=0.1, verbose=0
        )


def test_a_class_weight_of_no_class() -> None:
    model = network(layers.Dense(3, "softmax"), loss="sparse_categorical_crossentropy")
    with pytest.warns(
        UserWarning, match="has the class 7, but no target is of it: `y` has the classes 0, 1, 2"
    ) as caught:
        model.fit(X, LABELS, class_weight={0: 2.0, 7: 3.0}, verbose=0)
    assert len(told(caught)) == 1
    model.fit(X, LABELS, class_weight={0: 2.0}, verbose=0)
    model.fit(X, LABELS, class_weight="balanced", verbose=0)
