"""Tests of models in files: every format restores what was saved, and a file is either new and complete or unchanged."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from common import assert_all_close, assert_all_equal
from conftest import Blobs, classifier, same_weights
from safetensors.numpy import load_file
from saved import MODELS, WEIGHTS, network

import engine
import engine as keras
from engine import layers, losses, models, ops, optimizers, saving


@pytest.mark.parametrize("suffix", MODELS)
def test_models_come_back(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    model = network(optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 100), use_ema=True))
    model.fit(blobs.x, blobs.y, verbose=0)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    again = models.load_model(path)
    assert again.name == model.name
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    assert same_weights(again, model)
    assert again.predict(blobs.x).tobytes() == model.predict(blobs.x).tobytes()
    assert again.evaluate(blobs.x, blobs.y) == model.evaluate(blobs.x, blobs.y)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for name, arrays in model.optimizer._snapshot().arrays.items():  # Keras has another scaling
        assert_all_equal(again.optimizer._snapshot().arrays[name], arrays)
    for each in (model, again):
        each.train_on_batch(blobs.x[:32], blobs.y[:32])
    assert same_weights(again, model)
    assert again.optimizer.iterations == model.optimizer.iterations == 6
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]  # there are no other files


def test_a_folder(tmp_path: Path, blobs: Blobs) -> None:
    model = network()
    for _ in range(2):  # the second save replaces the first file
        model.fit(blobs.x, blobs.y, verbose=0)
        model.save(tmp_path / "model", zipped=False)
    names = ["config.json", "metadata.json", "model.weights.h5"]
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == names
    assert same_weights(models.load_model(tmp_path / "model"), model)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("suffix", WEIGHTS)
def test_weights_come_back(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    model, path = network("sgd"), tmp_path / f"model{suffix}"
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(path)
    again = network("sgd")
    again.load_weights(path)
    assert same_weights(again, model)
    assert again.optimizer.iterations == 5
    with pytest.raises(ValueError, match=r"there is no config|extension"):
        models.load_model(path)


@pytest.mark.parametrize("suffix", MODELS)
def test_weights_of_whole_models_can_be_loaded(suffix: str, tmp_path: Path) -> None:
    model, again, path = network(), network(), tmp_path / f"model{suffix}"
    model.save(path)
    again.load_weights(path)
    assert same_weights(again, model)


@pytest.mark.parametrize("stored", [np.ones(3, np.uint8), np.ones(3), np.ones((2, 2), np.uint8)])
def test_bits_of_another_model_are_passed_over(stored: Any, tmp_path: Path, blobs: Blobs) -> None:
    model, path = network(), tmp_path / "m.weights.h5"
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        assert file["engine/rounded/vars/0"][()].any()
        del file["engine/rounded/vars/0"]
        file["engine/rounded/vars/0"] = stored
    again = network()
    again.load_weights(path)
    assert_all_close(again.optimizer.variables, model.optimizer.variables, rtol=1e-6)


def test_names_in_files_are_those_of_keras(tmp_path: Path) -> None:
    model = network()
    model.save_weights(tmp_path / "m.weights.h5")
    model.save_weights(tmp_path / "m.npz")
    model.save_weights(tmp_path / "m.safetensors")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert list(file["layers"]) == ["batch_normalization", "dense", "dense_1", "dense_2", "dropout"]
        assert file["layers/dense_1/vars"].attrs["name"] == model.layers[2].name
        kernel = file["layers/dense_1/vars/0"][()]
        assert file["optimizer/vars/0"][()] == 0
    assert np.array_equal(kernel, model.layers[2].weights[0])
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert np.array_equal(file["layers/dense_1/vars/0"], kernel)
    assert np.array_equal(load_file(tmp_path / "m.safetensors")["layers/dense_1/vars/0"], kernel)


def test_an_archive_is_that_of_keras(tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
        assert "keras_version" in json.loads(archive.read("metadata.json"))
    assert (config["module"], config["class_name"], config["registered_name"]) == (
        "keras",
        "Sequential",
        None,
    )
    assert config["build_config"] == {"input_shape": [None, 6]}
    assert config["compile_config"]["loss"] == "sparse_categorical_crossentropy"
    assert config["compile_config"]["metrics"] == ["accuracy"]
    dense = config["config"]["layers"][1]
    assert (dense["module"], dense["class_name"]) == ("keras.layers", "Dense")
    assert dense["config"]["kernel_initializer"]["module"] == "keras.initializers"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    for name in ("a", "b"):
        model.save_weights(tmp_path / f"{name}.npz")
        model.save_weights(tmp_path / f"{name}.weights.h5")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()


def test_json(blobs: Blobs) -> None:
    model = network(optimizers.SGD(0.1, momentum=0.9))
    again = models.model_from_json(model.to_json(indent=2))
    assert again.get_config() == model.get_config()
    assert again.optimizer.get_config() == model.optimizer.get_config()
    again.set_weights(model.get_weights())
    assert again.evaluate(blobs.x, blobs.y) == model.evaluate(blobs.x, blobs.y)
    plain = keras.Sequential([layers.Dense(2)])
    assert models.model_from_json(plain.to_json()).optimizer is None


def test_what_is_left_out(tmp_path: Path, blobs: Blobs) -> None:
    model = network()
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save(tmp_path / "m.npz")
    assert models.load_model(tmp_path / "m.npz", compile=False).optimizer is None
    model.save(tmp_path / "m.npz", include_optimizer=False)
    with pytest.warns(UserWarning, match="Skipping .* optimizer 'adam.*', because it has 18"):
        again = models.load_model(tmp_path / "m.npz")
    assert again.optimizer.iterations == 0


def test_models_without_weights(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Dense(2)], name="unbuilt")
    with pytest.warns(UserWarning, match="You are saving a model that has not yet been built"):
        model.save(tmp_path / "m.keras")
    assert not models.load_model(tmp_path / "m.keras").built
    with pytest.raises(ValueError, match="has not yet been built"):
        model.save_weights(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="has not yet been built"):
        model.load_weights(tmp_path / "m.keras")
    flat = keras.Sequential([keras.Input((2, 3)), layers.Flatten()])
    flat.save(tmp_path / "flat.h5")
    assert models.load_model(tmp_path / "flat.h5").predict(np.ones((1, 2, 3))).shape == (1, 6)


# Tests of files of functional models in which an array is no batch, such as a mean over the samples.


RNG = np.random.default_rng(0)
CUBES = RNG.normal(size=(3, 4, 2)).astype(np.float32)
PLACES = np.array([[1, 0], [0, 0], [0, 0]], np.int32)

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mean over samples": lambda x, i: x - ops.mean(x, axis=0),
    "all rows as samples": lambda x, i: x + ops.reshape(ops.reshape(x, (-1, 2)) * 2, (-1, 4, 2)),
    "one sample": lambda x, i: x * ops.sum(x[0]),
    "one timestep of one sample": lambda x, i: x * x[0, 1],
    "two samples": lambda x, i: x * ops.sum(x[[0, 1]], axis=0),
    "two timesteps": lambda x, i: x[:, [2, 0]],
    "slice from a symbol": lambda x, i: ops.slice(x, [0, i[0, 0], 0], (-1, 2, 2)),
    "number of elements": lambda x, i: x * ops.cast(ops.size(i), "float32"),
    "number of samples in a shape": lambda x, i: ops.reshape(x, (ops.shape(x)[0], -1)),
}


@pytest.mark.parametrize("form", ["config", "keras", "h5"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_model_comes_back(operation: Any, form: str, tmp_path: Path) -> None:
    x, i = keras.Input((4, 2)), keras.Input((2,), dtype="int32")
    model = keras.Model([x, i], operation(x, i))
    expected = model.predict([CUBES, PLACES], verbose=0)
    if form == "config":
        back = keras.Model.from_config(model.get_config())
    else:
        path = tmp_path / f"model.{form}"
        model.save(path)
        back = keras.models.load_model(path)
    np.testing.assert_array_equal(back.predict([CUBES, PLACES], verbose=0), expected)


# Tests of custom layers, losses and functions in files.


# Custom classes


@saving.register_keras_serializable("mine")
class Scaled(layers.Layer):
    """A custom layer with a weight that is not trained between two that are, and with its own data in files."""

    def __init__(self, factor: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor
        self.seen = 0

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.a = self.add_weight(shape=(input_shape[-1],), initializer="ones")
        self.b = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.c = self.add_weight(shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return inputs * self.a * self.factor + self.c + self.b

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.a * self.factor, (upstream * inputs * self.factor).sum(0), upstream.sum(0)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["seen"] = np.array(self.seen)

    def load_own_variables(self, store: Any) -> None:
        self.seen = int(store["seen"])
        super().load_own_variables({name: store[name] for name in store if name != "seen"})


@saving.register_keras_serializable("mine")
def quartic(y_true: Any, y_pred: Any) -> Any:
    return np.mean((y_pred - y_true) ** 4, axis=-1)


quartic.gradient = lambda y_true, y_pred: 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]


class Cube(losses.Loss):
    def __init__(self, scale: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * np.mean(np.abs(y_pred - y_true) ** 3, axis=-1)

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * 3 * (y_pred - y_true) * np.abs(y_pred - y_true) / y_pred.shape[-1]


def spread(y_true: Any, y_pred: Any) -> Any:
    return np.ptp(y_pred, axis=-1)


def halves(shape: Any, dtype: Any = None) -> Any:
    return np.full(shape, 0.5, np.float32)


def positive(w: Any) -> Any:
    return np.maximum(w, 0)


# The older format has no place for what is no weight.
@pytest.mark.parametrize("suffix", [".keras", ".npz", ".safetensors"])
def test_things_of_ones_own(suffix: str, tmp_path: Path, blobs: Blobs) -> None:
    dense = layers.Dense(3, kernel_initializer=halves, kernel_constraint=positive)
    model = classifier(Scaled(3.0), dense, loss=quartic, metrics=[spread])
    model.layers[1].seen = 7
    model.fit(blobs.x, blobs.one_hot, verbose=0)
    path = tmp_path / f"m{suffix}"
    model.save(path)
    own = {"spread": spread, "halves": halves, "positive": positive}
    again = models.load_model(path, custom_objects=own)
    assert (again.layers[1].factor, again.layers[1].seen) == (3.0, 7)
    assert again.evaluate(blobs.x, blobs.one_hot) == model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match=r"m\.\w+.*'?positive'?"):
        models.load_model(path, custom_objects={"spread": spread, "halves": halves})
    with keras.utils.custom_object_scope(own):
        assert same_weights(models.load_model(path), model)


def test_losses_of_ones_own(tmp_path: Path, blobs: Blobs) -> None:
    model = classifier(loss=Cube(2.0))
    model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras", custom_objects={"Cube": Cube})
    assert again.evaluate(blobs.x, blobs.one_hot) == model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match=r"m\.keras: unknown class or function 'Cube'"):
        models.load_model(tmp_path / "m.keras")
    assert models.load_model(tmp_path / "m.keras", compile=False).optimizer is None


def test_arrays_as_initializers(tmp_path: Path) -> None:
    start = np.arange(12, dtype=np.float32).reshape(6, 2)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2, kernel_initializer=start)])
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert np.array_equal(models.clone_model(again).get_weights()[0], start)


def test_a_lambda_is_no_part_of_a_file(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, bias_initializer=lambda shape, dtype=None: np.ones(shape))]
    )
    with pytest.warns(UserWarning, match="includes a `lambda`"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"m\.keras: .*<lambda>"):
        models.load_model(tmp_path / "m.keras")


def test_a_class_that_a_file_names_is_asked_for(tmp_path: Path) -> None:
    class Doubled(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    keras.Sequential([keras.Input((2,)), Doubled()]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"'Doubled'.*custom_objects=\{'Doubled': Doubled\}"):
        keras.models.load_model(tmp_path / "m.keras")
    keras.models.load_model(tmp_path / "m.keras", custom_objects={"Doubled": Doubled})


# `save_weights("model.h5")`, as scripts for Keras 2 call it.


X = np.ones((3, 4), "float32")


def sequential() -> engine.Model:
    hidden = layers.Dense(3, name="hidden")
    return engine.Sequential([engine.Input((4,)), hidden, layers.BatchNormalization(), layers.Dense(1)])


class Network(engine.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


def nested() -> engine.Model:
    inputs = engine.Input((4,))
    return engine.Model(inputs, layers.Dense(2)(sequential()(inputs)))


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
@pytest.mark.parametrize("make", [sequential, Network, nested])
def test_saved_and_loaded(tmp_path: Path, make: Any, suffix: str) -> None:
    model, other = make(), make()
    expected = model.predict(X, verbose=0)
    other.predict(X, verbose=0)
    path = tmp_path / f"model{suffix}"
    model.save_weights(path)
    other.load_weights(path)
    np.testing.assert_array_equal(other.predict(X, verbose=0), expected)


def test_such_files_are_those_of_keras_3_by_another_name(tmp_path: Path) -> None:
    model, other = sequential(), sequential()
    model.save_weights(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_all_equal(other.get_weights(), model.get_weights())


def test_weights_are_no_model(tmp_path: Path) -> None:
    model = sequential()
    model.save_weights(tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"has no|no config|No model"):
        engine.models.load_model(tmp_path / "model.h5")
