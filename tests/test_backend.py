"""The backend of Keras 2: `K.mean` and the other functions that older scripts are written with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from engine import backend as K  # noqa: N812 # so scripts call it
from engine import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("float32")
Y = RNG.normal(size=(3, 4)).astype("float32")
STACK = RNG.normal(size=(3, 5, 4)).astype("float32")

CASES: dict[str, tuple[Any, Any]] = {
    "argmax": (lambda: K.argmax(X), X.argmax(-1)),
    "argmin": (lambda: K.argmin(X, axis=0), X.argmin(0)),
    "batch_dot": (lambda: K.batch_dot(X, Y, axes=1), (X * Y).sum(1, keepdims=True)),
    "batch_dot of vectors": (lambda: K.batch_dot(X, Y), (X * Y).sum(1, keepdims=True)),
    "batch_dot of a matrix": (lambda: K.batch_dot(X, STACK, axes=(1, 2)), np.einsum("az,abz->ab", X, STACK)),
    "batch_dot of matrices": (
        lambda: K.batch_dot(STACK, STACK, axes=(2, 2)),
        np.einsum("abz,acz->abc", STACK, STACK),
    ),
    "batch_dot of more axes": (
        lambda: K.batch_dot(STACK[:, None], STACK, axes=(3, 2)),
        np.einsum("aebz,acz->aebc", STACK[:, None], STACK),
    ),
    "batch_flatten": (lambda: K.batch_flatten(STACK), STACK.reshape(3, -1)),
    "bias_add": (lambda: K.bias_add(X, np.arange(4.0)), X + np.arange(4)),
    "cast_to_floatx": (lambda: K.cast_to_floatx(np.arange(3)), np.arange(3, dtype="float32")),
    "clip": (lambda: K.clip(X, 0, None), X.clip(0)),
    "clip to a range upside down": (lambda: K.clip(X, 1, 0), np.ones_like(X)),
    "concatenate": (lambda: K.concatenate([X, Y]), np.concatenate([X, Y], -1)),
    "constant": (lambda: K.constant(2, shape=(2, 3)), np.full((2, 3), 2, "float32")),
    "cumprod": (lambda: K.cumprod(X), X.cumprod(0)),
    "cumsum": (lambda: K.cumsum(X), X.cumsum(0)),
    "eval": (lambda: K.eval(K.variable(X)), X),
    "expand_dims": (lambda: K.expand_dims(X), X[..., None]),
    "eye": (lambda: K.eye(3), np.eye(3, dtype="float32")),
    "flatten": (lambda: K.flatten(X), X.ravel()),
    "gather": (lambda: K.gather(X, [2, 0]), X[[2, 0]]),
    "hard_sigmoid": (lambda: K.hard_sigmoid(X), (0.2 * X + 0.5).clip(0, 1)),
    "in_test_phase": (lambda: K.in_test_phase(X, lambda: Y, training=False), X),
    "in_top_k": (lambda: K.in_top_k(X, X.argmax(-1), 1), np.ones(3, bool)),
    "in_train_phase": (lambda: K.in_train_phase(lambda: X, Y, training=True), X),
    "in_train_phase by default": (lambda: K.in_train_phase(X, Y), Y),
    "l2_normalize": (
        lambda: K.l2_normalize(X, axis=-1),
        X / np.linalg.norm(X, axis=-1, keepdims=True),
    ),
    "l2_normalize of zeros": (lambda: K.l2_normalize(np.zeros(3)), np.zeros(3)),
    "map_fn": (lambda: K.map_fn(lambda row: row * 2, X), X * 2),
    "mean": (lambda: K.mean(X, axis=-1, keepdims=True), X.mean(-1, keepdims=True)),
    "mean of truth values": (lambda: K.mean(X > 0), (X > 0).mean()),
    "moving_average_update": (
        lambda: K.moving_average_update(K.variable(X), Y, 0.75).numpy(),
        X * 0.75 + Y * 0.25,
    ),
    "ones": (lambda: K.ones((2, 3)), np.ones((2, 3), "float32")),
    "ones_like": (lambda: K.ones_like(X), np.ones_like(X)),
    "permute_dimensions": (lambda: K.permute_dimensions(STACK, [0, 2, 1]), STACK.transpose(0, 2, 1)),
    "pow": (lambda: K.pow(X, 2), X**2),
    "relu": (lambda: K.relu(X, alpha=0.1, max_value=0.5), np.minimum(np.where(X >= 0, X, 0.1 * X), 0.5)),
    "relu from a threshold": (lambda: K.relu(X, threshold=0.5), np.where(X >= 0.5, X, 0)),
    "repeat": (lambda: K.repeat(X, 2), np.stack([X, X], 1)),
    "repeat_elements": (lambda: K.repeat_elements(X, 2, axis=1), X.repeat(2, 1)),
    "reverse": (lambda: K.reverse(STACK, [0, 2]), STACK[::-1, :, ::-1]),
    "switch": (lambda: K.switch(X[:, 0] > 0, X, lambda: Y), np.where(X[:, :1] > 0, X, Y)),
    "to_dense": (lambda: K.to_dense(X), X),
    "update": (lambda: K.update(K.variable(X), Y).numpy(), Y),
    "update_add": (lambda: K.update_add(K.variable(X), Y).numpy(), X + Y),
    "update_sub": (lambda: K.update_sub(K.variable(X), Y).numpy(), X - Y),
    "zeros": (lambda: K.zeros((2, 3)), np.zeros((2, 3), "float32")),
    "zeros_like": (lambda: K.zeros_like(X), np.zeros_like(X)),
}


@pytest.mark.parametrize("name", CASES)
def test_functions_of_keras_2(name: str) -> None:
    compute, expected = CASES[name]
    found = compute()
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_random_numbers() -> None:
    assert set(np.unique(K.random_bernoulli((50, 2), p=0.5))) == {0, 1}
    assert abs(K.random_normal((2000,), mean=3.0, stddev=0.1).mean() - 3) < 0.02
    assert 2 <= K.random_uniform((50,), 2, 3).min() < K.random_uniform((50,), 2, 3).max() < 3
    assert abs(K.truncated_normal((200,))).max() <= 2
    np.testing.assert_array_equal(K.random_normal((4,), seed=1), K.random_normal((4,), seed=1))
    assert 0 < (K.dropout(np.ones(100), 0.5) == 0).sum() < 100


def test_a_variational_autoencoder_of_keras_2() -> None:
    """The sampling, and the loss, are as books for Keras 2 write them."""
    inputs = layers.Input((6,))
    mean, log_var = layers.Dense(2)(inputs), layers.Dense(2)(inputs)

    def sample(args: Any) -> Any:
        middle, spread = args
        noise = K.random_normal(shape=(K.shape(middle)[0], K.int_shape(middle)[1]), mean=0.0, stddev=1.0)
        return middle + K.exp(spread / 2) * noise

    outputs = layers.Dense(6, "sigmoid")(layers.Lambda(sample, output_shape=(2,))([mean, log_var]))
    vae = engine.Model(inputs, outputs)
    distance = engine.losses.binary_crossentropy(inputs, outputs) * 6
    divergence = -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)
    vae.add_loss(K.mean(distance + divergence))
    vae.compile("rmsprop")
    x = RNG.random((64, 6)).astype("float32")
    losses = vae.fit(x, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_functions_of_hidden_layers() -> None:
    inputs = layers.Input((4,))
    hidden = layers.Dense(3)(inputs)
    model = engine.Model(inputs, layers.Dropout(0.5)(hidden))
    compute = K.function([model.input, K.learning_phase()], [hidden, model.output])
    first, dropped = compute([X, 1])
    np.testing.assert_array_equal(first, model.layers[1](X))
    assert (dropped == 0).any()
    np.testing.assert_array_equal(*compute([X, 0]))
    np.testing.assert_array_equal(K.function(inputs, hidden)(X), first)
    with pytest.raises(ValueError, match="the function takes 2 inputs, got 1"):
        compute([X])
    with pytest.raises(ValueError, match="`updates` must be None or empty"):
        K.function([inputs], [hidden], updates=[1])


def test_printed_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    assert K.print_tensor(X, "x = ") is X
    assert capsys.readouterr().out.startswith("x = [[")
    symbol = layers.Input((2,))
    assert K.print_tensor(symbol) is symbol


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="`x` and `y` must have two axes or more, got 1 and 2"):
        K.batch_dot(X[0], X)
    with pytest.raises(ValueError, match="`axes` must not be the axis of the samples"):
        K.batch_dot(X, Y, axes=0)
    with pytest.raises(ValueError, match="`data_format` must be 'channels_last' or None"):
        K.bias_add(X, X[0], data_format="channels_first")
    K.set_learning_phase(0)
    with pytest.raises(ValueError, match="pass `training=True` to the call"):
        K.set_learning_phase(1)
    with pytest.raises(AttributeError, match="functions are derived by GradientTape"):
        K.gradients([], [])
