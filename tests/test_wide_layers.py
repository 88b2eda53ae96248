"""Tests of layers so wide that threads share the columns of their vectors, such as a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras

Array = NDArray[Any]

# Many panels of columns, the last of them narrower.
UNITS, ROWS = 9192, 5
rng = np.random.default_rng(0)


def numbers(*shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


def model_of(layer: keras.layers.Layer, inputs: int) -> keras.Sequential:
    model = keras.Sequential([keras.Input((inputs,)), layer])
    model.set_weights([np.abs(numbers(*w.shape)) + 0.1 for w in model.weights])
    return model


@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inputs", [1, 3])
def test_dense_predicts_and_learns(inputs: int, threads: int) -> None:
    keras.config.set_threads(threads)
    model = model_of(keras.layers.Dense(UNITS), inputs)
    kernel, bias = model.get_weights()
    x, y = numbers(ROWS, inputs), numbers(ROWS, UNITS)
    expected = x.astype(float) @ kernel + bias
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)
    rate = 100.0
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(x, y, batch_size=ROWS, verbose=0)
    slope = 2 * (expected - y) / expected.size
    stepped = [kernel - rate * x.T @ slope, bias - rate * slope.sum(axis=0)]
    for weight, value in zip(model.get_weights(), stepped, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-5)


def standardized(x: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    return (x - mean) / np.sqrt(variance + epsilon)


def test_batch_normalization_predicts() -> None:
    model = model_of(keras.layers.BatchNormalization(), UNITS)
    gamma, beta, mean, variance = model.get_weights()
    x = numbers(ROWS, UNITS)
    expected = standardized(x, mean, variance, 1e-3) * gamma + beta
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_layer_normalization_predicts() -> None:
    model = model_of(keras.layers.LayerNormalization(), UNITS)
    gamma, beta = model.get_weights()
    x = numbers(ROWS, UNITS)
    mean, variance = (f(x.astype(float), axis=1, keepdims=True) for f in (np.mean, np.var))
    expected = standardized(x, mean, variance, 1e-3) * gamma + beta
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_prelu_predicts() -> None:
    model = model_of(keras.layers.PReLU(), UNITS)
    (alpha,) = model.get_weights()
    x = numbers(ROWS, UNITS)
    assert np.array_equal(model.predict(x, verbose=0), np.where(x > 0, x, alpha * x))
