"""Tests of layers written in NumPy: outputs, gradients, weights, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, compiled
from conftest import CLASSES, FEATURES, Blobs
from numpy.typing import NDArray

import engine as keras
from engine import layers

Array = NDArray[Any]


class Affine(layers.Layer):
    """A dense layer in NumPy."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.calls: list[bool] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="glorot_uniform", regularizer="l2"
        )
        self.bias = self.add_weight((self.units,), "zeros", name="bias")
        self.built = True

    def call(self, inputs: Array, training: bool = False) -> Array:
        self.calls.append(training)
        outputs: Array = inputs @ self.kernel + self.bias
        return outputs

    def gradient(self, inputs: Array, upstream: Array) -> tuple[Array, Array, Array]:
        return upstream @ self.kernel.T, inputs.T @ upstream, upstream.sum(axis=0)


class Halved(layers.Layer):
    """A layer without weights and without a gradient, which needs numbers."""

    def call(self, inputs: Array) -> Array:
        return inputs / 2 if np.isfinite(inputs).all() else inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def network(middle: layers.Layer) -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(8, activation="relu"),
            middle,
            layers.Activation("tanh"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    return compiled(model, "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])


def test_it_trains_like_the_built_in_layer(blobs: Blobs) -> None:
    ours, theirs = network(Affine(5)), network(layers.Dense(5, kernel_regularizer="l2"))
    theirs.set_weights(ours.get_weights())
    assert ours.count_params() == theirs.count_params()
    histories = [
        model.fit(
            blobs.x, blobs.y, epochs=3, shuffle=False, verbose=0, validation_data=(blobs.x, blobs.y)
        ).history
        for model in (ours, theirs)
    ]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=1e-5)
    assert_all_close(ours.get_weights(), theirs.get_weights(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.predict(blobs.x), theirs.predict(blobs.x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.predict(blobs.x[:1]), ours.predict(blobs.x)[:1], rtol=1e-5)
    layer = ours.layers[1]
    assert isinstance(layer, Affine)
    assert {True, False} <= set(layer.calls)
    assert np.array_equal(layer.kernel, layer.get_weights()[0])


def test_training_on_batches_and_many_rows(blobs: Blobs) -> None:
    model = network(Affine(5))
    first = model.train_on_batch(blobs.x, blobs.y)
    assert model.train_on_batch(blobs.x, blobs.y)[0] < first[0]
    x = np.tile(blobs.x, (20, 1))
    np.testing.assert_allclose(model.predict(x)[-150:], model.predict(blobs.x), rtol=1e-5)
    assert model(blobs.x, training=True).shape == (150, CLASSES)


def test_a_failing_gradient_leaves_the_model_as_it_was(blobs: Blobs) -> None:
    class Failing(Affine):
        def gradient(self, inputs: Array, upstream: Array) -> tuple[Array, Array, Array]:
            if len(inputs) < 32:
                msg = "no more"
                raise RuntimeError(msg)
            return super().gradient(inputs, upstream)

    model, other = network(Failing(5)), network(Affine(5))
    other.set_weights(model.get_weights())
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(blobs.x, blobs.y, batch_size=32, shuffle=False, verbose=0)
    other.fit(blobs.x[:128], blobs.y[:128], batch_size=32, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))
    assert model.predict(blobs.x).shape == (150, CLASSES)


def test_what_is_missing_is_told(blobs: Blobs) -> None:
    model = network(Halved(name="halved"))
    before = model.get_weights()
    assert model.evaluate(blobs.x, blobs.y, verbose=0)
    with pytest.raises(
        TypeError,
        match=r"(?s)'halved' has no gradient.*add to Halved.*def gradient\(self, inputs.*test_custom_layers.py:\d+: .*bool",
    ):
        model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    first = compiled(keras.Sequential([keras.Input((FEATURES,)), Halved(), layers.Dense(1)]), "sgd", "mse")
    assert first.fit(blobs.x, blobs.y, verbose=0)  # no layer in front of it needs a gradient


class Wrong(layers.Layer):
    def __init__(self, result: Any, by: Any = None) -> None:
        super().__init__()
        self.result, self.by = result, by

    def call(self, inputs: Array) -> Any:
        return inputs if self.result is None else self.result

    def gradient(self, inputs: Array, upstream: Array) -> Any:
        del inputs
        return upstream if self.by is None else self.by


@pytest.mark.parametrize("result", ["text", 1.0, np.zeros((1, 3)), np.zeros((2, 2), complex)])
def test_wrong_outputs(result: Any) -> None:
    with pytest.raises(ValueError, match=r"call\(\) of layer 'wrong.*must return an array of real numbers"):
        network(Wrong(result))


@pytest.mark.parametrize("by", [np.zeros((3, 3)), (np.zeros(1), np.zeros(1))])
def test_wrong_gradients(by: Any, blobs: Blobs) -> None:
    with pytest.raises(ValueError, match=r"gradient"):
        network(Wrong(None, by)).fit(blobs.x, blobs.y, verbose=0)


def test_layers_by_themselves() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer = Affine(2)
    assert not layer.built
    y = layer(x)
    assert layer.built
    np.testing.assert_allclose(y, x @ layer.get_weights()[0], rtol=1e-6)
    layer.kernel.assign(np.ones((3, 2)))
    assert layer(x).tolist() == [[3.0, 3.0], [12.0, 12.0]]
    dense = layers.Dense(2, kernel_initializer="ones")
    assert dense(x).tolist() == [[3.0, 3.0], [12.0, 12.0]]
    assert dense.compute_output_shape((None, 3)) == (None, 2)
    assert layers.Flatten()(np.zeros((2, 3, 4))).shape == (2, 12)
    with pytest.raises(ValueError, match="was built for"):
        layer(np.zeros((2, 4)))
    assert Affine.from_config(layer.get_config()).units == 2


def test_what_layers_refuse() -> None:
    with pytest.raises(ValueError, match="`dtype` must be 'float32'"):
        layers.Dense(2, dtype="float16")


def test_a_metric_in_call_says_where_it_belongs() -> None:
    class Endpoint(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.accuracy = keras.metrics.BinaryAccuracy(name="accuracy")

        def call(self, logits: Any, targets: Any) -> Any:
            self.accuracy.update_state(targets, logits)
            return keras.ops.sigmoid(logits)

    with pytest.raises(TypeError, match="metric 'accuracy' can't be updated in what is recorded once"):
        Endpoint()(keras.Input((1,)), keras.Input((1,)))
    endpoint = Endpoint()
    endpoint(np.ones((4, 1)), np.ones((4, 1)))
    assert float(endpoint.accuracy.result()) == 1.0


def test_columns_of_indices_have_bounds_of_their_own() -> None:
    class Pairs(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.films = layers.Embedding(3, 2), layers.Embedding(50, 2)

        def call(self, inputs: Any) -> Any:
            return keras.ops.sum(self.users(inputs[:, 0]) * self.films(inputs[:, 1]), axis=-1, keepdims=True)

    model = compiled(Pairs(), "adam", "mse")
    x = np.array([[0, 40], [2, 49]])
    assert np.isfinite(model.fit(x, np.ones((2, 1)), verbose=0).history["loss"][0])
    assert model.predict(x, verbose=0).shape == (2, 1)
