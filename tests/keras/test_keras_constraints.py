"""Compares constraints with Keras, on arrays and in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import compiled
from twins import OUTPUTS, assert_same_histories, labels_of, twins

import engine

CASES: list[tuple[str, dict[str, Any]]] = [
    ("NonNeg", {}),
    ("MaxNorm", {"max_value": 0.4}),
    ("MaxNorm", {"max_value": 0.2, "axis": 1}),
    ("MaxNorm", {"max_value": 0.5, "axis": [0, 1]}),
    ("MaxNorm", {"max_value": 0.4, "axis": -1}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.8, "rate": 0.3}),
    ("MinMaxNorm", {"min_value": 0.1, "max_value": 0.3, "rate": 0.7, "axis": 1}),
]
X = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 80)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_functions_and_configs(name: str, options: dict[str, Any]) -> None:
    import keras

    theirs = getattr(keras.constraints, name)(**options)
    ours = getattr(engine.constraints, name)(**options)
    w = np.random.default_rng(3).normal(size=(7, 5)).astype(np.float32)
    w[:, 2] = 0
    np.testing.assert_allclose(ours(w), np.asarray(theirs(w)), rtol=1e-6)
    assert ours.get_config() == theirs.get_config()
    again = engine.constraints.deserialize(engine.constraints.serialize(ours))
    assert again is not None
    assert again.get_config() == ours.get_config()


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_training(outputs: int, name: str, options: dict[str, Any]) -> None:
    last, loss = OUTPUTS[outputs]

    def make(api: Any) -> Any:
        constraint = getattr(api.constraints, name)(**options)
        only_axis = options if "axis" not in options else options | {"axis": 0}
        of_bias = getattr(api.constraints, name)(**only_axis)
        model = api.Sequential(
            [
                api.Input((12,)),
                api.layers.Dense(17, "tanh", kernel_constraint=constraint, bias_constraint=of_bias),
                api.layers.Dense(outputs, last, kernel_constraint=constraint),
            ]
        )
        return compiled(model, api.optimizers.Adam(0.01), loss)

    pair = twins(make)
    assert_same_histories(*pair.fit(X, labels_of(Y, outputs), batch_size=8), rtol=1e-4)
    # A column near zero is divided by its norm.
    pair.assert_same_weights(rtol=1e-3, atol=1e-4)


# The layers have weights with one axis and with several, over some of which norms are computed.
LAYERS: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], list[Any]]]] = {
    "batch_normalization": (
        (17,),
        lambda k, bound: [k.BatchNormalization(beta_constraint=bound(0), gamma_constraint=bound(-1))],
    ),
    "layer_normalization": (
        (3, 5),
        lambda k, bound: [
            k.LayerNormalization(beta_constraint=bound(0), gamma_constraint=bound(0)),
            k.LayerNormalization([1, 2], beta_constraint=bound([0, 1]), gamma_constraint=bound(1)),
        ],
    ),
    "group_normalization": (
        (3, 8),
        lambda k, bound: [k.GroupNormalization(4, beta_constraint=bound(0), gamma_constraint=bound(None))],
    ),
    "prelu": (
        (3, 4),
        lambda k, bound: [
            k.PReLU("ones", alpha_constraint=bound(0)),
            k.PReLU("ones", None, bound(-1), [1]),
        ],
    ),
    "embedding": (
        (3,),
        lambda k, bound: [
            k.Embedding(9, 16, embeddings_constraint=bound(1)),
            k.Dense(4),
        ],
    ),
    "embedding_by_columns": ((3,), lambda k, bound: [k.Embedding(9, 5, "uniform", None, bound(0))]),
}


@pytest.mark.parametrize("constraint", ["MaxNorm", "NonNeg"])
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_other_layers(name: str, constraint: str) -> None:
    shape, layers_of = LAYERS[name]

    def make(api: Any) -> Any:
        def bound(axis: Any) -> Any:
            return api.constraints.NonNeg() if constraint == "NonNeg" else api.constraints.MaxNorm(0.3, axis)

        tail = [api.layers.Flatten(), api.layers.Dense(4, "softmax")]
        model = api.Sequential([api.Input(shape), *layers_of(api.layers, bound), *tail])
        return compiled(model, api.optimizers.SGD(0.1), "sparse_categorical_crossentropy")

    rng = np.random.default_rng(5)
    x = rng.integers(0, 9, (80, *shape)) if "embedding" in name else rng.normal(size=(80, *shape))
    pair = twins(make)
    assert_same_histories(*pair.fit(x.astype(np.float32), Y, batch_size=16, epochs=2), rtol=1e-5)
    # The roundings of all steps add up.
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["max_norm", "non_neg", "unit_norm", "min_max_norm", "MaxNorm", "UnitNorm"])
def test_names(name: str) -> None:
    import keras

    if name.islower():
        assert type(engine.constraints.get(name)).__name__ == type(keras.constraints.get(name)).__name__
    assert isinstance(getattr(engine.constraints, name)(), engine.constraints.Constraint)
    model = engine.Sequential([engine.Input((3,)), engine.layers.Dense(2, kernel_constraint=name)])
    again = engine.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
