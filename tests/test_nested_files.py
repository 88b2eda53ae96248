"""Tests of nested models in files and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs, same_weights

import engine as keras
from engine import layers

FORMATS = [".keras", ".npz", ".safetensors", ".h5"]


def encoder_of() -> Any:
    stack = [layers.Dense(5, "tanh", name="same"), layers.BatchNormalization(), layers.Dropout(0.2, seed=3)]
    return keras.Sequential([keras.Input((FEATURES,)), *stack], name="encoder")


def model_of() -> Any:
    x = keras.Input((FEATURES,))
    code = keras.Input((5,))
    head = keras.Model(code, layers.Dense(CLASSES, "softmax", name="same")(code), name="head")
    model = keras.Model(x, head(keras.Sequential([encoder_of()], name="deep")(x)), name="whole")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("suffix", FORMATS)
def test_models_train_on_after_loading(suffix: str, blobs: Blobs, tmp_path: Path) -> None:
    model = model_of()
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save(tmp_path / f"m{suffix}")
    again = keras.models.load_model(tmp_path / f"m{suffix}")
    assert [type(part).__name__ for part in again.layers] == ["InputLayer", "Sequential", "Functional"]
    assert same_weights(model, again)
    for each in (model, again):
        each.fit(blobs.x, blobs.y, verbose=0, shuffle=False)
    assert same_weights(model, again)
    deep = again.get_layer("deep").get_layer("encoder")
    assert np.array_equal(deep.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("suffix", [".weights.h5", ".npz", ".safetensors"])
def test_weights_of_parts(suffix: str, blobs: Blobs, tmp_path: Path) -> None:
    model, other = model_of(), model_of()
    model.fit(blobs.x, blobs.y, verbose=0)
    path = tmp_path / f"m{suffix}"
    model.get_layer("deep").save_weights(path)
    other.get_layer("deep").load_weights(path)
    assert all(
        np.array_equal(a, b) for a, b in zip(model.get_weights()[:6], other.get_weights()[:6], strict=True)
    )
    model.save_weights(path)
    other = model_of()
    other.load_weights(path)
    assert same_weights(model, other)


def test_frozen_models_in_files(blobs: Blobs, tmp_path: Path) -> None:
    model = model_of()
    model.get_layer("deep").trainable = False
    model.get_layer("deep").layers[0].layers[0].trainable = True
    for suffix in FORMATS:
        model.save(tmp_path / f"m{suffix}")
        again = keras.models.load_model(tmp_path / f"m{suffix}")
        assert same_weights(model, again)
        assert [leaf.trainable for leaf in again._leaves] == [True, False, False, True]
        assert not again.get_layer("deep").trainable
        assert (len(again.trainable_weights), len(again.get_layer("deep").trainable_weights)) == (4, 0)


def test_a_part_that_is_built_in_a_model_that_is_not(tmp_path: Path) -> None:
    outer = keras.Sequential([layers.Flatten(), encoder_of(), layers.Dense(2)])
    outer.layers[1].set_weights([np.full_like(w, 3) for w in outer.layers[1].get_weights()])
    assert not outer.built
    for suffix in FORMATS:
        with pytest.warns(UserWarning, match="has not yet been built"):
            outer.save(tmp_path / f"m{suffix}")
        again = keras.models.load_model(tmp_path / f"m{suffix}")
        assert not again.built
        assert all((w == 3).all() for w in again.layers[1].get_weights())


def test_objects_to_skip(blobs: Blobs, tmp_path: Path) -> None:
    model, other = model_of(), model_of()
    model.fit(blobs.x, blobs.y, verbose=0)
    model.save_weights(tmp_path / "m.npz")
    before = other.get_weights()
    other.load_weights(tmp_path / "m.npz", objects_to_skip=[other.get_layer("deep"), other.optimizer])
    kept = [np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True)]
    assert kept == [True] * 6 + [False] * 2
    model.save_weights(tmp_path / "n.npz", objects_to_skip=[model.get_layer("deep").layers[0].layers[0]])
    with pytest.raises(ValueError, match="could not be loaded"):
        other.load_weights(tmp_path / "n.npz")


def test_layers_by_name(blobs: Blobs, tmp_path: Path) -> None:
    model, other = model_of(), keras.Sequential([encoder_of(), layers.Dense(4)])
    model.save(tmp_path / "m.h5")
    deep = keras.Sequential([encoder_of()], name="deep")
    other = keras.Sequential([deep, layers.Dense(4)])
    other.load_weights(tmp_path / "m.h5", by_name=True)
    assert np.array_equal(deep.get_weights()[0], model.get_weights()[0])


def test_pictures(tmp_path: Path) -> None:
    model = model_of()
    shown = []
    for expand in (False, True):
        keras.utils.plot_model(model, tmp_path / "m.svg", show_layer_names=True, expand_nested=expand)
        shown.append((tmp_path / "m.svg").read_text())
    assert "deep (Sequential)" in shown[0]
    assert "encoder (Sequential)" not in shown[0]
    for text in ("deep (Sequential)", "encoder (Sequential)", "same (Dense)", "head (Functional)"):
        assert f">{text}</text>" in shown[1]
