"""Compares the usual families of dense networks with Keras: towers, wide and deep, residual, cross and siamese networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import assert_same_histories, twins

RNG = np.random.default_rng(5)
COUNT = 40
X = RNG.standard_normal((COUNT, 4)).astype("float32")
PAIR = [X, RNG.standard_normal((COUNT, 4)).astype("float32")]
IDS = [RNG.integers(0, 7, (COUNT, 1)), RNG.integers(0, 9, (COUNT, 1))]
Y = (X.sum(axis=1) > 0).astype("float32")


def two_towers(api: Any) -> Any:
    """Users and items, whose vectors are multiplied."""
    inputs = [api.Input((1,), dtype="int32", name=name) for name in ("user", "item")]
    layers = api.layers
    vectors = [
        layers.Dense(3, "tanh")(layers.Flatten()(layers.Embedding(rows, 4)(one)))
        for one, rows in zip(inputs, (7, 9), strict=True)
    ]
    return api.Model(inputs, layers.Activation("sigmoid")(layers.Dot(axes=1, normalize=True)(vectors)))


def wide_and_deep(api: Any) -> Any:
    """A linear part beside a deep one, and a second output from the deep one."""
    inputs = [api.Input((4,), name=name) for name in ("wide", "deep")]
    hidden = api.layers.Dense(6, "relu")(api.layers.Dense(6, "relu")(inputs[1]))
    joined = api.layers.concatenate([inputs[0], hidden])
    return api.Model(
        inputs, [api.layers.Dense(1, "sigmoid", name="main")(joined), api.layers.Dense(1, name="aux")(hidden)]
    )


def residual(api: Any) -> Any:
    """Two blocks whose inputs are added to their outputs."""
    inputs = api.Input((4,))
    value = inputs
    for _ in range(2):
        inner = api.layers.Dense(4)(api.layers.Dense(8, "gelu")(api.layers.LayerNormalization()(value)))
        value = api.layers.add([value, inner])
    return api.Model(inputs, api.layers.Dense(1, "sigmoid")(value))


def cross_network(api: Any) -> Any:
    """DCN: x0 * (W x + b) + x beside a deep part."""
    inputs = api.Input((4,))
    crossed = inputs
    for _ in range(2):
        crossed = inputs * api.layers.Dense(4)(crossed) + crossed
    deep = api.layers.Dense(6, "relu")(inputs)
    return api.Model(inputs, api.layers.Dense(1, "sigmoid")(api.layers.Concatenate()([crossed, deep])))


def siamese(api: Any) -> Any:
    """One network for both inputs, and the distance of its outputs."""
    encoder = api.Sequential([api.Input((4,)), api.layers.Dense(6, "relu"), api.layers.Dense(3)])
    inputs = [api.Input((4,)), api.Input((4,))]
    one, other = encoder(inputs[0]), encoder(inputs[1])
    distance = api.ops.sqrt(api.ops.sum(api.ops.square(one - other), axis=1, keepdims=True) + 1e-6)
    return api.Model(inputs, api.layers.Dense(1, "sigmoid")(distance))


FAMILIES: dict[str, tuple[Any, Any, Any]] = {
    "two_towers": (two_towers, IDS, Y),
    "wide_and_deep": (wide_and_deep, PAIR, [Y, X[:, :1]]),
    "residual": (residual, X, Y),
    "cross_network": (cross_network, X, Y),
    "siamese": (siamese, PAIR, Y),
}


@pytest.mark.parametrize(("make", "x", "y"), FAMILIES.values(), ids=FAMILIES)
def test_training(make: Any, x: Any, y: Any) -> None:
    def compiled(api: Any) -> Any:
        model = make(api)
        several = len(model.outputs) > 1
        loss = ["binary_crossentropy", "mse"] if several else "binary_crossentropy"
        model.compile(api.optimizers.SGD(0.1), loss, loss_weights=[1.0, 0.3] if several else None)
        return model

    both = twins(compiled)
    assert_same_histories(*both.fit(x, y, epochs=2, batch_size=16))
    both.assert_same_weights()
    for ours, theirs in zip(*(np.atleast_3d(each.predict(x, verbose=0)) for each in both), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
