"""Layers that return indices, in models: the dtypes of outputs, the shapes, and configs of vocabularies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers

NUMBERS = np.array([[0.0, 0.15], [0.21, 7.8]])
STRINGS = np.array([["a"], ["z"]])
CASES: dict[str, tuple[Any, Any, str]] = {
    "discretization": (lambda: layers.Discretization(bin_boundaries=[0.0, 0.1, 0.2]), NUMBERS, "int32"),
    "strings": (lambda: layers.StringLookup(vocabulary=["a", "b"]), STRINGS, "int64"),
    "hashes": (lambda: layers.Hashing(3, dtype="int32"), STRINGS, "int32"),
    "texts": (
        lambda: layers.TextVectorization(vocabulary=["a"], output_sequence_length=2),
        STRINGS[:, 0],
        "int64",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["functional", "sequential", "nested"])
def test_a_model_returns_the_indices_that_its_last_layer_returns(name, form):
    make, x, dtype = CASES[name]
    layer = make()
    inputs = keras.Input(x.shape[1:], dtype="string" if x is not NUMBERS else None)
    model = keras.Sequential([inputs, layer]) if form == "sequential" else keras.Model(inputs, layer(inputs))
    if form == "nested":
        again = keras.Input(x.shape[1:], dtype=inputs.dtype)
        model = keras.Model(again, model(again))
    assert model.output.dtype == dtype
    for found in (model(x), model.predict(x, verbose=0)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, layer(x))


def test_what_follows_indices_trains_and_is_loaded(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Discretization(bin_boundaries=[0.0, 0.1, 0.2]),
            layers.Embedding(4, 3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(NUMBERS, np.ones((2, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(NUMBERS, verbose=0), model.predict(NUMBERS, verbose=0))
    inputs = keras.Input((2,))
    halves = layers.Lambda(lambda indices: indices / 2)(CASES["discretization"][0]()(inputs))
    np.testing.assert_array_equal(keras.Model(inputs, halves)(NUMBERS), [[0.5, 1], [1.5, 1.5]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Hashing(3, output_mode="count"),
        lambda: layers.StringLookup(vocabulary=["a"], output_mode="multi_hot"),
        lambda: layers.CategoryEncoding(3, output_mode="count"),
    ],
)
def test_one_vector_of_all_samples_is_refused(make):
    with pytest.raises(ValueError, match=r"would leave no samples: use Input\(\(1,\)\)"):
        make()(keras.Input((), dtype="string"))


def test_the_config_of_a_vocabulary_has_the_terms_alone():
    lookup = layers.StringLookup(vocabulary=["a", "b"], oov_token="[OOV]", mask_token="[MASK]")
    assert lookup.get_config()["vocabulary"] == ["a", "b"]
    again = layers.StringLookup.from_config(lookup.get_config())
    assert again.get_vocabulary() == lookup.get_vocabulary() == ["[MASK]", "[OOV]", "a", "b"]
    weighted = layers.StringLookup(vocabulary=["a", "b"], idf_weights=[0.5, 0.25], output_mode="tf_idf")
    assert weighted.get_config()["idf_weights"] == [0.5, 0.25]
    again = layers.StringLookup.from_config(weighted.get_config())
    np.testing.assert_array_equal(again([["a", "b", "b", "z"]]), weighted([["a", "b", "b", "z"]]))


def test_bins_of_a_single_number_have_a_shape():
    layer = layers.Discretization(bin_boundaries=[0.0, 1.0], output_mode="one_hot")
    assert layer.compute_output_shape(()) == (3,)
    assert layers.Discretization(bin_boundaries=[0.0]).compute_output_shape(()) == ()


def test_a_symbolic_tensor_stands_for_an_input():
    tensor = keras.KerasTensor((4, 3), dtype="int32")
    inputs = keras.Input(tensor=tensor)
    assert (inputs.shape, inputs.dtype) == ((4, 3), "int32")
    assert inputs.output is tensor
    model = keras.Model(inputs, layers.Dense(2)(tensor))
    assert model.predict(np.ones((4, 3)), verbose=0).shape == (4, 2)
    for given in (
        {"shape": (5,)},
        {"batch_size": 5},
        {"batch_shape": (None, 3)},
        {"dtype": "float32"},
        {"sparse": True},
    ):
        with pytest.raises(ValueError, match=rf"`{next(iter(given))}` must be that of `input_tensor`"):
            layers.InputLayer(input_tensor=keras.KerasTensor((4, 3), dtype="int32"), **given)
    with pytest.raises(ValueError, match="a model can begin with it as it is"):
        keras.Input(tensor=layers.Dense(2)(keras.Input((3,))))
