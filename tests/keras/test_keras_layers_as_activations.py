"""Layers with weights as the activation of another layer, such as `Dense(8, activation=PReLU())`, beside Keras."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled

import engine

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = RNG.normal(size=(64, 1)).astype(np.float32)
ACTIVATIONS = pytest.mark.parametrize(
    ("name", "options"),
    [
        ("PReLU", {"alpha_initializer": "ones", "alpha_regularizer": "l2"}),
        ("BatchNormalization", {}),
        ("LayerNormalization", {}),
        ("LeakyReLU", {}),
    ],
)


def model_with(api: Any, name: str, options: dict[str, Any], trainable: bool = True) -> Any:
    layers = api.layers
    inner = [getattr(layers, name)(**options) for _ in range(2)]
    model = api.Sequential(
        [
            api.Input((4,)),
            layers.Dense(3, activation=inner[0]),
            layers.Dense(5),
            layers.Activation(inner[1]),
            layers.Dense(1),
        ]
    )
    model(X)
    model.layers[0].trainable = trainable
    return compiled(model, api.optimizers.SGD(0.1), "mse")


@ACTIVATIONS
@pytest.mark.parametrize("trainable", [True, False])
def test_the_same_training(name: str, options: dict[str, Any], trainable: bool) -> None:
    theirs, ours = (model_with(api, name, options, trainable) for api in (keras, engine))
    ours.set_weights(theirs.get_weights())
    tails = [[each.path.rpartition("/")[2] for each in model.weights] for model in (theirs, ours)]
    assert tails[0] == tails[1]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    losses = [
        model.fit(X, Y, 16, epochs=3, shuffle=False, verbose=0).history["loss"] for model in (theirs, ours)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert_all_close(ours.get_weights(), theirs.get_weights(), rtol=1e-4, atol=1e-5)


@ACTIVATIONS
def test_copies_and_files(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = model_with(engine, name, options)
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    clone = engine.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    copies = [
        engine.saving.load_model(tmp_path / "model.keras"),
        clone,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for each in copies:
        np.testing.assert_array_equal(each(X), model(X))


def test_paths() -> None:
    layer = engine.layers.Dense(3, activation=engine.layers.PReLU(name="slope"), name="hidden")
    layer.build((None, 2))
    assert [each.path for each in layer.weights] == ["hidden/kernel", "hidden/bias", "hidden/slope/alpha"]
    assert layer.count_params() == 2 * 3 + 3 + 3


def test_one_layer_is_the_activation_of_one() -> None:
    inner = engine.layers.PReLU()
    first = engine.layers.Dense(3, activation=inner)
    with pytest.raises(ValueError, match=r"is the activation of .* already: make one for each layer"):
        engine.layers.Activation(inner)
    assert first.activation is inner
    leaky = engine.layers.LeakyReLU()
    assert [engine.layers.Dense(3, activation=leaky).activation for _ in range(2)] == [leaky, leaky]


def test_a_layer_that_changes_shapes_is_none() -> None:
    layer = engine.layers.Dense(3, activation=engine.layers.Dense(2))
    with pytest.raises(ValueError, match="can't be an activation, as it changes shapes"):
        layer.build((None, 4)) or layer(X)
