"""Tests that large layers, whose products use packed blocks, have the bits of the numerical contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import chained_product, input_gradient, layer_product, same_bits
from numpy.typing import NDArray

import engine as keras

Array = NDArray[Any]
Weights = list[Array]

pytestmark = pytest.mark.usefixtures("threads_as_before")


def normal(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def step(weights: Weights, x: Array, y: Array) -> Weights:
    """Returns the weights of two dense layers after a step of SGD(1) on the mean squared error, to the bit."""
    kernel, bias, last_kernel, last_bias = weights
    hidden = np.maximum(layer_product(x, kernel, bias), 0)
    dz = (layer_product(hidden, last_kernel, last_bias) - y) * np.float32(2 / y.size)
    dx = np.where(hidden > 0, input_gradient(dz, last_kernel), np.float32(0))
    return [
        kernel - chained_product(x.T, dx),
        bias - chained_product(np.ones((1, len(x)), np.float32), dx)[0],
        last_kernel - chained_product(hidden.T, dz),
        last_bias - chained_product(np.ones((1, len(x)), np.float32), dz)[0],
    ]


def network(inputs: int, hidden: int, units: int) -> Weights:
    return [normal(inputs, hidden) / 16, normal(hidden), normal(hidden, units) / 16, normal(units)]


def train(weights: Weights, x: Array, y: Array, batch_size: int, **options: Any) -> Weights:
    """Returns the weights after an epoch. The options are those of SGD, and `shuffle` is that of `fit`."""
    shuffle = options.pop("shuffle", False)
    hidden, units = (len(bias) for bias in weights[1::2])
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(hidden, activation="relu"), keras.layers.Dense(units)])
    model.compile(keras.optimizers.SGD(1.0, **options), "mse")
    model.build((None, *x.shape[1:]))
    model.set_weights(weights)
    model.fit(x, y, batch_size=batch_size, shuffle=shuffle, verbose=0)
    trained: Weights = model.get_weights()
    return trained


def equal(found: Weights, expected: Weights) -> bool:
    return all(same_bits(a, b) for a, b in zip(found, expected, strict=True))


# Whole and partial blocks and panels; batches of several chains; more units than a block of a gradient has; more terms
# than are packed at a time; last batches of few rows and of one.
@pytest.mark.parametrize(
    ("batches", "sizes"),
    [
        ([128], (256, 256, 256)),
        ([130, 1], (257, 272, 259)),
        ([300, 9], (300, 521, 256)),
        ([200, 8], (256, 257, 300)),
        ([128], (1000, 256, 257)),
        ([200], (2100, 256, 256)),
        ([128, 40], (256, 300, 530)),
        ([130, 9], (256, 257, 1100)),
        ([140], (256, 300, 279)),
    ],
)
def test_steps_of_large_layers_have_the_bits_of_the_contract(
    batches: list[int], sizes: tuple[int, int, int]
) -> None:
    x, y = normal(sum(batches), sizes[0]), normal(sum(batches), sizes[2])
    first = expected = network(*sizes)
    for begin in np.cumsum([0, *batches[:-1]]):
        part = slice(begin, begin + batches[0])
        expected = step(expected, x[part], y[part])
    for threads in (1, 2, 3, 4):
        keras.config.set_threads(threads)
        assert equal(train(first, x, y, batches[0]), expected), threads


def test_rows_anywhere_and_stored_gradients_give_the_same_bits() -> None:
    weights, x, y = network(300, 330, 270), normal(500, 300), normal(500, 270)
    for shuffle in (False, True):
        keras.config.set_threads(1)
        expected = train(weights, x.astype(np.float64), y, 200, shuffle=shuffle)
        for threads in (1, 2):
            keras.config.set_threads(threads)
            assert equal(train(weights, x, y, 200, shuffle=shuffle), expected)
            assert equal(train(weights, x, y, 200, shuffle=shuffle, clipvalue=1e30), expected)


def test_rows_of_samples_give_the_bits_of_samples() -> None:
    weights, x, y = network(300, 330, 270), normal(40, 10, 300), normal(40, 10, 270)
    expected = train(weights, x.reshape(400, 300), y.reshape(400, 270), 200)
    assert equal(train(weights, x, y, 20), expected)


@pytest.mark.parametrize("rows", [31, 300])
def test_predictions_of_large_layers_have_the_bits_of_the_contract(rows: int) -> None:
    (kernel, bias), x = network(257, 400, 1)[:2], normal(rows, 257)
    model = keras.Sequential([keras.layers.Dense(400, activation="relu")])
    model.build((None, 257))
    model.set_weights([kernel, bias])
    expected = np.maximum(layer_product(x, kernel, bias), 0)
    for threads in (1, 2, 3):
        keras.config.set_threads(threads)
        assert same_bits(model.predict(x, verbose=0), expected)
