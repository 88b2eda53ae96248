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


@pytest.mark.parametrize(
    "make", [deferred, grown, functional, nested, nested_and_built, within_a_graph, shared]
)
def test_paths(make: Callable[[Any], Any]) -> None:
    found = []
    for api in (keras, engine):
        model = make(api)
        model.compile(api.optimizers.SGD(momentum=0.5, name="sgd"), "mse")
        model.train_on_batch(np.ones((2, 3)), np.ones((2, model.output_shape[-1])))
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
