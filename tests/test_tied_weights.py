"""Tests of the weights of layers that are used more than once in one network."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs, same_weights

import engine as keras
from engine import layers

LOSS = "sparse_categorical_crossentropy"


def tied(*parts: Any, **options: Any) -> keras.Sequential:
    """Returns a network in which some layers with weights occur several times."""
    model = keras.Sequential([keras.Input((FEATURES,)), *parts])
    model.compile(keras.optimizers.SGD(1.0, **options), "mse")
    return model


def forward(parts: list[str], weights: dict[str, list[Any]], x: Any) -> Any:
    """Computes the outputs of the network in training in float64."""
    for part in parts:
        kernel, *rest = weights[part]
        if part == "dense":
            x = np.tanh(x @ kernel + rest[0])
        elif part == "prelu":
            x = np.where(x < 0, x * kernel, x)
        else:
            axis = 0 if part == "batch" else 1
            spread = np.sqrt(x.var(axis=axis, keepdims=True) + 1e-3)
            x = (x - x.mean(axis=axis, keepdims=True)) / spread * kernel + rest[0]
    return x


@pytest.mark.parametrize(
    "parts",
    [
        ["dense", "dense"],
        ["dense", "prelu", "dense", "prelu", "dense"],
        ["batch", "dense", "batch", "prelu", "batch"],
        ["layer", "dense", "layer", "dense", "layer"],
    ],
    ids="-".join,
)
def test_gradients_add_up(parts: list[str], rng: np.random.Generator) -> None:
    """The gradient, from a step of SGD, is compared with central differences of the loss in float64."""
    made = {
        "dense": layers.Dense(FEATURES, "tanh"),
        "prelu": layers.PReLU(alpha_initializer="ones"),
        "batch": layers.BatchNormalization(),
        "layer": layers.LayerNormalization(epsilon=1e-3),
    }
    model = tied(*(made[part] for part in parts))
    x, y = rng.normal(size=(2, 40, FEATURES)).astype(np.float32)
    model.set_weights([w + rng.uniform(-0.3, 0.3, w.shape) * (w.ndim > 0) for w in model.weights])
    # Running averages have no gradient.
    learned = {part: [np.asarray(w, float) for w in made[part].trainable_weights] for part in parts}
    model.train_on_batch(x, y)
    for part, arrays in learned.items():
        for array, after in zip(arrays, made[part].trainable_weights, strict=True):
            for place in np.ndindex(array.shape):
                losses, at, step = [], array[place], 1e-6
                for array[place] in (at + step, at - step):
                    losses.append(np.mean((forward(parts, learned, x.astype(float)) - y) ** 2))
                array[place] = at
                gradient = (losses[0] - losses[1]) / (2 * step)
                assert after[place] == pytest.approx(at - gradient, abs=3e-6)


def test_each_weight_is_there_once() -> None:
    dense, norm = layers.Dense(FEATURES), layers.BatchNormalization()
    model = tied(dense, norm, dense, norm, dense)
    assert [w.shape for w in model.weights] == [(FEATURES, FEATURES), *[(FEATURES,)] * 5]
    assert len(model.trainable_weights) == 4
    assert len(model.non_trainable_weights) == 2
    assert model.count_params() == 36 + 5 * 6
    model.fit(np.ones((8, FEATURES)), np.ones((8, FEATURES)), verbose=0)
    assert [tuple(v.shape) for v in model.optimizer.variables][2:] == []
    model.set_weights([np.full(w.shape, 0.5) for w in model.weights])
    assert np.all(dense.kernel == 0.5)


@pytest.mark.parametrize(
    "options",
    [{}, {"clipnorm": 0.01}, {"global_clipnorm": 0.01}, {"clipvalue": 1e-4}, {"weight_decay": 0.1}],
    ids=str,
)
def test_a_step_is_that_of_the_sum(options: dict[str, Any], blobs: Blobs) -> None:
    """The optimizer makes one step of tied weights, with the sum of the gradients of all uses."""
    y = np.roll(blobs.x, 1, axis=1)
    dense = layers.Dense(FEATURES, kernel_initializer="orthogonal")
    model = tied(dense, layers.ReLU(), dense, **options)
    copies = [layers.Dense(FEATURES), layers.Dense(FEATURES)]
    twin = tied(copies[0], layers.ReLU(), copies[1])
    before = model.get_weights()
    twin.set_weights([*before, *before])
    for each in (model, twin):
        each.train_on_batch(blobs.x, y)
    gradients = [
        old - first + old - second
        for old, first, second in zip(before, *(copy.get_weights() for copy in copies), strict=True)
    ]
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    if "clipnorm" in options:
        gradients = [g * min(1, 0.01 / norm) for g, norm in zip(gradients, norms, strict=True)]
    if "global_clipnorm" in options:
        gradients = [g * min(1, 0.01 / np.linalg.norm(norms)) for g in gradients]
    if "clipvalue" in options:
        gradients = [g.clip(-1e-4, 1e-4) for g in gradients]
    decay = options.get("weight_decay", 0.0)
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(new, old * (1 - decay) - gradient, rtol=1e-5, atol=1e-6)


def test_running_averages_move_at_each_use(blobs: Blobs) -> None:
    norm = layers.BatchNormalization(momentum=0.9)
    model = tied(norm, layers.Rescaling(3.0), norm)
    model.train_on_batch(blobs.x, blobs.x)
    mean, variance = norm.non_trainable_weights
    once, twice = 0.1 * blobs.x.mean(axis=0), 0.0  # the inputs of the second use have mean 0
    np.testing.assert_allclose(mean, 0.9 * once + 0.1 * twice, rtol=1e-4, atol=1e-6)
    spread = blobs.x.var(axis=0)
    second = 9 * spread / (spread + 1e-3)
    np.testing.assert_allclose(variance, 0.9 * (0.9 + 0.1 * spread) + 0.1 * second, rtol=1e-4)


class Scale(layers.Layer):
    """A custom layer with factors, one of which is not trained."""

    def build(self, input_shape: Any) -> None:
        self.still = self.add_weight(shape=(input_shape[-1],), initializer="ones", trainable=False)
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.factor, np.sum(upstream * inputs, axis=0)


def test_layers_of_ones_own(blobs: Blobs) -> None:
    own = Scale()
    model = tied(own, layers.Dense(FEATURES), own)
    copies = [Scale(), Scale()]
    twin = tied(copies[0], layers.Dense(FEATURES), copies[1])
    twin.layers[1].set_weights(model.layers[1].get_weights())
    for each in (model, twin):
        each.train_on_batch(blobs.x, blobs.x)
    steps = [1 - copy.get_weights()[1] for copy in copies]
    np.testing.assert_allclose(own.get_weights()[1], 1 - sum(steps), rtol=1e-5)
    assert len(model.weights) == 4
    np.testing.assert_array_equal(model.layers[1].kernel, twin.layers[1].kernel)


def test_what_a_layer_can_not_be_used_for() -> None:
    dense, norm = layers.Dense(4, name="d"), layers.BatchNormalization(renorm=True, name="n")
    with pytest.raises(ValueError, match=r"'d' comes twice.*\(6, 4\) for \(n, 6\) and \(4, 4\) for \(n, 4\)"):
        tied(dense, dense)
    with pytest.raises(ValueError, match=r"'n' comes twice.*`renorm`"):
        tied(norm, norm)
    own = Scale(name="s")
    with pytest.raises(ValueError, match=r"'s' was built for \(n, 6\) but gets \(n, 4\)"):
        tied(own, layers.Dense(4), own)


def parts_of() -> list[Any]:
    """Returns layers that are used several times, also within a model that is used twice."""
    dense, norm = layers.Dense(8, "tanh"), layers.LayerNormalization()
    inner = keras.Sequential([keras.Input((8,)), dense, norm, layers.Dense(8)], name="inner")
    head = layers.Dense(CLASSES, "softmax")
    return [layers.Dense(8), norm, dense, inner, layers.BatchNormalization(), inner, dense, norm, head]


def tied_model(how: str, blobs: Blobs) -> Any:
    parts = parts_of()
    if how == "stack":
        model = keras.Sequential([keras.Input((FEATURES,)), *parts])
    else:
        outputs = inputs = keras.Input((FEATURES,))
        for part in parts:
            outputs = part(outputs)
        model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    model.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".safetensors", ".h5", ".weights.h5"])
@pytest.mark.parametrize("how", ["stack", "chain"])
def test_files_of_tied_weights(how: str, suffix: str, blobs: Blobs, tmp_path: Path) -> None:
    model = tied_model(how, blobs)
    if suffix == ".weights.h5":
        model.save_weights(tmp_path / "m.weights.h5")
        again = tied_model(how, blobs)
        again.load_weights(tmp_path / "m.weights.h5")
    else:
        model.save(tmp_path / f"m{suffix}")
        again = keras.saving.load_model(tmp_path / f"m{suffix}")
    assert same_weights(model, again)
    for each in (model, again):
        each.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    assert same_weights(model, again)
    assert model.count_params() == again.count_params()


@pytest.mark.parametrize("how", ["stack", "chain"])
def test_copies_of_tied_weights(how: str, blobs: Blobs) -> None:
    model = tied_model(how, blobs)
    again = pickle.loads(pickle.dumps(model))
    assert same_weights(model, again)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for each in (again, clone):
        np.testing.assert_array_equal(each.predict(blobs.x, verbose=0), model.predict(blobs.x, verbose=0))
    clone.compile(keras.optimizers.Adam(0.01), LOSS)
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    for each in (model, clone):
        each.fit(blobs.x, blobs.y, shuffle=False, verbose=0)
    assert same_weights(model, clone)


def test_state_dicts_have_tied_weights_at_all_places(blobs: Blobs) -> None:
    dense = layers.Dense(FEATURES)
    model = tied(dense, layers.ReLU(), dense)
    state = model.to_torch_state_dict(numpy=True)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    state = {key: value + 1 for key, value in state.items()}
    model.from_torch_state_dict(state)
    np.testing.assert_array_equal(dense.kernel, state["0.weight"].T)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"other values for '2' than before for the same layer, 'dense"):
        model.from_torch_state_dict(state | {"2.bias": state["2.bias"] + 1})
    assert all(map(np.array_equal, before, model.get_weights()))
    assert list(model.to_torch_state_dict(["fc"], numpy=True)) == ["fc.weight", "fc.bias"]
    model.from_torch_state_dict(model.to_torch_state_dict(["fc"], numpy=True), ["fc"])
    assert all(map(np.array_equal, before, model.get_weights()))


def test_freezing_and_changing_what_is_tied(blobs: Blobs) -> None:
    dense = layers.Dense(FEATURES)
    model = tied(dense, layers.Dense(FEATURES), dense)
    dense.trainable = False
    model.compile("sgd", "mse")
    before = dense.get_weights()
    model.fit(blobs.x, blobs.x, verbose=0)
    assert all(map(np.array_equal, before, dense.get_weights()))
    assert len(model.trainable_weights) == 2
    assert model.pop() is dense
    assert len(model.weights) == 4
    model.add(dense)
    model.add(dense)
    assert len(model.weights) == 4
    kernel, bias = before
    expected = (blobs.x @ kernel + bias) @ model.layers[1].kernel + model.layers[1].bias
    for _ in range(2):
        expected = expected @ kernel + bias
    np.testing.assert_allclose(model.predict(blobs.x, verbose=0), expected, rtol=1e-3, atol=1e-4)
