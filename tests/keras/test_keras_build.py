"""Tests that weights exist after `build` or a call on a symbol, so that they can be read and set before there is a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

APIS = pytest.mark.parametrize("api", [engine, keras], ids=["engine", "keras"])
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Dense": (lambda api: api.layers.Dense(3), (5,)),
    "Dense of rows": (lambda api: api.layers.Dense(3, use_bias=False), (4, 5)),
    "Embedding": (lambda api: api.layers.Embedding(7, 2), (4,)),
    "BatchNormalization": (lambda api: api.layers.BatchNormalization(), (5,)),
    "LayerNormalization": (lambda api: api.layers.LayerNormalization(), (5,)),
    "PReLU": (lambda api: api.layers.PReLU(), (5,)),
    "Normalization": (lambda api: api.layers.Normalization(), (5,)),
    "Dropout": (lambda api: api.layers.Dropout(0.5), (5,)),
    "Sequential": (lambda api: api.Sequential([api.layers.Dense(3), api.layers.Dense(2)]), (5,)),
}


def facts(layer: Any) -> tuple[bool, list[tuple[int, ...]], int, int]:
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return bool(layer.built), shapes, len(layer.trainable_weights), layer.count_params()


@pytest.mark.parametrize("name", LAYERS)
def test_build_makes_the_weights(name: str) -> None:
    make, sample = LAYERS[name]
    found = []
    for api in (keras, engine):
        layer = make(api)
        layer.build((None, *sample))
        found.append(facts(layer))
    assert found[1] == found[0]


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_on_an_input_makes_the_weights(name: str) -> None:
    make, sample = LAYERS[name]
    found = []
    for api in (keras, engine):
        layer = make(api)
        layer(api.Input(sample))
        found.append(facts(layer))
    assert found[1] == found[0]


@APIS
def test_weights_that_are_set_before_there_is_a_model_are_the_models(api: Any) -> None:
    layer = api.layers.Dense(2, name="own")
    layer.build((None, 3))
    kernel, bias = np.arange(6, dtype="float32").reshape(3, 2), np.ones(2, "float32")
    layer.set_weights([kernel, bias])
    inputs = api.Input((3,))
    model = api.Model(inputs, layer(inputs))
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    np.testing.assert_array_equal(np.asarray(model(np.ones((1, 3), "float32"))), [[7.0, 10.0]])


@APIS
def test_a_build_of_ones_own_may_be_called_and_calls_the_one_above(api: Any) -> None:
    class Scale(api.layers.Layer):  # type: ignore[misc] # either library's
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    layer = Scale()
    layer.build((None, 3))
    assert facts(layer) == (True, [(3,)], 1, 3)
    layer.set_weights([np.array([1, 2, 3], "float32")])
    np.testing.assert_array_equal(np.asarray(layer(np.ones((1, 3), "float32"))), [[1.0, 2.0, 3.0]])
    assert len(layer.weights) == 1


def test_a_build_that_fails_leaves_the_layer_as_it_was() -> None:
    layer = engine.layers.Dense(2)
    with pytest.raises(ValueError, match="must be known"):
        layer.build((None, None))
    assert not layer.built
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"has a kernel of shape \(3, 2\) but would need \(4, 2\)"):
        layer.build((None, 4))
    assert facts(layer) == (True, [(3, 2), (2,)], 2, 8)


@APIS
def test_weights_come_too_late_in_call(api: Any) -> None:
    class Late(api.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.factor = self.add_weight(shape=(1,), initializer="ones")
            return inputs * self.factor

    with pytest.raises(ValueError, match=r"already built|built already"):
        Late()(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"already built|built already|new ele"):
        Late()(api.Input((3,)))


WITHOUT_WEIGHTS: dict[str, Any] = {
    "ReLU": lambda api: api.layers.ReLU(),
    "LeakyReLU": lambda api: api.layers.LeakyReLU(),
    "ELU": lambda api: api.layers.ELU(),
    "Softmax": lambda api: api.layers.Softmax(),
    "Activation": lambda api: api.layers.Activation("relu"),
    "Dropout": lambda api: api.layers.Dropout(0.5),
    "AlphaDropout": lambda api: api.layers.AlphaDropout(0.5),
    "GaussianNoise": lambda api: api.layers.GaussianNoise(0.5),
    "GaussianDropout": lambda api: api.layers.GaussianDropout(0.5),
    "SpatialDropout1D": lambda api: api.layers.SpatialDropout1D(0.5),
    "UnitNormalization": lambda api: api.layers.UnitNormalization(),
    "GlobalMaxPooling2D": lambda api: api.layers.GlobalMaxPooling2D(),
    "ActivityRegularization": lambda api: api.layers.ActivityRegularization(0.1),
    "Identity": lambda api: api.layers.Identity(),
    "Masking": lambda api: api.layers.Masking(),
    "Flatten": lambda api: api.layers.Flatten(),
    "Add": lambda api: api.layers.Add(),
    "PReLU": lambda api: api.layers.PReLU(),
}


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_which_layers_are_built_from_the_start(name: str) -> None:
    theirs, ours = (WITHOUT_WEIGHTS[name](api) for api in (keras, engine))
    assert ours.built == theirs.built
    assert ours.weights == theirs.weights == []


@pytest.mark.parametrize("name", ["Dense", "Dense of rows", "Dropout", "Sequential"])
def test_shapes_and_dtypes_of_outputs(name: str) -> None:
    make, sample = LAYERS[name]
    found = []
    for api in (keras, engine):
        layer = make(api)
        layer.build((None, *sample))
        spec = layer.compute_output_spec(api.KerasTensor((2, *sample)))
        found.append((type(spec).__name__, tuple(spec.shape), spec.dtype))
    assert found[1] == found[0]
    joined = [
        api.layers.Add().compute_output_spec([api.KerasTensor((None, 3)), api.KerasTensor((None, 3))])
        for api in (keras, engine)
    ]
    assert joined[1].shape == joined[0].shape


def test_what_computes_an_output_spec_is_in_no_graph() -> None:
    inputs = engine.Input((3,))
    layer = engine.layers.Dense(2)
    layer.compute_output_spec(engine.KerasTensor((None, 3)))
    with pytest.raises(AttributeError, match="no defined input"):
        _ = layer.input
    model = engine.Model(inputs, engine.layers.Dense(4)(layer(inputs)))
    again = keras.Model.from_config(model.get_config())  # which counts the calls of each layer
    assert [each.name for each in again.layers] == [each.name for each in model.layers]
