"""Compares `InputSpec` and the attribute `input_spec` of layers with Keras."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest

import engine

APIS = pytest.mark.parametrize("api", [keras, engine], ids=lambda api: api.__name__)
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"shape": (None, 3), "dtype": "float32"},
    {"ndim": 3},
    {"min_ndim": 2, "axes": {-1: 3}},
    {"max_ndim": 4},
    {"shape": (None, 3, 1), "allow_last_axis_squeeze": True},
    {"shape": [None, 2, None], "name": "x", "optional": True},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_attributes(arguments: dict[str, Any]) -> None:
    theirs, ours = (api.InputSpec(**arguments) for api in (keras, engine))
    assert repr(ours) == repr(theirs)
    assert ours.get_config() == theirs.get_config()
    assert vars(ours) == vars(theirs)
    assert repr(engine.InputSpec.from_config(ours.get_config())) == repr(ours)


@APIS
def test_wrong_arguments(api: Any) -> None:
    assert api.layers.InputSpec is api.InputSpec
    for wrong in ({"axes": {"a": 3}}, {"axes": 3}):
        with pytest.raises(TypeError, match="`axes` must be a dict"):
            api.InputSpec(**wrong)
    with pytest.raises(ValueError, match=r"(?i)ax[ei]s"):
        api.InputSpec(ndim=2, axes={2: 3})


def layer_with(api: Any, spec: Any) -> Any:
    class Same(api.layers.Layer):  # type: ignore[misc, name-defined] # either library's
        def __init__(self, spec: Any) -> None:
            super().__init__()
            self.input_spec = spec

        def call(self, inputs: Any) -> Any:
            return inputs

    return Same(spec)


# Not of samples that are single numbers, which layers do not take here.
SHAPES = [(2, 3), (2, 4), (2, 3, 1), (2, 3, 2), (2, 2, 5), (2, 1, 3, 1)]


def said(api: Any, spec: Any, shape: tuple[int, ...]) -> str:
    """Returns what a layer with this `input_spec` says of inputs of a shape."""
    try:
        layer_with(api, spec)(np.ones(shape, np.float32))
    except ValueError as error:
        found = re.search(r"incompatible with the layer: (expected [\w ]+)", str(error))
        return found[1] if found else str(error)
    return "accepted"


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_layers_accept_what_it_describes(arguments: dict[str, Any]) -> None:
    for shape in SHAPES:
        theirs, ours = (
            said(api, api.InputSpec(**arguments | {"dtype": None}), shape) for api in (keras, engine)
        )
        assert ours == theirs, shape


@APIS
def test_models_too(api: Any) -> None:
    layer = layer_with(api, api.InputSpec(axes={-1: 3}))
    assert layer(api.Input((3,))).shape == (None, 3)
    with pytest.raises(ValueError, match=r"incompatible with the layer: expected axis -1 .* value 3"):
        layer_with(api, api.InputSpec(axes={-1: 3}))(api.Input((4,)))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        api.Sequential([api.Input((4,)), layer_with(api, [api.InputSpec(ndim=3)])])
    assert repr(api.layers.Dense(2).input_spec) == "InputSpec(min_ndim=2)"
    assert api.layers.Dropout(0.5).input_spec is None


@APIS
def test_a_spec_that_is_assigned_to_a_model(api: Any) -> None:
    inputs = api.Input((None, 3), name="x")
    model = api.Model(inputs, api.layers.Dense(2)(inputs))
    (derived,) = model.input_spec
    assert (derived.shape, derived.name) == ((None, None, 3), "x")
    model.input_spec = api.InputSpec(shape=(None, 4, 3))
    with pytest.raises(ValueError, match=r"(?s)expected shape=\(None, 4, 3\).*\(2, 3, 3\)"):
        model(np.zeros((2, 3, 3)))
    assert model(np.zeros((2, 4, 3))).shape == (2, 4, 2)
    model.input_spec = [api.InputSpec(min_ndim=2, axes={-1: 3})]
    assert model(np.zeros((2, 5, 3))).shape == (2, 5, 2)


def test_a_spec_of_a_model_holds_for_every_method() -> None:
    inputs = [engine.Input((None, 3)), engine.Input((None, 3))]
    model = engine.Model(inputs, engine.layers.Add()(inputs))
    model.compile("sgd", "mse")
    model.input_spec = [engine.InputSpec(ndim=3), engine.InputSpec(shape=(None, 4, 3))]
    short, right = ([np.zeros((2, size, 3))] * 2 for size in (3, 4))
    for run in (
        model.predict,
        lambda x: model.fit(x, x[0], verbose=0),
        lambda x: model.evaluate(x, x[0], verbose=0),
        lambda x: model.train_on_batch(x, x[0]),
        model.predict_on_batch,
    ):
        with pytest.raises(ValueError, match=r"incompatible with the layer: expected shape=\(None, 4, 3\)"):
            run(short)
        run(right)
