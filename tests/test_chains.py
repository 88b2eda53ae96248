"""Tests of models made by calling layers, and of names, inputs and outputs of layers and weights."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs, classifier, same_weights

import engine as keras
from engine import layers


def chained(name: str | None = None) -> Any:
    inputs = keras.Input((FEATURES,), name="rows")
    hidden = layers.Dense(8, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(hidden), name=name)


def test_a_chain_is_a_stack(blobs: Blobs) -> None:
    stack = classifier()
    chain = chained()
    chain.set_weights(stack.get_weights())
    chain.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for model in (stack, chain):
        model.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    assert same_weights(stack, chain)
    assert not isinstance(chain, keras.Sequential)
    assert isinstance(stack, keras.Model)
    assert [type(layer).__name__ for layer in chain.layers] == ["InputLayer", "Dense", "Dense"]
    assert chain.get_layer("rows") is chain.get_layer(index=0) is chain.inputs[0].start
    lines: list[str] = []
    chain.summary(print_fn=lines.append)
    assert 'Model: "functional' in lines[0]
    assert "rows (InputLayer)" in lines[0]


def test_copies_of_a_chain() -> None:
    chain = chained("chain")
    for other in (keras.models.clone_model(chain), type(chain).from_config(chain.get_config())):
        assert type(other) is type(chain)
        assert other.name == "chain"
        assert [w.shape for w in other.get_weights()] == [w.shape for w in chain.get_weights()]


@pytest.mark.parametrize("suffix", ["h", "onnx"])
def test_other_programs_see_the_stack(suffix: str, tmp_path: Path) -> None:
    chain = chained("net")
    _, *dense = chain.layers
    states = [chain.to_torch_state_dict(numpy=True)]
    chain.export(tmp_path / f"net.{suffix}")
    written = (tmp_path / f"net.{suffix}").read_bytes()
    copies = [layers.Dense.from_config(layer.get_config()) for layer in dense]
    stack = keras.Sequential([keras.Input((FEATURES,), name="rows"), *copies], name="net")
    stack.set_weights(chain.get_weights())
    states.append(stack.to_torch_state_dict(numpy=True))
    stack.export(tmp_path / f"net.{suffix}")
    assert written == (tmp_path / f"net.{suffix}").read_bytes()
    assert list(states[0]) == list(states[1]) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    chain.from_torch_state_dict(states[1])
    assert same_weights(stack, chain)


def test_layers_know_their_place() -> None:
    model = classifier()
    first, last = model.layers
    assert first.input.shape == model.input.shape == (None, FEATURES)
    assert first.output.shape == last.input.shape == (None, 8)
    assert [tensor.shape for tensor in model.outputs] == [last.output.shape] == [(None, CLASSES)]
    assert last.output.ndim == 2
    with pytest.raises(AttributeError, match="thus has no defined output"):
        _ = layers.Dense(2).output


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Model(keras.Input((3,)), np.zeros(3)), "`outputs` must be what Input"),
        (
            lambda: keras.Model(keras.Input((3,)), layers.Dense(2)(keras.Input((3,)))),
            r"but they depend on another Input\(\), <KerasTensor .*>, which layer .dense.* reads: add that to `inputs`",
        ),
        (
            lambda: keras.Model(keras.Input((3,)), layers.Dense(2)(keras.Input((3,))), training=True),
            "got 'tr",
        ),
    ],
)
def test_what_is_no_chain(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_weights_have_names_and_can_be_assigned(blobs: Blobs) -> None:
    model = classifier()
    layer = model.layers[0]
    kernel = layer.kernel
    assert (kernel.name, kernel.path, kernel.trainable) == ("kernel", f"{layer.path}/kernel", True)
    assert type(kernel.numpy()) is type(kernel.value) is type(kernel * 2) is np.ndarray
    with pytest.raises(TypeError, match="set all values by `assign`"):
        kernel[0] = 1
    with pytest.raises(AttributeError):
        layer.kernel = np.zeros(kernel.shape)  # type: ignore[misc] # as in Keras
    layer.bias.assign(np.arange(8))
    assert layer.bias.numpy().tolist() == list(range(8))
    with pytest.raises(ValueError, match=r"variable.shape=\(8,\), Received: value.shape=\(3,\)"):
        layer.bias.assign(np.zeros(3))
    names = [weight.name for weight in model.trainable_variables]
    assert names == ["kernel", "bias"] * 2
    assert len(model.variables) == 4
    assert model.non_trainable_variables == []
    assert copy.copy(model.get_weights()[0]).flags.writeable


def test_weights_of_layers_can_be_left_out_of_decay(blobs: Blobs) -> None:
    models = []
    for by_name in (True, False):
        model = classifier()
        optimizer = keras.optimizers.AdamW(weight_decay=0.5)
        biases = [layer.bias for layer in model.layers]
        optimizer.exclude_from_weight_decay(**({"var_names": ["bias"]} if by_name else {"var_list": biases}))
        model.compile(optimizer, "sparse_categorical_crossentropy")
        model.fit(blobs.x, blobs.y, verbose=0, shuffle=False)
        models.append(model)
    keras.utils.set_random_seed(1)
    assert [w.name for w in models[0].weights] == [w.name for w in models[1].weights]
    decays = [model.optimizer._lower(model.optimizer._tracked)["decays"] for model in models]
    assert decays == [[0.5, 0.0, 0.5, 0.0]] * 2
    with pytest.raises(TypeError, match="`var_list` must hold weights"):
        keras.optimizers.AdamW().exclude_from_weight_decay(var_list=[np.zeros(3)])


def test_numbers_and_arrays_have_numpy(blobs: Blobs) -> None:
    model = classifier(optimizer=keras.optimizers.Adam(0.5))
    outputs = model(blobs.x)
    for array in (outputs, model.layers[0](blobs.x), model.layers[0].kernel):
        assert type(array.numpy()) is np.ndarray
        assert type(array + 1) is np.ndarray
    rate = model.optimizer.learning_rate
    assert (rate, rate.numpy(), rate.value) == (0.5, 0.5, 0.5)
    rate.assign(0.25)
    assert model.optimizer.learning_rate == 0.25
    assert model.optimizer.get_config()["learning_rate"] == 0.25
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.0])
    assert metric.result().numpy() == metric.result() == 1.5
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number"):
        rate.assign(-1)


class Narrowing(keras.Model):
    """A Model subclass with its own arguments."""

    def __init__(self, units: int) -> None:
        inputs = keras.Input((FEATURES,))
        super().__init__(inputs=inputs, outputs=layers.Dense(CLASSES)(layers.Dense(units)(inputs)))
        self.units = units


class Told(Narrowing):
    """A Model subclass with `get_config`."""

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}


def test_pickles_of_classes_of_ones_own(blobs: Blobs) -> None:
    told = Told(5)
    around = keras.Sequential([keras.Input((FEATURES,)), told, layers.Dense(2)])
    for model in (told, around):
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert type(again) is type(model)
            assert np.array_equal(again.predict(blobs.x), model.predict(blobs.x))
    assert type(again.layers[0]) is Told
    assert again.layers[0].units == 5
    # If a class has arguments but no config for them, a copy is a Sequential of its layers.
    again = pickle.loads(pickle.dumps(Narrowing(5)))
    assert type(again) is keras.models.Functional
    assert again.layers[1].units == 5


class Narrowest(Narrowing):
    def __init__(self) -> None:
        super().__init__(2)


def test_classes_of_ones_own_are_chains(blobs: Blobs, tmp_path: Path) -> None:
    for model in (Narrowing(5), Narrowest(), Narrowest()):
        assert isinstance(model, keras.Model)
        assert not isinstance(model, keras.Sequential)
        assert model.layers[1].units == model.units
        model.compile("sgd", "mse")
        model.fit(blobs.x, blobs.one_hot, verbose=0)
        assert np.array_equal(model.call(blobs.x), model.predict(blobs.x))
        clone = keras.models.clone_model(model)
        assert [w.shape for w in clone.get_weights()] == [w.shape for w in model.get_weights()]
        model.save(tmp_path / "own.npz")
        known = {"Narrowing": Narrowing, "Narrowest": Narrowest}
        again = keras.models.load_model(tmp_path / "own.npz", custom_objects=known)
        assert same_weights(again, model)
