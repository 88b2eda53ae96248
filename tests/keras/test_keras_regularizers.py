"""Compares regularizers with Keras: on arrays, weights and outputs, in the loss and in its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import compiled
from twins import OUTPUTS, Twins, assert_same_histories, labels_of, twins

import engine

CASES: list[tuple[str, dict[str, Any]]] = [
    ("L1", {}),
    ("L1", {"l1": 0.003}),
    ("L2", {"l2": 0.02}),
    ("L1L2", {"l1": 0.002, "l2": 0.01}),
    ("OrthogonalRegularizer", {"factor": 0.5}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]
X = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 80)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_functions_and_configs(name: str, options: dict[str, Any]) -> None:
    import keras

    theirs = getattr(keras.regularizers, name)(**options)
    ours = getattr(engine.regularizers, name)(**options)
    w = np.random.default_rng(3).normal(size=(7, 5)).astype(np.float32)
    assert ours(w) == pytest.approx(float(theirs(keras.ops.convert_to_tensor(w))), rel=1e-5)
    assert ours.get_config() == pytest.approx(theirs.get_config()) if name[0] == "L" else True
    again = engine.regularizers.deserialize(engine.regularizers.serialize(ours))
    assert again is not None
    assert again.get_config() == ours.get_config()


def check(pair: Twins, y: Any = Y) -> None:
    """Compares losses and weights. The tolerance is for sums in different orders, and for ten steps."""
    histories = pair.fit(X, y, batch_size=8, epochs=2, validation_data=(X[:20], y[:20]))
    assert_same_histories(*histories, rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_on_weights(outputs: int, optimizer: str, name: str, options: dict[str, Any]) -> None:
    last, loss = OUTPUTS[outputs]
    has_pairs = outputs > 1 or options.get("mode") != "columns"

    def make(api: Any) -> Any:
        of_kernel = getattr(api.regularizers, name)(**options)
        of_bias = None if name == "OrthogonalRegularizer" else of_kernel
        model = api.Sequential(
            [
                api.Input((12,)),
                api.layers.Dense(17, "tanh", kernel_regularizer=of_kernel, bias_regularizer=of_bias),
                # Keras divides by the number of pairs of columns, which is zero for one output.
                api.layers.Dense(outputs, last, kernel_regularizer=of_kernel if has_pairs else None),
            ]
        )
        rule = {"epsilon": 1e-4} if optimizer == "RMSprop" else {}
        return compiled(model, getattr(api.optimizers, optimizer)(0.01, **rule), loss)

    check(twins(make), labels_of(Y, outputs))


@pytest.mark.parametrize("options", [{"l1": 0.01}, {"l1": 0.01, "l2": 0.02}], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_on_outputs(options: dict[str, Any], activation: str | None, as_layer: bool) -> None:
    def make(api: Any) -> Any:
        of_outputs = None if as_layer else api.regularizers.L1L2(**options)
        extra = [api.layers.ActivityRegularization(**options)] if as_layer else []
        model = api.Sequential(
            [
                api.Input((12,)),
                *extra,
                api.layers.Dense(17, activation, activity_regularizer=of_outputs),
                *([api.layers.ActivityRegularization(**options)] if as_layer else []),
                api.layers.Dense(4, activity_regularizer=of_outputs),
                api.layers.Activation("softmax"),
            ]
        )
        return compiled(model, api.optimizers.SGD(0.05), "sparse_categorical_crossentropy")

    check(twins(make))


@pytest.mark.parametrize("trainable", [False, True])
def test_frozen_weights_are_left_out(trainable: bool) -> None:
    def make(api: Any) -> Any:
        layer = api.layers.Dense(17, "tanh", kernel_regularizer="l1", kernel_constraint="non_neg")
        layer.trainable = trainable
        model = api.Sequential([api.Input((12,)), layer, api.layers.Dense(4, "softmax")])
        return compiled(model, api.optimizers.Adamax(0.01), "sparse_categorical_crossentropy")

    check(twins(make))


@pytest.mark.parametrize("name", ["l1", "l2", "l1l2", "orthogonal_regularizer"])
def test_names(name: str) -> None:
    import keras

    assert type(engine.regularizers.get(name)).__name__ == type(keras.regularizers.get(name)).__name__
    attribute = "l1_l2" if name == "l1l2" else name
    assert isinstance(getattr(engine.regularizers, attribute)(), engine.Regularizer)
