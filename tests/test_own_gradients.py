"""Gradients that users write: `ops.custom_gradient`, and layers with a method `gradient` on tapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@ops.custom_gradient
def rounded(x: Any) -> Any:
    return ops.round(x), lambda upstream: upstream


@ops.custom_gradient
def clipped(x: Any) -> Any:
    """The identity, whose gradient stays between -0.1 and 0.1."""
    return x, lambda upstream: ops.clip(upstream, -0.1, 0.1)


@ops.custom_gradient
def product(x: Any, w: Any) -> Any:
    def gradient(upstream: Any) -> Any:
        return 2.0 * ops.matmul(upstream, ops.transpose(w)), 3.0 * ops.matmul(ops.transpose(x), upstream)

    return ops.matmul(x, w), gradient


def test_arrays_are_computed_at_once() -> None:
    np.testing.assert_array_equal(rounded(np.float32([0.4, 1.6])), [0.0, 2.0])


@pytest.mark.parametrize("recorded", [False, True])
def test_gradients_of_functions(recorded: bool) -> None:
    def loss(x: Any) -> Any:
        return ops.sum(rounded(x) ** 2) + ops.sum(5.0 * clipped(x))

    found = keras.grad(loss)(X)
    if recorded:
        found = keras.grad(lambda x: ops.sum(keras.grad(loss)(x) * X))(X)
        np.testing.assert_allclose(found, 2 * X, rtol=1e-6)
        return
    np.testing.assert_allclose(found, 2 * np.round(X) + 0.1, rtol=1e-6)


def test_a_tape_reads_it_with_weights() -> None:
    w = keras.Variable(np.ones((3, 2), "float32"))
    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(product(x, w))
    by_x, by_w = tape.gradient(y, [x, w])
    np.testing.assert_allclose(by_x, np.full((6, 3), 4.0), rtol=1e-6)
    np.testing.assert_allclose(by_w, 3 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-5)


class Product(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], 2), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return product(inputs, self.w)


def test_layers_and_functional_models_train_by_it() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Product()(clipped(inputs)))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: ops.sum(y_pred))
    model.fit(X, np.zeros((6, 1)), batch_size=6, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 3 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ model.get_weights()[0], rtol=1e-5)


def test_losses_train_by_it() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y_true, y_pred: ops.sum(rounded(y_pred) * 2.0))
    model.fit(X, np.zeros((6, 1)), batch_size=6, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], 1 - 2 * X.sum(0), rtol=1e-5)


def test_mistakes() -> None:
    @ops.custom_gradient
    def two(x: Any) -> Any:
        return x, lambda upstream: (upstream, upstream)

    @ops.custom_gradient
    def pair(x: Any) -> Any:
        return (x, x), lambda *upstream: upstream

    with pytest.raises(TypeError, match="one array for each of 1 arguments, got 2"):
        keras.grad(lambda x: ops.sum(two(x)))(X)
    with pytest.raises(TypeError, match="must return one array and its gradient"):
        keras.grad(lambda x: ops.sum(pair(x)[0]))(X)


class Sign(layers.Layer):
    """-1 or 1, with the gradient of the identity times a weight."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return ops.sign(inputs) * self.scale

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * 7.0, ops.sum(upstream) * 2.0


@pytest.mark.parametrize("within", [False, True])
def test_tapes_take_gradients_of_layers_that_are_written_by_hand(within: bool) -> None:
    layer = Sign()
    model = keras.Sequential([keras.Input((3,)), layer]) if within else layer
    x = ops.convert_to_tensor(X)
    model(x)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(model(x))
    by_x, by_scale = tape.gradient(y, [x, model.trainable_variables[0]])
    np.testing.assert_allclose(y, np.sign(X).sum())
    np.testing.assert_allclose(by_x, np.full((6, 3), 7.0))
    np.testing.assert_allclose(by_scale, 36.0)


class OfArrays(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return np.where(np.asarray(inputs) < 0, -1.0, 1.0)

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return np.asarray(upstream) * (np.abs(inputs) <= 1)


def test_what_only_arrays_can_compute_is_refused_with_the_name_of_the_layer() -> None:
    model = keras.Sequential([keras.Input((3,)), OfArrays(name="arrays")])
    with keras.GradientTape(), pytest.raises(TypeError, match=r"'arrays'.*keras\.ops"):
        model(X)


# Derivatives of derivatives.


def slope_of(network: Any, x: Any) -> Any:
    """The derivative by `x` of the squared norm of the derivative of a network, by central differences."""

    def norm(x: Any) -> float:
        return float(np.sum(np.square(keras.grad(lambda x: ops.sum(network(x) ** 3))(x))))

    found = np.zeros_like(x)
    step = 3e-3
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (norm(x + moved) - norm(x - moved)) / (2 * step)
    return found


@pytest.mark.parametrize(
    "normalization",
    [
        lambda: layers.LayerNormalization(gamma_initializer=keras.initializers.Constant(0.7)),
        layers.RMSNormalization,
        layers.BatchNormalization,
    ],
)
def test_second_derivatives_of_layers(normalization: Any) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="tanh"), normalization(), layers.Dense(2)]
    )
    found = keras.grad(lambda x: ops.sum(ops.square(keras.grad(lambda x: ops.sum(model(x) ** 3))(x))))(X)
    np.testing.assert_allclose(found, slope_of(model, X), rtol=2e-2, atol=2e-2)


def test_what_has_no_second_derivative_says_so() -> None:
    embedding = layers.Embedding(5, 3)
    embedding(np.arange(3))

    def penalty() -> Any:
        _, (slope,) = keras.value_and_grad(
            lambda: ops.sum(embedding(np.arange(3)) ** 2), variables=embedding.trainable_variables
        )()
        return ops.sum(slope**2)

    with pytest.raises(ValueError, match="the gradient of an Embedding has no derivative here"):
        keras.value_and_grad(penalty, variables=embedding.trainable_variables)()[1][0].numpy()
