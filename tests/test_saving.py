"""Tests of models in files: every format restores what was saved, and a file is either new and complete or unchanged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import Blobs, same_weights
from safetensors.numpy import load_file
from saved import MODELS, WEIGHTS, network

import engine as keras
from engine import layers, models, optimizers


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
        for ours, theirs in zip(again.optimizer._snapshot().arrays[name], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)
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
    for ours, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


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
