"""Compares calls of layers and models with Keras: training mode, seeds, penalties on outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled
from numpy.typing import NDArray
from twins import twins

import engine

IMAGES = np.arange(96, dtype=np.float32).reshape(2, 6, 8, 1)
ONES = np.ones((4, 50), np.float32)
APIS = pytest.mark.parametrize("api", [keras, engine], ids=["keras", "engine"])

CHANGES: dict[str, Callable[[Any], Any]] = {
    "flip": lambda api: api.layers.RandomFlip(seed=1),
    "rotation": lambda api: api.layers.RandomRotation(0.3, seed=1),
    "zoom": lambda api: api.layers.RandomZoom(0.3, seed=1),
    "translation": lambda api: api.layers.RandomTranslation(0.3, 0.3, seed=1),
}


def changes(call: Callable[[], Any], x: NDArray[np.float32]) -> bool:
    """Returns whether one of several calls returns something other than `x`."""
    return any(not np.allclose(np.asarray(call()), x) for _ in range(8))


@APIS
@pytest.mark.parametrize("change", CHANGES)
def test_random_images(change: str, api: Any) -> None:
    layer, inputs = CHANGES[change](api), api.Input((6, 8, 1))
    stack = api.Sequential([layer])
    models = {
        "stack": stack,
        "built": api.Sequential([api.Input((6, 8, 1)), CHANGES[change](api)]),
        "nested": api.Sequential([api.Input((6, 8, 1)), stack]),
        "chain": api.Model(inputs, CHANGES[change](api)(inputs)),
        "chain of a stack": api.Model(inputs, stack(inputs)),
        "told": api.Model(inputs, CHANGES[change](api)(inputs, training=True)),
    }
    assert changes(lambda: layer(IMAGES), IMAGES)
    assert not changes(lambda: layer(IMAGES, training=False), IMAGES)
    for name, model in models.items():
        assert changes(lambda m=model: m(IMAGES), IMAGES), name
        assert changes(lambda m=model: m(IMAGES, training=True), IMAGES), name
        assert not changes(lambda m=model: m(IMAGES, training=False), IMAGES), name
        assert not changes(lambda m=model: m.predict(IMAGES, verbose=0), IMAGES), name
        assert not changes(lambda m=model: m.predict_on_batch(IMAGES), IMAGES), name
    not_told = api.Model(inputs, CHANGES[change](api)(inputs, training=False))
    assert not changes(lambda: not_told(IMAGES), IMAGES)
    assert changes(lambda: not_told(IMAGES, training=True), IMAGES)


@APIS
def test_other_layers_beside_random_images(api: Any) -> None:
    stack = api.Sequential([api.Input((6, 8, 1)), CHANGES["flip"](api), api.layers.Dropout(0.5)])
    assert all(np.asarray(stack(IMAGES) == 0).sum() == 1 for _ in range(4))  # IMAGES has one 0


@APIS
def test_dropout_that_is_called_with_training(api: Any) -> None:
    inputs = api.Input((50,))
    drop = api.layers.Dropout(0.5, seed=3)
    inner = api.Sequential([api.Input((50,)), api.layers.Dropout(0.5)])
    always = {
        "layer": api.Model(inputs, drop(inputs, training=True)),
        "model": api.Model(inputs, inner(inputs, training=True)),
        "within": api.Sequential([api.Input((50,)), api.Model(inputs, drop(inputs, training=True))]),
        "part": api.Model(inputs, api.layers.Identity()(drop(inputs, training=True))),
    }
    always["copy"] = api.Model.from_config(always["layer"].get_config())
    always["clone"] = api.models.clone_model(always["layer"])
    always["cut"] = api.Model(always["part"].input, always["part"].layers[1].output)
    for name, model in always.items():
        assert changes(lambda m=model: m(ONES), ONES), name
        assert not changes(lambda m=model: m(ONES, training=False), ONES), name
        assert not changes(lambda m=model: m.predict(ONES, verbose=0), ONES), name
    never = api.Model(inputs, drop(inputs, training=False))
    assert not changes(lambda: never(ONES), ONES)
    assert changes(lambda: never(ONES, training=True), ONES)
    plain = api.Model(inputs, drop(inputs))
    assert not changes(lambda: plain(ONES), ONES)


def test_configs_hold_training() -> None:
    configs = []
    for api in (keras, engine):
        inputs = api.Input((5,), name="x")
        drop = api.layers.Dropout(0.5, name="drop")
        model = api.Model(inputs, drop(drop(inputs, training=True), training=False))
        nodes = model.get_config()["layers"][1]["inbound_nodes"]
        configs.append([node["kwargs"] for node in nodes])
    assert configs[0] == configs[1] == [{"training": True}, {"training": False}]


@APIS
@pytest.mark.parametrize("how", ["layer", "stack", "chain", "told"])
def test_seeds(how: str, api: Any) -> None:
    def drawn() -> list[Any]:
        layer, inputs = api.layers.Dropout(0.5, seed=11), api.Input((50,))
        if how == "layer":
            called = layer
        elif how == "stack":
            called = api.Sequential([inputs, layer])
        else:
            called = api.Model(inputs, layer(inputs, **({"training": True} if how == "told" else {})))
        return [np.array(called(ONES, **({} if how == "told" else {"training": True}))) for _ in range(3)]

    first = drawn()
    keras.random.uniform((3,))
    engine.random.uniform((3,))
    second = drawn()
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


def test_running_averages_of_a_call_with_training() -> None:
    def make(api: Any) -> Any:
        inputs = api.Input((6,))
        return api.Model(inputs, api.layers.BatchNormalization()(inputs, training=True))

    pair = twins(make)
    x = np.random.default_rng(0).standard_normal((20, 6)).astype("float32") + 3
    for _ in range(2):
        np.testing.assert_allclose(pair.engine(x), np.asarray(pair.keras(x)), rtol=1e-4, atol=1e-5)
        pair.assert_same_weights(rtol=1e-5)


def penalised(api: Any) -> Any:
    options = {"kernel_initializer": "ones", "bias_initializer": "ones"}
    dense = api.layers.Dense(
        2, activity_regularizer="l1", kernel_regularizer="l2", bias_regularizer="l1", **options
    )
    return api.Sequential([api.Input((4,)), dense, api.layers.ActivityRegularization(0.1, 0.2)])


def test_penalties_on_outputs() -> None:
    x = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
    found = []
    for api in (keras, engine):
        model = compiled(penalised(api), "sgd", "mse")
        losses = [list(model.losses)]
        for act in (
            lambda m: m(x),
            lambda m: m(x[:8]),
            lambda m: m(x, training=True),
            lambda m: m.predict(x, verbose=0),
            lambda m: m(x),
            lambda m: m.evaluate(x, x[:, :2], verbose=0),
            lambda m: m.layers[0](x),
            lambda m: m.layers[0](x),
        ):
            act(model)
            losses += [list(model.losses), *(list(layer.losses) for layer in model.layers)]
        found.append([[float(value) for value in each] for each in losses])
    assert [len(each) for each in found[1]] == [len(each) for each in found[0]]
    assert_all_close(found[1], found[0], rtol=1e-5)
