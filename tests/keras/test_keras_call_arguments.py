"""Compares calls of custom layers with Keras: integer inputs, and further arguments."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import assert_same_histories, twins

import engine

X = np.random.default_rng(0).random((8, 3), "float32")


def seeing(api: Any, seen: list[Any]) -> Any:
    """Returns a layer that records the dtype of its inputs and arguments."""

    class Seeing(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, other: Any = None, scale: float = 1.0) -> Any:
            seen.append((str(inputs.dtype), None if other is None else str(other.dtype), scale))
            return inputs * scale

    return Seeing()


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int32", "int64", "uint32", "uint64", "bool", "float16", "float32", "float64"]
)
def test_a_layer_called_on_an_array_gets_the_dtype_that_keras_gives(dtype: str) -> None:
    notes: list[list[Any]] = [[], []]
    for api, seen in zip((keras, engine), notes, strict=True):
        seeing(api, seen)(np.ones((2, 3), dtype))
    assert notes[1][-1] == notes[0][-1]


@pytest.mark.parametrize("dtype", ["int64", "float64", "bool"])
def test_further_arrays_and_numbers(dtype: str) -> None:
    notes: list[list[Any]] = [[], []]
    for api, seen in zip((keras, engine), notes, strict=True):
        layer = seeing(api, seen)
        other = np.ones((2, 3), dtype)
        by_name, by_place = layer(X[:2], other=other, scale=2.0), layer(X[:2], other, scale=2.0)
        for outputs in (by_name, by_place):
            np.testing.assert_allclose(np.asarray(outputs), X[:2] * 2)
    assert notes[1][-1] == notes[0][-1]


def lookup(api: Any) -> Any:
    """Returns a layer whose inputs must be integers."""

    class Lookup(api.layers.Layer):  # type: ignore[misc]
        def build(self, input_shape: Any) -> None:
            self.table = self.add_weight(shape=(5, 2), initializer="glorot_uniform", name="table")

        def call(self, inputs: Any) -> Any:
            return (api.ops.convert_to_tensor(self.table) if api is keras else np.asarray(self.table))[inputs]

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            by_table = np.zeros((5, 2), np.float32)
            np.add.at(by_table, inputs, upstream)
            return np.zeros(inputs.shape, np.float32), by_table

    return Lookup()


def test_integers_stay_integers_in_a_model_whose_input_says_so() -> None:
    def make(api: Any) -> Any:
        model = api.Sequential(
            [api.Input((3,), dtype="int32"), lookup(api), api.layers.Flatten(), api.layers.Dense(1)]
        )
        return compiled(model, api.optimizers.SGD(0.1), "mse")

    tokens = np.random.default_rng(1).integers(0, 5, (8, 3))
    pair = twins(make)
    pair.assert_same_outputs(tokens)
    pair.assert_same_outputs(tokens + 0.0)
    assert_same_histories(*pair.fit(tokens, X[:, :1], epochs=2), rtol=1e-4)
    pair.assert_same_weights()
    np.testing.assert_allclose(pair.engine.layers[0](tokens), np.asarray(pair.keras.layers[0](tokens)))


def test_without_an_input_a_model_hands_on_floats() -> None:
    for dtype in ("int32", "float64"):
        notes: list[list[Any]] = [[], []]
        for api, seen in zip((keras, engine), notes, strict=True):
            api.Sequential([seeing(api, seen)]).predict(np.ones((2, 3), dtype), verbose=0)
        assert notes[1][-1] == notes[0][-1] == ("float32", None, 1.0)


def scaled(api: Any) -> Any:
    """Returns the class of a layer with a required argument."""

    @api.saving.register_keras_serializable("arguments")
    class Scaled(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, scale: Any, squared: bool = False) -> Any:
            return inputs**2 * scale if squared else inputs * scale

        def gradient(self, inputs: Any, upstream: Any, scale: Any, squared: bool = False) -> Any:
            return upstream * scale * (2 * inputs if squared else 1)

    return Scaled


def scaled_model(api: Any) -> Any:
    """Returns a model that uses such a layer twice, with different arguments."""
    inputs = api.Input((3,), name="x")
    layer = scaled(api)(name="scaled")
    hidden = layer(api.layers.Dense(3, name="first")(inputs), scale=2.0, squared=True)
    outputs = api.layers.Dense(1, name="last")(layer(hidden, scale=np.array([1.0, 0.5, 2.0], "float32")))
    return compiled(api.Model(inputs, outputs, name="whole"), api.optimizers.SGD(0.01), "mse")


def test_arguments_of_a_use_serve_training_prediction_and_the_config() -> None:
    pair = twins(scaled_model)
    pair.assert_same_outputs(X)
    assert_same_histories(*pair.fit(X, X[:, :1], epochs=3), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4)
    theirs, ours = (
        {
            each["name"]: [node["kwargs"] for node in each["inbound_nodes"]]
            for each in model.get_config()["layers"]
        }
        for model in pair
    )
    assert ours == theirs
    config = json.loads(json.dumps(pair.engine.get_config()))
    again = engine.Model.from_config(config)
    again.set_weights(pair.engine.get_weights())
    np.testing.assert_array_equal(again.predict(X, verbose=0), pair.engine.predict(X, verbose=0))
    assert json.loads(json.dumps(again.get_config())) == config


def test_models_with_arguments_are_cloned_nested_cut_and_saved(tmp_path: Any) -> None:
    model = scaled_model(engine)
    expected = model.predict(X, verbose=0)
    copy = engine.models.clone_model(model)
    copy.set_weights(model.get_weights())
    around = engine.Sequential([engine.Input((3,)), model])
    cut = engine.Model(model.input, model.output)
    model.save(tmp_path / "model.keras")
    for other in (copy, around, cut, engine.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(other.predict(X, verbose=0), expected)


def test_arguments_that_a_layer_does_not_take() -> None:
    for api in (keras, engine):
        layer = scaled(api)()
        for inputs in (X, api.Input((3,))):
            with pytest.raises(TypeError, match="wrong"):
                layer(inputs, scale=1.0, wrong=2)
    with pytest.raises(TypeError, match="wrong"):
        engine.layers.Dense(2)(X, wrong=2)


def test_a_second_symbol_is_refused_plainly() -> None:
    inputs = engine.Input((3,))
    for other in (inputs, engine.layers.Dense(3)(inputs), [engine.layers.Dense(3)(inputs)]):
        for given in (inputs, X):
            with pytest.raises(ValueError, match=r"`scale` of layer 'plain'.*layers.Concatenate"):
                scaled(engine)(name="plain")(given, scale=other)


def test_training_and_mask_by_place_for_a_call_that_takes_neither() -> None:
    class Doubled(engine.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    np.testing.assert_array_equal(Doubled()(X, True, None), X * 2)
    with pytest.raises(TypeError, match="too many positional"):
        Doubled()(X, True, None, 1.0)


def test_arguments_and_integers_serve_models_that_are_called_with_dropout_fixed_and_with_penalties() -> None:
    """The engine computes such models layer by layer."""

    def make(api: Any) -> Any:
        inputs = api.Input((3,), dtype="int32")
        hidden = api.layers.Flatten()(lookup(api)(inputs))
        hidden = api.layers.Dropout(0.5)(hidden, training=False)
        hidden = api.layers.Dense(4, activity_regularizer="l2")(hidden)
        return api.Model(inputs, scaled(api)()(hidden, scale=3.0))

    tokens = np.random.default_rng(1).integers(0, 5, (8, 3))
    pair = twins(make)
    pair.assert_same_outputs(tokens)
    for training in (None, False):
        theirs, ours = (model(tokens, training=training) for model in pair)
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-6)


def layers_by_training(api: Any) -> dict[str, Any]:
    """Returns what makes layers that double their inputs in training, and triple them in predictions."""

    class Doubling(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool = True) -> Any:
            return inputs * 2.0 if training else inputs * 3.0

    class Without(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return inputs * 2.0 if training else inputs * 3.0

    class Around(api.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.within = Doubling()

        def call(self, inputs: Any) -> Any:
            return self.within(inputs)

    class AroundWithNone(Around):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.within(inputs)

    class AroundWithFalse(Around):
        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.within(inputs)

    return {each.__name__: each for each in (Doubling, Without, Around, AroundWithNone, AroundWithFalse)}


def models_with(api: Any, layer: Any) -> dict[str, Any]:
    """Returns what makes parts with a layer of the class `layer`, called with each `training`."""

    def functional(**given: Any) -> Any:
        inputs = api.Input((3,))
        return api.Model(inputs, layer()(inputs, **given))

    def nested(**given: Any) -> Any:
        inputs = api.Input((3,))
        return api.Model(inputs, functional(**given)(inputs))

    return {
        "alone": layer,
        "sequential": lambda: api.Sequential([api.Input((3,)), layer()]),
        **{
            f"{make.__name__} {given}": lambda make=make, given=given: make(**given)
            for make in (functional, nested)
            for given in ({}, {"training": True}, {"training": False})
        },
    }


@pytest.mark.parametrize("kind", layers_by_training(engine))
def test_training_that_a_call_does_not_give(kind: str) -> None:
    """Directly, on a tape, in compiled functions and in predictions, each part takes the `training` that it has in Keras."""

    def results(api: Any, part: Any, given: dict[str, Any]) -> list[Any]:
        ways = [part(X, **given)]
        if api is engine:
            with engine.GradientTape():
                ways.append(part(engine.ops.convert_to_tensor(X), **given))
            ways.append(engine.function(lambda x: part(x, **given))(X))
        if hasattr(part, "predict"):
            ways.append(part.predict(X, verbose=0))
        return [np.asarray(each) for each in ways]

    pairs = [models_with(api, layers_by_training(api)[kind]) for api in (keras, engine)]
    for name in pairs[0]:
        theirs, ours = (makers[name]() for makers in pairs)
        for given in ({}, {"training": True}, {"training": False}):
            wanted, found = results(keras, theirs, given), results(engine, ours, given)
            for each in found[:3]:
                np.testing.assert_array_equal(each, wanted[0], err_msg=f"{name}, called with {given}")
            if len(wanted) > 1:
                np.testing.assert_array_equal(found[-1], wanted[-1], err_msg=f"predict of {name}")
