"""Losses that refer to symbols of the model, as scripts for Keras 2 write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, compiled

import engine as keras
from engine import backend as K  # noqa: N812 # the name that scripts have
from engine import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 4)).astype(np.float32)
ADVANTAGES = RNG.normal(size=10).astype(np.float32)
Y = np.eye(2, dtype=np.float32)[RNG.integers(0, 2, 10)]


def policy(*, added: bool, kind: Any = list) -> Any:
    """A policy whose loss is weighted by an input, which its function refers to, or which `add_loss` gets."""
    keras.utils.set_random_seed(0)
    states, advantages = keras.Input((4,), name="states"), keras.Input((1,), name="advantages")
    hidden = layers.Dense(8, "relu", kernel_regularizer="l2")(states)
    outputs = layers.Dense(2, "softmax")(hidden)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return K.sum(-y_true * K.log(K.clip(y_pred, 1e-8, 1)) * advantages)

    inputs = {"states": states, "advantages": advantages} if kind is dict else [states, advantages]
    if not added:
        return compiled(keras.Model(inputs, outputs), keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    actions = keras.Input((2,))
    model = keras.Model([states, advantages, actions], outputs)
    model.add_loss(loss(actions, outputs))
    return compiled(model, keras.optimizers.Adam(0.01))


def test_a_loss_that_refers_to_an_input() -> None:
    model, twin = policy(added=False), policy(added=True)
    history = model.fit([X, ADVANTAGES], Y, 4, epochs=3, shuffle=False, verbose=0).history
    expected = twin.fit([X, ADVANTAGES, Y], batch_size=4, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    assert_all_close(model.get_weights(), twin.get_weights(), atol=1e-5)
    assert "accuracy" in history
    np.testing.assert_allclose(
        model.evaluate([X, ADVANTAGES], Y, verbose=0)[0],
        twin.evaluate([X, ADVANTAGES, Y], verbose=0),
        rtol=1e-4,
    )
    assert np.isclose(model.train_on_batch([X, ADVANTAGES], Y)[0], twin.train_on_batch([X, ADVANTAGES, Y]))


def test_inputs_by_name() -> None:
    model, twin = policy(added=False, kind=dict), policy(added=False)
    named = {"states": X, "advantages": ADVANTAGES}
    assert (
        model.fit(named, Y, verbose=0, shuffle=False).history
        == twin.fit([X, ADVANTAGES], Y, verbose=0, shuffle=False).history
    )


def test_a_variational_autoencoder() -> None:
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, "relu")(inputs)
    mean, log_variance = layers.Dense(2)(hidden), layers.Dense(2)(hidden)

    def sample(values: Any) -> Any:
        noise = K.random_normal(shape=(K.shape(values[0])[0], 2))
        return values[0] + K.exp(values[1] / 2) * noise

    outputs = layers.Dense(6, "sigmoid")(layers.Lambda(sample)([mean, log_variance]))

    def divergence() -> Any:
        return -0.5 * K.mean(1 + log_variance - K.square(mean) - np.exp(log_variance), axis=-1)

    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.binary_crossentropy(y_true, y_pred) + divergence()

    model = compiled(keras.Model(inputs, outputs), keras.optimizers.Adam(0.01), loss)
    x = RNG.random((64, 6)).astype(np.float32)
    history = model.fit(x, x, epochs=5, verbose=0, validation_data=(x, x)).history
    assert history["loss"][-1] < history["loss"][0]
    weights = dict(zip((each.path for each in model.weights), model.get_weights(), strict=True))
    assert all(np.isfinite(each).all() for each in weights.values())
    found = keras.Model(inputs, [outputs, mean, log_variance])
    assert found.predict(x, verbose=0)[1].shape == (64, 2)


def test_another_loss_needs_no_values() -> None:
    model = compiled(policy(added=False), "sgd", "mse")
    assert not model._has_step("train_step")
    with pytest.warns(UserWarning, match="no layer of model .* reads its input 'advantages'"):
        model.fit([X, ADVANTAGES], Y, verbose=0)


def test_symbols_of_another_model() -> None:
    other = keras.Input((3,))

    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred)) * ops.mean(other)

    inputs = keras.Input((4,))
    model = compiled(keras.Model(inputs, layers.Dense(2)(inputs)), "sgd", loss)
    with pytest.raises(TypeError, match="stands for numbers that are there only when a batch runs"):
        model.fit(X, Y, verbose=0)
