"""Gradients by what several dense layers read: the product of one layer adds what another one has computed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import layers

Array = NDArray[np.float32]
U = 2.0**-24
INPUTS = 5


def network(width: int, units: int, activation: str) -> keras.Model:
    """Two layers that read the output of a third one, and their sum."""
    keras.utils.set_random_seed(3)
    x = keras.Input((INPUTS,))
    h = layers.Dense(width, activation=activation, name="first")(x)
    y = layers.Add()([layers.Dense(units, name="left")(h), layers.Dense(units, name="right")(h)])
    model = keras.Model(x, y)
    model.compile(keras.optimizers.SGD(1.0), loss=keras.losses.MeanSquaredError(reduction="sum"))
    return model


def gradient_of_first(model: keras.Model, x: Array, y: Array) -> Array:
    before = model.get_layer("first").get_weights()[0]
    model.train_on_batch(x, y)
    difference: Array = before.astype(float) - model.get_layer("first").get_weights()[0]
    return difference


def data(rows: int, units: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(0)
    # Small errors, so that a step changes each weight by less than its own size and loses few digits.
    return draw.normal(size=(rows, INPUTS)).astype(np.float32), np.zeros((rows, units), np.float32)


# Rows, width of the first layer and units of the others: few units, several chains of terms, packed blocks.
SIZES = [(7, 20, 3), (33, 40, 10), (20, 70, 600), (40, 33, 300), (160, 256, 256), (130, 300, 520)]


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values(sizes: tuple[int, int, int], activation: str) -> None:
    rows, width, units = sizes
    x, y = data(rows, units)
    model = network(width, units, activation)
    text = keras.utils.explain_batch(model, batch_size=rows)
    assert ("with addend through relu" if activation == "relu" else "with addend") in text
    first, left, right = (
        [w.astype(float) for w in model.get_layer(name).get_weights()] for name in ("first", "left", "right")
    )
    z = x.astype(float) @ first[0] + first[1]
    h = {"linear": z, "relu": np.maximum(z, 0), "tanh": np.tanh(z)}[activation]
    slope = {"linear": np.ones_like(z), "relu": (z > 0) * 1.0, "tanh": 1 - h**2}[activation]
    dy = 2 / units * (h @ (left[0] + right[0]) + left[1] + right[1] - y)
    want = x.T @ (slope * (dy @ left[0].T + dy @ right[0].T))
    size = np.abs(x).T @ (np.abs(dy) @ (np.abs(left[0]) + np.abs(right[0])).T)
    bound = 64 * U * (size + np.abs(first[0]) + np.abs(want))
    assert (np.abs(gradient_of_first(model, x, y) - want) <= bound).all()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_threads_change_no_bit(sizes: tuple[int, int, int]) -> None:
    rows, width, units = sizes
    x, y = data(rows, units)
    trained = []
    for threads in (1, 2, 3):
        keras.config.set_threads(threads)
        try:
            model = network(width, units, "relu")
            model.fit(np.tile(x, (3, 1)), np.tile(y, (3, 1)), batch_size=rows, epochs=1, verbose=0)
            trained.append(model.get_weights())
        finally:
            keras.config.set_threads(None)
    for others in trained[1:]:
        for a, b in zip(trained[0], others, strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.isfinite(a).all()


def test_a_gradient_that_something_else_reads_is_no_part_of_the_product() -> None:
    x = keras.Input((4,))
    h = layers.Dense(6, name="first")(x)
    y = layers.Add()([layers.Dense(6, name="left")(h), h])  # dh = dy left + dy
    model = keras.Model(x, y)
    model.compile(keras.optimizers.SGD(1.0), loss=keras.losses.MeanSquaredError(reduction="sum"))
    assert "with addend" in keras.utils.explain_batch(model)
    given = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    first, left = (model.get_layer(name).get_weights() for name in ("first", "left"))
    h_value = given @ first[0] + first[1]
    dy = 2 / 6 * (h_value @ left[0] + left[1] + h_value)
    want = given.T @ (dy @ left[0].T + dy)
    np.testing.assert_allclose(
        gradient_of_first(model, given, np.zeros((8, 6), np.float32)), want, rtol=1e-4, atol=1e-5
    )
