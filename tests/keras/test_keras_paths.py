"""Compares the paths of layers, weights and optimizer variables with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import engine


def deferred(api: Any) -> Any:
    model = api.Sequential([api.layers.Dense(2, name="d"), api.layers.Dense(2, name="e")], name="s")
    model.build((None, 3))
    return model


def grown(api: Any) -> Any:
    model = api.Sequential([api.Input((3,))], name="s")
    for name in "de":
        model.add(api.layers.Dense(2, name=name))
    return model


def functional(api: Any) -> Any:
    inputs = api.Input((3,), name="i")
    return api.Model(inputs, api.layers.Dense(2, name="d")(inputs), name="f")


def nested(api: Any) -> Any:
    inner = api.Sequential([api.layers.Dense(2, name="d")], name="in")
    return api.Sequential([api.Input((3,)), inner, api.layers.Dense(1, name="e")], name="s")


def nested_and_built(api: Any) -> Any:
    inner = api.Sequential([api.Input((3,)), api.layers.Dense(2, name="d")], name="in")
    return api.Sequential([api.Input((3,)), inner, api.layers.Dense(1, name="e")], name="s")


def within_a_graph(api: Any) -> Any:
    inner, inputs = api.Sequential([api.layers.Dense(2, name="d")], name="in"), api.Input((3,), name="i")
    return api.Model(inputs, inner(inputs), name="f")


def shared(api: Any) -> Any:
    layer = api.layers.Dense(3, name="d")
    api.Sequential([api.Input((3,)), layer], name="a")
    return api.Sequential([api.Input((3,)), layer, api.layers.Dense(2, name="e")], name="b")


def block_of(api: Any) -> Any:
    """Returns the class of a layer with layers of all kinds within."""
    layers = api.layers

    class Inner(layers.Layer):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.deep = layers.Dense(3, name="deep")

        def call(self, x: Any) -> Any:
            return self.deep(x)

    class Block(layers.Layer):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.first = layers.Dense(3, name="first")
            self.inner = Inner(name="inner")
            self.stack = api.Sequential([layers.Dense(3, name="stacked")], name="stack")

        def build(self, shape: Any) -> None:
            self.gain = self.add_weight(shape=(3,), name="gain")
            self.made = Inner(name="made")
            self.first.build(shape)

        def call(self, x: Any) -> Any:
            return self.stack(self.made(self.inner(self.first(x)))) * self.gain

    return Block


def layers_in_a_layer(api: Any) -> Any:
    inputs = api.Input((3,), name="i")
    return api.Model(inputs, api.layers.Dense(2, name="d")(block_of(api)(name="block")(inputs)), name="f")


def layers_in_a_layer_of_a_stack(api: Any) -> Any:
    return api.Sequential(
        [api.Input((3,)), block_of(api)(name="block"), api.layers.Dense(2, name="d")], name="s"
    )


def layers_of_a_model_with_a_call(api: Any) -> Any:
    class Network(api.Model):  # type: ignore[misc, name-defined] # one of two classes
        def __init__(self) -> None:
            super().__init__(name="net")
            self.block, self.head = block_of(api)(name="block"), api.layers.Dense(2, name="head")

        def call(self, x: Any) -> Any:
            return self.head(self.block(x))

    model = Network()
    model(np.ones((1, 3)))
    return model


@pytest.mark.parametrize(
    "make",
    [
        layers_in_a_layer,
        layers_in_a_layer_of_a_stack,
        layers_of_a_model_with_a_call,
        deferred,
        grown,
        functional,
        nested,
        nested_and_built,
        within_a_graph,
        shared,
    ],
)
def test_paths(make: Callable[[Any], Any]) -> None:
    found = []
    for api in (keras, engine):
        model = make(api)
        model.compile(api.optimizers.SGD(momentum=0.5, name="sgd"), "mse")
        x = np.ones((2, 3))
        model.train_on_batch(x, np.ones(model.predict_on_batch(x).shape))
        layers = [layer.path for layer in model.layers if layer.name != "i"]
        weights, slots = (
            [each.path for each in listed] for listed in (model.weights, model.optimizer.variables)
        )
        found.append((model.path, layers, weights, slots))
    assert found[1] == found[0]


def test_a_layer_that_does_not_fit_gets_no_path() -> None:
    layer = engine.layers.Dense(2, name="d")
    with pytest.raises(ValueError, match="takes rows of numbers"):
        engine.Sequential([engine.Input(()), layer], name="s")
    assert layer.path == "d"
    engine.Sequential([engine.Input((3,)), layer], name="t")
    assert (layer.path, layer.kernel.path) == ("t/d", "t/d/kernel")
