"""Compares activations with Keras, as functions and in trained networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import Array, assert_same_histories, twins

import engine

CORNERS = [-6.0, -3.0, -1.25, -1.0, -0.5, 0.0, 0.5, 1.0, 1.25, 3.0, 5.0, 6.0]
X = np.concatenate([np.linspace(-30, 30, 601), np.linspace(-2, 2, 203), CORNERS]).astype(np.float32)
BY_ROW = ["softmax", "log_softmax"]
# In Keras 3.15 on JAX, sparsemax does not sum to 1. tests/test_kernels_activations.py tests it.
WRONG = ["sparsemax"]
# These cannot be the activation of a layer: one has arguments without default, the other changes the shape.
FUNCTIONS_ONLY = ["glu", "threshold"]
NAMES = sorted(
    name
    for name in dir(keras.activations)
    if inspect.isfunction(getattr(keras.activations, name))
    and name not in ("get", "serialize", "deserialize")
)
ELEMENTWISE = [name for name in NAMES if name not in BY_ROW + WRONG + FUNCTIONS_ONLY]
CONSTANTS: list[tuple[str, dict[str, Any]]] = [
    ("celu", {"alpha": 0.3}),
    ("elu", {"alpha": 2.5}),
    ("gelu", {"approximate": True}),
    ("hard_shrink", {"threshold": 1.25}),
    ("leaky_relu", {"negative_slope": 0.05}),
    ("relu", {"max_value": 5.0}),
    ("relu", {"max_value": 6}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"negative_slope": 0.1, "max_value": 6.0}),
    ("relu", {"negative_slope": 0.1, "threshold": 1.25}),
    ("relu", {"negative_slope": 0.25, "max_value": 3.0, "threshold": 0.5}),
    ("relu", {"threshold": -1.0}),
    ("relu", {"threshold": -1.0, "max_value": 3.0}),
    ("soft_shrink", {"threshold": 1.25}),
    ("squareplus", {"b": 0.5}),
    ("threshold", {"threshold": 0.5, "default_value": -2.0}),
]


def test_the_same_names() -> None:
    assert set(NAMES) <= set(dir(engine.activations))


@pytest.mark.parametrize("name", [*NAMES, "deserialize", "get", "serialize"])
def test_the_same_arguments(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(api.activations, name)).parameters for api in (keras, engine))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def values(name: str, constants: dict[str, Any], x: Array = X) -> tuple[Array, Array]:
    theirs, ours = (getattr(api.activations, name)(x, **constants) for api in (keras, engine))
    return np.asarray(theirs), ours


@pytest.mark.parametrize(("name", "constants"), [*((name, {}) for name in ELEMENTWISE), *CONSTANTS])
def test_values(name: str, constants: dict[str, Any]) -> None:
    theirs, ours = values(name, constants)
    # Keras loses precision by subtraction: in 1 + tanh(x), x - tanh(x), x + sqrt(x**2 + b).
    atol = {"gelu": 1e-5, "tanh_shrink": 1e-6, "squareplus": 1e-5}.get(name, 1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -2, -3])
@pytest.mark.parametrize("name", [*BY_ROW, "glu"])
def test_values_along_an_axis(name: str, axis: int) -> None:
    x = np.random.default_rng(1).normal(0, 2, (4, 6, 8)).astype(np.float32)
    theirs, ours = values(name, {"axis": axis}, x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def slopes_by_keras(function: Callable[[Any], Any], x: Array) -> Array:
    import jax

    slope: Callable[[Any], Any] = jax.vmap(jax.grad(lambda z: function(z)))  # noqa: PLW0108 # a layer is no function
    return np.asarray(slope(x))


def slopes_by_engine(layers: list[Any], x: Array) -> Array:
    """Returns the slopes, from the change of the bias in a step of SGD with rate 1, kernel 1, bias 0 and loss `sum(y)`."""
    model = engine.Sequential([engine.Input((1,)), engine.layers.Dense(1), *layers])
    model.compile(engine.optimizers.SGD(1.0), "mse")
    found = []
    for value in x:
        model.set_weights([np.ones((1, 1)), np.zeros(1)])
        row = np.array([[value]], np.float32)
        y = model.predict(row)
        model.train_on_batch(row, y - np.float32(0.5))  # dLoss/dy = 2 (y - target) = 1
        found.append(-model.get_weights()[1][0])
    return np.array(found)


LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("ReLU", {}),
    ("ReLU", {"max_value": 5.0}),
    ("ReLU", {"max_value": 3.0, "negative_slope": 0.1, "threshold": 0.5}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.1}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.5}),
]
SLOPE_POINTS = np.array([-8.0, *CORNERS, -2.7, -0.3, 0.7, 2.2, 8.0], np.float32)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_corners_included(name: str) -> None:
    theirs = slopes_by_keras(getattr(keras.activations, name), SLOPE_POINTS)
    ours = slopes_by_engine([engine.layers.Activation(name)], SLOPE_POINTS)
    # The target is rounded to float32, so 2 (y - target) is not exactly 1 if y is large.
    np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize(("name", "options"), LAYERS)
def test_slopes_of_layers(name: str, options: dict[str, Any]) -> None:
    theirs = slopes_by_keras(getattr(keras.layers, name)(**options), SLOPE_POINTS)
    ours = slopes_by_engine([getattr(engine.layers, name)(**options)], SLOPE_POINTS)
    np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=3e-6)


def network(hidden: Callable[[Any], list[Any]]) -> Callable[[Any], Any]:
    def make(api: Any) -> Any:
        layers = [api.Input((7,)), *hidden(api), api.layers.Dense(3)]
        return compiled(api.Sequential(layers), api.optimizers.SGD(0.05, momentum=0.9), "mse")

    return make


def assert_same_training(make: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 7)).astype(np.float32), rng.normal(size=(40, 3)).astype(np.float32)
    pair = twins(make)
    pair.assert_same_outputs(x, rtol=1e-4, atol=1e-5)
    assert_same_histories(*pair.fit(x, y, batch_size=16, epochs=4), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-3, atol=1e-4)


# Several activations at once, since Keras compiles each network for seconds.
TOGETHER = 4


@pytest.mark.parametrize("first", range(0, len(ELEMENTWISE + BY_ROW), TOGETHER))
def test_training(first: int) -> None:
    names = [*BY_ROW, *ELEMENTWISE][first : first + TOGETHER]
    assert_same_training(network(lambda api: [api.layers.Dense(9, activation=name) for name in names]))


@pytest.mark.parametrize("some", [LAYERS[:4], [*LAYERS[4:], ("Softmax", {}), ("Softmax", {"axis": 1})]])
def test_training_through_layers(some: list[tuple[str, dict[str, Any]]]) -> None:
    def hidden(api: Any) -> list[Any]:
        pairs = [[api.layers.Dense(9), getattr(api.layers, name)(**options)] for name, options in some]
        return [layer for pair in pairs for layer in pair]

    assert_same_training(network(hidden))


@pytest.mark.parametrize("name", ["LeakyReLU", "Softmax"])
def test_a_layer_as_activation(name: str) -> None:
    assert_same_training(
        network(
            lambda api: [
                api.layers.Dense(9, activation=getattr(api.layers, name)()),
                api.layers.Dense(4, "tanh"),
            ]
        )
    )


@pytest.mark.parametrize("axis", [-1, 1, 2, [1, 2], [1, -1]])
def test_softmax_along_axes(axis: Any) -> None:
    def make(api: Any) -> Any:
        layers = [
            api.Input((24,)),
            api.layers.Dense(24),
            api.layers.Reshape((2, 3, 4)),
            api.layers.Softmax(axis),
        ]
        return compiled(api.Sequential([*layers, api.layers.Flatten(), api.layers.Dense(2)]), "sgd", "mse")

    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 24)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    pair = twins(make)
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, y, batch_size=8, epochs=3))
    pair.assert_same_weights()


@pytest.mark.parametrize(
    ("name", "options"), [*LAYERS, ("Softmax", {"axis": 1}), ("Softmax", {"axis": [1, 2]})]
)
def test_configs_of_layers(name: str, options: dict[str, Any]) -> None:
    theirs, ours = (getattr(api.layers, name)(**options).get_config() for api in (keras, engine))
    assert {key: ours[key] for key in theirs if key not in ("name", "dtype")} == {
        key: value for key, value in theirs.items() if key not in ("name", "dtype")
    }
    assert getattr(engine.layers, name).from_config(ours).get_config() == ours


def test_the_old_name_of_a_slope() -> None:
    with pytest.warns(DeprecationWarning, match="negative_slope"):
        ours = engine.layers.LeakyReLU(alpha=0.1)
    assert ours.negative_slope == keras.layers.LeakyReLU(alpha=0.1).negative_slope
    assert "alpha" not in ours.get_config()


@pytest.mark.parametrize("name", NAMES)
def test_names_configs_and_back(name: str) -> None:
    theirs, ours = getattr(keras.activations, name), getattr(engine.activations, name)
    assert engine.activations.serialize(ours) == keras.activations.serialize(theirs)
    assert engine.activations.deserialize(engine.activations.serialize(ours)) is ours
    assert engine.activations.get(name) is ours
    function = keras.saving.serialize_keras_object(theirs)
    assert engine.activations.get(function) is ours


def test_layers_as_activations_and_back() -> None:
    layer = engine.layers.LeakyReLU(0.1)
    config = engine.activations.serialize(layer)
    assert engine.activations.deserialize(config).get_config() == layer.get_config()
    dense = engine.layers.Dense(3, activation=layer)
    again = engine.layers.Dense.from_config(dense.get_config())
    assert again.activation.get_config() == layer.get_config()
