"""Operations on symbols, layers, models and losses with Python code of their own: trained in Keras and here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import twins  # noqa: F401 # Keras keeps the losses of layers then

import engine

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 4)).astype(np.float32)
Y = RANDOM.normal(size=(24, 2)).astype(np.float32)

Function = Callable[[Any, Any], Any]
"""A function of `ops` and of a symbol (n, 6), that returns a symbol (n, ...)."""

GROUPS: dict[str, list[Function]] = {
    "exponentials": [
        lambda o, x: o.exp(x), lambda o, x: o.expm1(x), lambda o, x: o.log(o.abs(x) + 0.1), lambda o, x: o.log1p(x * x),
        lambda o, x: o.sqrt(x * x + 0.1), lambda o, x: o.rsqrt(x * x + 0.5), lambda o, x: 1 / (1 + o.square(x)),
        lambda o, x: o.logaddexp(x, -x), lambda o, x: 2.0**x, lambda o, x: (o.abs(x) + 0.2) ** 1.5, lambda o, x: x**3,
    ],
    "angles": [
        lambda o, x: o.sin(x), lambda o, x: o.cos(x), lambda o, x: o.tan(x / 4), lambda o, x: o.arctan(x),
        lambda o, x: o.arctan2(x, 1 + x * x), lambda o, x: o.sinh(x), lambda o, x: o.cosh(x), lambda o, x: o.tanh(x),
        lambda o, x: o.arcsinh(x), lambda o, x: o.arcsin(o.tanh(x) * 0.9), lambda o, x: o.erf(x),
        lambda o, x: o.arctanh(o.tanh(x) * 0.9),
    ],
    "activations": [
        lambda o, x: o.relu(x), lambda o, x: o.sigmoid(x), lambda o, x: o.softplus(x), lambda o, x: o.silu(x),
        lambda o, x: o.gelu(x), lambda o, x: o.gelu(x, approximate=False), lambda o, x: o.elu(x), lambda o, x: o.selu(x),
        lambda o, x: o.leaky_relu(x), lambda o, x: o.softsign(x), lambda o, x: o.hard_sigmoid(x),
        lambda o, x: o.log_sigmoid(x), lambda o, x: o.glu(x), lambda o, x: o.softmax(x), lambda o, x: o.log_softmax(x),
    ],
    "choices": [
        lambda o, x: o.where(x > 0, x * x, -x), lambda o, x: o.maximum(x, 0.3), lambda o, x: o.minimum(x, x * x),
        lambda o, x: o.clip(x, -0.5, 0.5), lambda o, x: o.abs(x), lambda o, x: x % 1.0, lambda o, x: x // 0.5 * x,
        lambda o, x: o.sign(x) * x, lambda o, x: o.cast(x > 0, "float32") * x, lambda o, x: o.floor(x) + x,
    ],
    "reductions": [
        lambda o, x: x - o.mean(x, axis=-1, keepdims=True), lambda o, x: o.sum(x, axis=1, keepdims=True),
        lambda o, x: o.max(x, axis=1, keepdims=True), lambda o, x: o.min(x, axis=1)[:, None],
        lambda o, x: o.prod(x, axis=1, keepdims=True), lambda o, x: o.std(x, axis=1, keepdims=True),
        lambda o, x: o.var(x, axis=0) * x,
        lambda o, x: o.logsumexp(x, axis=1, keepdims=True), lambda o, x: o.cumsum(x, axis=1),
        lambda o, x: x * o.mean(x), lambda o, x: o.normalize(x), lambda o, x: x - o.mean(x, axis=0),
    ],
    "products": [
        lambda o, x: o.matmul(x, np.arange(12, dtype="float32").reshape(6, 2) / 10),
        lambda o, x: o.matmul(o.matmul(x, o.transpose(x)), x) / 10,
        lambda o, x: o.einsum("bi,bj->bij", x[:, :2], x[:, 2:]), lambda o, x: o.sum(x * x[:, ::-1], axis=-1, keepdims=True),
        lambda o, x: o.matmul(o.reshape(x, (-1, 2, 3)), o.reshape(x, (-1, 3, 2))),
        lambda o, x: o.tensordot(x, np.ones((6, 2), "float32"), axes=1),
    ],
    "arrangements": [
        lambda o, x: o.concatenate([x[:, 1:3], x[:, :1] * 2], axis=-1), lambda o, x: o.stack([x, x * x], axis=1),
        lambda o, x: o.transpose(o.reshape(x, (-1, 2, 3)), (0, 2, 1)), lambda o, x: o.flip(x, axis=1) * x,
        lambda o, x: o.roll(x, 2, axis=1), lambda o, x: o.repeat(x, 2, axis=1), lambda o, x: o.tile(x, (1, 2)),
        lambda o, x: o.split(x, 3, axis=1)[1], lambda o, x: o.take(x, [0, 5, 2], axis=1), lambda o, x: x[:, ::2],
        lambda o, x: o.pad(x, ((0, 0), (1, 2))), lambda o, x: o.tril(x[:, :, None] * x[:, None, :]),
        lambda o, x: o.take_along_axis(x, o.argmax(x, axis=1, keepdims=True), axis=1), lambda o, x: o.roll(x, 1, axis=0) * x,
        lambda o, x: o.squeeze(o.expand_dims(x, 1), 1),
        lambda o, x: o.stop_gradient(x) * x, lambda o, x: o.one_hot(o.argmax(x, axis=1), 6) * x,
    ],
}  # fmt: skip


def trained(
    api: Any, model: Any, loss: Any, weights: list[np.ndarray] | None, **options: Any
) -> tuple[Any, ...]:
    """Returns the first weights, and losses, predictions, evaluation and weights after training."""
    model.compile(api.optimizers.SGD(0.01), loss, **options)
    model.predict(X[:2], verbose=0)  # builds it
    first = model.get_weights() if weights is None else weights
    model.set_weights(first)
    history = model.fit(X, Y, epochs=3, batch_size=8, shuffle=False, verbose=0).history
    return first, (
        history["loss"],
        model.predict(X, verbose=0),
        model.evaluate(X, Y, verbose=0),
        model.get_weights(),
    )


def assert_same(make: Callable[[Any], tuple[Any, Any]], rtol: float = 1e-4, **options: Any) -> None:
    """Trains what `make` returns for Keras and for this package, a model and a loss, from the same weights."""
    first, expected = trained(keras, *make(keras), None, **options)
    _, found = trained(engine, *make(engine), first)
    for mine, theirs in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-5)
    for mine, theirs in zip(found[3], expected[3], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("group", GROUPS)
def test_operations_train_as_in_keras(group: str) -> None:
    def make(api: Any) -> tuple[Any, Any]:
        x = api.Input((4,))
        hidden = api.layers.Dense(6)(x)
        parts = [api.layers.Flatten()(function(api.ops, hidden)) for function in GROUPS[group]]
        return api.Model(x, api.layers.Dense(2)(api.layers.Concatenate()(parts))), "mse"

    assert_same(make)


def linear(api: Any) -> Any:
    class Linear(api.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", regularizer="l2")

        def call(self, inputs: Any) -> Any:
            return api.ops.matmul(inputs, self.w) + self.b

    return Linear


def block(api: Any) -> Any:
    """A layer with layers in a list and in a dict, one of them its own kind, that adds to the loss."""

    class Block(api.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.first = api.layers.Dense(units, activation="tanh")
            self.rest = [linear(api)(units), api.layers.Dense(units)]
            self.named = {"norm": api.layers.LayerNormalization()}

        def call(self, inputs: Any, training: bool = False) -> Any:
            hidden = self.first(inputs)
            for layer in self.rest:
                hidden = api.ops.gelu(layer(hidden)) + hidden
            self.add_loss(0.01 * api.ops.mean(api.ops.square(hidden)))
            return self.named["norm"](hidden)

    return Block


def test_layers_within_layers_train_as_in_keras() -> None:
    def make(api: Any) -> tuple[Any, Any]:
        x = api.Input((4,))
        hidden = block(api)(5)(api.layers.Dense(5)(x))
        shared = linear(api)(5)
        return api.Model(x, linear(api)(2)(shared(api.ops.tanh(shared(hidden))))), "mse"

    assert_same(make)


def test_models_with_a_call_train_as_in_keras() -> None:
    def make(api: Any) -> tuple[Any, Any]:
        class Net(api.Model):
            def __init__(self) -> None:
                super().__init__()
                self.block, self.norm = block(api)(5), api.layers.BatchNormalization()
                self.out = api.layers.Dense(2)

            def call(self, inputs: Any, training: bool = False) -> Any:
                hidden = self.norm(self.block(inputs), training=training)
                if training:
                    hidden = hidden * 1.5
                gate = inputs[:, :2] * api.ops.exp(-api.ops.abs(inputs[:, 2:]))
                return self.out(api.ops.concatenate([hidden - api.ops.mean(hidden, axis=0), gate], axis=-1))

        return Net(), "mse"

    assert_same(make)


def test_a_kernel_is_used_again_as_in_keras() -> None:
    def make(api: Any) -> tuple[Any, Any]:
        class Turned(api.layers.Layer):
            def __init__(self, dense: Any) -> None:
                super().__init__()
                self.dense = dense

            def call(self, inputs: Any) -> Any:
                return api.ops.matmul(inputs, api.ops.transpose(self.dense.kernel))

        x = api.Input((4,))
        encoder = api.layers.Dense(3, activation="tanh")
        return api.Model(x, Turned(encoder)(encoder(x))[:, :2]), "mse"

    assert_same(make)


LOSSES: dict[str, Callable[[Any], Callable[[Any, Any], Any]]] = {
    "by sample": lambda o: lambda y, p: o.mean(o.logaddexp(y - p, p - y), axis=-1),
    "by output": lambda o: lambda y, p: o.square(y - p) * o.abs(y),
    "of the batch": lambda o: lambda y, p: o.mean(o.square(y - p)) + o.square(o.mean(p)),
    "of pairs of samples": lambda o: lambda y, p: o.mean(o.square(o.matmul(p, o.transpose(p)) - o.matmul(y, o.transpose(y)))),
    "focal": lambda o: lambda y, p: o.mean(
        o.sigmoid(p) ** 2 * o.binary_crossentropy(o.cast(y > 0, "float32"), p, from_logits=True), axis=-1
    ),
    "quantile": lambda o: lambda y, p: o.mean(o.maximum(0.9 * (y - p), -0.1 * (y - p)), axis=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_without_a_gradient_train_as_in_keras(name: str) -> None:
    def make(api: Any) -> tuple[Any, Any]:
        x = api.Input((4,))
        return api.Model(x, api.layers.Dense(2)(api.layers.Dense(5, "tanh")(x))), LOSSES[name](api.ops)

    assert_same(make)


def test_penalties_without_a_gradient_train_as_in_keras() -> None:
    def make(api: Any) -> tuple[Any, Any]:
        o = api.ops

        class Power(api.regularizers.Regularizer):
            def __call__(self, x: Any) -> Any:
                return 0.01 * o.sum(o.abs(x) ** 1.5)

        x = api.Input((4,))
        hidden = api.layers.Dense(
            5, "tanh", kernel_regularizer=Power(), bias_regularizer=lambda w: 0.1 * o.sum(w * w)
        )(x)
        hidden = api.layers.Dense(3, activity_regularizer=lambda y: 0.02 * o.sum(o.square(y)))(hidden)
        return api.Model(x, api.layers.Dense(2, kernel_regularizer="l2")(hidden)), "mse"

    assert_same(make)


ACTIVATIONS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "softplus": lambda o: lambda x: o.log(o.exp(x) + 1.0),
    "swish": lambda o: lambda x: x * o.sigmoid(1.7 * x),
    "centred": lambda o: lambda x: o.where(x > 0, x, 0.1 * x) - o.mean(x, axis=-1, keepdims=True),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_without_a_gradient_train_as_in_keras(name: str) -> None:
    def make(api: Any) -> tuple[Any, Any]:
        x, function = api.Input((4,)), ACTIVATIONS[name](api.ops)
        return api.Model(
            x, api.layers.Dense(2)(api.layers.Activation(function)(api.layers.Dense(5, function)(x)))
        ), "mse"

    assert_same(make)


MERGING: dict[str, Callable[[Any, Any, Any], Any]] = {
    "subtract": lambda k, a, b: k.Subtract()([a, b]),
    "multiply": lambda k, a, b: k.Multiply()([a, b, a]),
    "average": lambda k, a, b: k.average([a, b]),
    "maximum": lambda k, a, b: k.maximum([a, b]),
    "minimum": lambda k, a, b: k.Minimum()([a, b]),
    "dot": lambda k, a, b: k.Dot(axes=-1)([a, b]),
    "cosine": lambda k, a, b: k.dot([a, b], axes=1, normalize=True),
    "add to each row": lambda k, a, b: k.Flatten()(k.Add()([k.Reshape((1, 6))(a), k.Reshape((6, 1))(b)])),
    "dot of matrices": lambda k, a, b: k.Flatten()(k.Dot(axes=(1, 2))([k.Reshape((2, 3))(a), k.Reshape((3, 2))(b)])),
    "multiply of other ranks": lambda k, a, b: k.Flatten()(k.multiply([k.Reshape((2, 6))(k.Dense(12)(a)), b])),
}  # fmt: skip


@pytest.mark.parametrize("name", MERGING)
def test_merging_layers_train_as_in_keras(name: str) -> None:
    def make(api: Any) -> tuple[Any, Any]:
        x = api.Input((4,))
        merged = MERGING[name](api.layers, api.layers.Dense(6)(x), api.layers.Dense(6)(x))
        return api.Model(x, api.layers.Dense(2)(merged)), "mse"

    assert_same(make)


def test_names_and_summaries_are_those_of_keras() -> None:
    def listed(api: Any) -> tuple[Any, ...]:
        api.utils.clear_session()
        o = api.ops
        x, y = api.Input((4,), name="x"), api.Input((4,), name="y")
        z = o.concatenate([-x * 2.0 + y / 3, x[:, 1:3], o.expand_dims(y[:, 0], -1)], axis=1)
        z = o.relu(z) ** 2 - abs(z) % 2 + o.clip(z, 0, 1)
        z = o.where(z > 0.5, z, o.zeros_like(z))
        model = api.Model([x, y], o.mean(z, axis=-1, keepdims=True))
        lines: list[str] = []
        model.summary(print_fn=lines.append)
        return [layer.name for layer in model.layers], z.shape, "\n".join(lines)

    assert listed(engine) == listed(keras)
