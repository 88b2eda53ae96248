"""Tests of checksums in files: damaged arrays are errors, and other programs ignore the checksums."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import same_weights
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from saved import network

import engine as keras
from engine import layers, models, optimizers

FORMATS = [".h5", ".weights.h5", ".safetensors"]


def trained() -> keras.Sequential:
    """Returns a model whose optimizer has state, some of which files of Keras do not have."""
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3), layers.BatchNormalization(), layers.Dense(3)]
    )
    model.compile(optimizers.Adam(0.1), "mse")
    model.train_on_batch(np.eye(4, dtype="float32"), np.eye(4, 3, dtype="float32"))
    return model


def save(model: keras.Sequential, path: Path) -> None:
    (model.save_weights if ".weights." in path.name else model.save)(path)


def load(path: Path) -> keras.Sequential:
    if ".weights." not in path.name:
        return models.load_model(path)
    model = trained()
    model.load_weights(path)
    return model


def state(model: keras.Sequential) -> list[Any]:
    """Returns everything that a file contains of a model."""
    optimizer = model.optimizer._snapshot()
    slots = [array.tobytes() for arrays in optimizer.arrays.values() for array in arrays]
    weights = [array.tobytes() for array in model.get_weights()]
    return [*weights, *slots, optimizer.batches, optimizer.rate, model.to_json()]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_flipped_bit_is_refused_or_changes_nothing(suffix: str, tmp_path: Path) -> None:
    path, damaged = tmp_path / f"m{suffix}", tmp_path / f"damaged{suffix}"
    save(trained(), path)
    whole, expected, generator = path.read_bytes(), state(load(path)), random.Random(0)
    if suffix == ".weights.h5":
        expected[-1] = None  # the config is not in the file
    messages = []
    for _ in range(200):
        content = bytearray(whole)
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        damaged.write_bytes(content)
        try:
            loaded = state(load(damaged))
        except ValueError as error:
            messages.append(str(error))
        else:
            assert loaded[:-1] == expected[:-1]
            assert expected[-1] in {None, loaded[-1]}
    assert len(messages) > 10  # much of an HDF5 file is unused
    assert all(damaged.name in message for message in messages)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_flipped_bit_of_any_array_is_refused(suffix: str, tmp_path: Path) -> None:
    path, model = tmp_path / f"m{suffix}", trained()
    save(model, path)
    whole, generator = path.read_bytes(), random.Random(0)
    for array in model.get_weights():
        if not array.any():
            continue  # the file has other zeros too
        content = bytearray(whole)
        place = content.index(array.tobytes()) + generator.randrange(array.nbytes)
        content[place] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"isn't what was saved, as its checksum"):
            load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_ends_too_early_is_refused_or_complete(suffix: str, tmp_path: Path) -> None:
    """The end of an HDF5 file may be unused. Without it, the arrays are complete, and their checksums are right."""
    path = tmp_path / f"m{suffix}"
    save(trained(), path)
    whole, expected = path.read_bytes(), state(load(path))
    weights = expected[:-1]
    complete = 0
    for size in [*range(0, len(whole), len(whole) // 40), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:size])
        with suppress(ValueError):
            assert state(load(path))[:-1] == weights
            complete += 1
    assert suffix != ".safetensors" or not complete


@pytest.mark.parametrize("suffix", [".h5", ".safetensors"])
def test_texts_are_checked(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    trained().save(path)
    content = path.read_bytes()
    for old, new in ((b"GlorotUniform", b"GlorotUniforn"), (b"seeds", b"seedz"), (b"use_ema", b"use_emb")):
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(ValueError, match="checksum isn't the one in the file"):
            models.load_model(path)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    model = trained()
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "m.h5")
    changes = {"m.weights.h5": ("optimizer", "engine"), "m.h5": ("optimizer_weights", "engine")}
    for name, groups in changes.items():
        whole = (tmp_path / name).read_bytes()
        for group in groups:
            (tmp_path / name).write_bytes(whole)
            with h5py.File(tmp_path / name, "a") as file:
                del file[group]
            with pytest.raises(ValueError, match=rf"there must be \d+ arrays in '{group}.*', found 0"):
                load(tmp_path / name)
    path = tmp_path / "m.safetensors"
    model.save(path)
    with safe_open(path, framework="np") as file:
        texts = file.metadata()
    arrays = load_file(path)
    del arrays["optimizer/vars/0"]
    save_file(arrays, path, texts)
    with pytest.raises(ValueError, match="checksum of 'optimizer/vars/0', but nothing of that name"):
        models.load_model(path)


def test_another_program_may_change_a_file(tmp_path: Path) -> None:
    """Arrays that another program adds have no checksum. Those that it changes keep the old one, unless it removes it."""
    path, kernel = tmp_path / "m.weights.h5", np.full((4, 3), 2, np.float32)
    trained().save_weights(path)
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = kernel
    np.testing.assert_array_equal(load(path).get_weights()[0], kernel)
    with h5py.File(path, "a") as file:
        file["layers/dense/vars/1"][...] = 3
    with pytest.raises(
        ValueError, match=re.escape("must also remove the attribute with 'crc32' in its name")
    ):
        load(path)
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/1"].attrs["crc32"]
    np.testing.assert_array_equal(load(path).get_weights()[1], np.full(3, 3))


class Mixed(layers.Layer):
    """Saves an array of every kind that files can contain."""

    ARRAYS = (
        np.array([True, False]),
        np.array(True),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.float16).reshape(2, 3).T,
        np.arange(4, dtype=">f8"),
        np.uint64(2**63),
        np.arange(3, dtype=np.int8),
    )

    def call(self, inputs: Any) -> Any:
        return inputs

    def save_own_variables(self, store: Any) -> None:
        for number, array in enumerate(self.ARRAYS):
            store[str(number)] = array

    def load_own_variables(self, store: Any) -> None:
        for number, array in enumerate(self.ARRAYS):
            np.testing.assert_array_equal(store[str(number)], array)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors", ".npz"])
def test_arrays_of_every_kind(suffix: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), Mixed(), layers.Dense(1)])
    path = tmp_path / f"m{suffix}"
    save(model, path)
    model.load_weights(path)


def test_safetensors_hold_what_the_package_reads(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.safetensors"
    model.save(path)
    arrays = load_file(path)
    assert arrays["layers/dense/vars/0"].flags.aligned
    np.testing.assert_array_equal(arrays["layers/dense/vars/0"], model.layers[0].kernel)
    with safe_open(path, framework="np") as file:
        assert set(file.metadata()) == {"config.json", "metadata.json", "crc32"}
        assert set(file.keys()) == set(arrays)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0

    class Complex(Mixed):
        ARRAYS = (np.ones(2, np.complex64),)

    with pytest.raises(ValueError, match=r"dtype complex64, but a `\.safetensors` file can hold bool"):
        keras.Sequential([keras.Input((2,)), Complex()]).save(path)
    assert same_weights(models.load_model(path), model)


WITHOUT = """
import sys
sys.modules["safetensors"] = None
import engine as keras
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.save(sys.argv[1])
"""


def test_safetensors_are_saved_without_the_package(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    subprocess.run([sys.executable, "-c", WITHOUT, str(path)], check=True)
    assert models.load_model(path).built
