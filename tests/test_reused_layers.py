"""Tests of layers that are used more than once in one network."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import compiled
from conftest import CLASSES, FEATURES, Blobs, same_weights

import engine as keras
from engine import layers

LOSS = "sparse_categorical_crossentropy"


def stack_of(activation: Any, other: Any, shape: tuple[int, ...] = (FEATURES,)) -> keras.Sequential:
    parts = [layers.Dense(8), activation, layers.Dense(5), other, layers.Dense(CLASSES, "softmax")]
    return compiled(keras.Sequential([keras.Input(shape), *parts]), keras.optimizers.Adam(0.01), LOSS)


def chain_of(activation: Any, other: Any) -> keras.Model:
    stack = stack_of(activation, other)
    outputs = inputs = keras.Input((FEATURES,))
    for layer in stack.layers:
        outputs = layer(outputs)
    return compiled(keras.Model(inputs, outputs), keras.optimizers.Adam(0.01), LOSS)


MAKERS = {"stack": stack_of, "chain": chain_of}


@pytest.mark.parametrize("how", MAKERS)
@pytest.mark.parametrize(
    "kind",
    [
        layers.ReLU,
        layers.Softmax,
        lambda: layers.Activation("tanh"),
        lambda: layers.Rescaling(0.5),
        lambda: layers.ActivityRegularization(l2=0.1),
        lambda: layers.GaussianNoise(0.0),
        lambda: layers.Lambda(np.sin, gradient=lambda x, upstream: np.cos(x) * upstream),
    ],
)
def test_it_is_as_if_there_were_two(how: str, kind: Any, blobs: Blobs) -> None:
    layer = kind()
    model, twin = MAKERS[how](layer, layer), stack_of(kind(), kind())
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.fit(blobs.x, blobs.y, epochs=2, shuffle=False, verbose=0)
    assert same_weights(model, twin)
    np.testing.assert_array_equal(model.predict(blobs.x, verbose=0), twin.predict(blobs.x, verbose=0))
    assert model.evaluate(blobs.x, blobs.y, verbose=0) == twin.evaluate(blobs.x, blobs.y, verbose=0)


def test_what_layers_there_are() -> None:
    act = layers.ReLU(name="act")
    stack, chain = stack_of(act, act), chain_of(act, act)
    assert [layer.name for layer in stack.layers].count("act") == 2
    assert chain.layers.count(act) == 1
    assert stack.get_layer(index=1) is stack.get_layer("act") is stack.get_layer(index=3) is act
    assert stack.output_shape == chain.output_shape == chain.output.shape == (None, CLASSES)
    assert act.output.shape == (None, 8)
    stack.pop()
    assert stack.pop() is act
    assert stack.layers[-2] is act
    assert stack.output_shape == (None, 5)


def test_summaries_show_each_use(capsys: pytest.CaptureFixture[str]) -> None:
    act = layers.ReLU(name="act")
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(5), act], name="inner")
    for model, count in ((stack_of(act, act), 2), (stack_of(act, inner), 2), (chain_of(act, act), 1)):
        model.summary(expand_nested=True)
        shown = capsys.readouterr().out
        assert shown.count("act (ReLU)") == count
        # As in Keras, a functional model lists each layer once, with all that it is connected to.
        assert ("Connected to" in shown) == (count == 1)
        assert f" {model.count_params():,} " in shown


@pytest.mark.parametrize("how", MAKERS)
def test_pictures_show_each_use(how: str, tmp_path: Path) -> None:
    act = layers.ReLU(name="act")
    keras.utils.plot_model(MAKERS[how](act, act), tmp_path / "m.svg", show_shapes=True)
    text = (tmp_path / "m.svg").read_text()
    assert text.count(">ReLU<") == 2
    assert "Input shape: (None, 5)" in text


@pytest.mark.parametrize("kind", [layers.Dropout, layers.GaussianDropout, layers.GaussianNoise])
def test_each_use_draws_numbers_of_its_own(kind: Any) -> None:
    drop, x = kind(0.5, seed=7), np.ones((50, 40), np.float32)

    def drawn(*parts: Any) -> Any:
        keras.utils.set_random_seed(2)
        return keras.Sequential([keras.Input((40,)), *parts])(x, training=True)

    once, twice = drawn(drop), drawn(drop, drop)
    assert np.array_equal(twice, drawn(drop, drop))
    again = twice - once + 1 if kind is layers.GaussianNoise else twice / np.where(once == 0, 1, once)
    assert not np.allclose(again[once != 0], once[once != 0])
    if kind is layers.Dropout:
        assert 0.2 < np.mean(twice != 0) < 0.3


FORMATS = [".keras", ".npz", ".safetensors", ".h5"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("how", MAKERS)
def test_files(how: str, suffix: str, blobs: Blobs, tmp_path: Path) -> None:
    drop = layers.Dropout(0.2)
    model = MAKERS[how](drop, drop)
    model.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    model.save(tmp_path / f"m{suffix}")
    again = keras.saving.load_model(tmp_path / f"m{suffix}")
    assert type(again) is type(model)
    assert [layer.name for layer in again._parts_in_order] == [layer.name for layer in model._parts_in_order]
    assert len(set(again._leaves)) == len(again._leaves) - 1
    for each in (model, again):
        each.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    assert same_weights(model, again)


@pytest.mark.parametrize("how", MAKERS)
def test_copies(how: str, blobs: Blobs) -> None:
    act = layers.ReLU()
    model = MAKERS[how](act, keras.Sequential([act, layers.Dense(5), act]))
    copies = [
        pickle.loads(pickle.dumps(model)),
        keras.models.clone_model(model),
        keras.models.model_from_json(model.to_json()),
        type(model).from_config(model.get_config()),
    ]
    for copy in copies:
        first, *others = [leaf for leaf in copy._leaves if isinstance(leaf, layers.ReLU)]
        assert len(others) == 2
        assert all(other is first for other in others)
        assert first is not act
        assert copy.get_config() == model.get_config()
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict(blobs.x, verbose=0), model.predict(blobs.x, verbose=0))


def test_a_copy_is_made_once() -> None:
    act, asked = layers.ReLU(), []

    def copy(layer: Any) -> Any:
        asked.append(layer.name)
        return type(layer).from_config(layer.get_config())

    model = stack_of(act, keras.Sequential([act, act]))
    keras.models.clone_model(model, clone_function=copy, recursive=True)
    assert asked.count(act.name) == 1


def test_models_around_follow(blobs: Blobs) -> None:
    """Two parts of a model share a part, which changes."""
    act = layers.ReLU()
    inner = keras.Sequential([keras.Input((FEATURES,)), act], name="inner")
    left, right = (keras.Sequential([keras.Input((FEATURES,)), inner], name=name) for name in "ab")
    outer = keras.Sequential([keras.Input((FEATURES,)), left, layers.Dense(FEATURES), right])
    inner.add(layers.Activation("tanh"))
    kernel, bias = outer.get_weights()
    hidden = np.tanh(np.maximum(blobs.x, 0)) @ kernel + bias
    np.testing.assert_allclose(
        outer.predict(blobs.x, verbose=0), np.tanh(np.maximum(hidden, 0)), rtol=1e-4, atol=1e-6
    )


class Kept(layers.Layer):
    """A rectifier that stores what its gradient needs, counts its calls, and adds to the loss."""

    calls = 0

    def call(self, inputs: Any, training: bool = False) -> Any:
        self.positive = inputs > 0
        self.calls += training
        self.add_loss(0.25)
        return inputs * self.positive

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        assert self.positive.shape == inputs.shape
        return upstream * self.positive


@pytest.mark.parametrize("how", MAKERS)
def test_what_a_call_keeps_is_there_for_its_gradient(how: str, blobs: Blobs) -> None:
    kept = Kept()
    model, twin = MAKERS[how](kept, kept), stack_of(layers.ReLU(), layers.ReLU())
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.fit(blobs.x, blobs.y, batch_size=50, epochs=2, shuffle=False, verbose=0)
    assert same_weights(model, twin)
    assert kept.calls == 2 * 3 * 2
    assert model.losses == [0.25, 0.25]
    losses = [each.evaluate(blobs.x, blobs.y, verbose=0) for each in (model, twin)]
    assert losses[0] == pytest.approx(losses[1] + 0.5, abs=1e-6)


def test_what_a_call_keeps_where_it_stands_alone(blobs: Blobs) -> None:
    """The layer is not called again between `call` and `gradient`."""
    model, twin = stack_of(Kept(), layers.ReLU()), stack_of(layers.ReLU(), layers.ReLU())
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    assert same_weights(model, twin)
