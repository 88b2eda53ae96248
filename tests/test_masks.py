"""Means over rows, and masks that leave some out: by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import engine as keras
from engine import _core, layers

TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])


def test_padding_is_left_out_of_the_mean() -> None:
    table, mean = np.arange(12.0, dtype=np.float32).reshape(4, 3), layers.GlobalAveragePooling1D
    stack = [layers.Embedding(4, 3, weights=table, mask_zero=True), mean()]
    model = keras.Sequential([keras.Input((4,)), *stack])
    expected = [(table[1] + table[2]) / 2, table[3], [0, 0, 0]]  # Keras' last is NaN
    assert np.array_equal(model.predict(TOKENS), expected)
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(4, 3, weights=table), mean()])
    assert model.predict(TOKENS) == pytest.approx(table[TOKENS].mean(axis=1))


def test_a_mask_goes_through_files(tmp_path: object) -> None:
    stack = [layers.Masking(2.0), layers.GlobalAveragePooling1D(keepdims=True)]
    model = keras.Sequential([keras.Input((3, 2)), *stack])
    x = np.array([[[1, 3], [2, 2], [3, 5]]], np.float32)
    assert model.predict(x).tolist() == [[[2, 4]]]
    again = keras.Sequential.from_config(model.get_config())
    assert again.predict(x).tolist() == [[[2, 4]]]
    model.save(f"{tmp_path}/model.npz")
    assert keras.models.load_model(f"{tmp_path}/model.npz").predict(x).tolist() == [[[2, 4]]]


def test_what_cannot_leave_rows_out_is_refused() -> None:
    masked = [keras.Input((4,)), layers.Embedding(4, 3, mask_zero=True)]
    model = keras.Sequential([*masked, layers.Dense(1)])
    assert model.predict(TOKENS).shape == (3, 4, 1)
    with pytest.raises(ValueError, match="rows that a mask leaves out reach the outputs"):
        model.compile("sgd", "mse")
    model.compile("sgd")
    model.add(layers.GlobalAveragePooling1D())
    model.compile("sgd", "mse")
    model.fit(TOKENS, np.zeros((3, 1)), verbose=0)
    with pytest.raises(ValueError, match="rows that a mask leaves out reach the outputs"):
        model.pop()
    assert len(model.layers) == 3
    with pytest.raises(ValueError, match="can't leave masked rows out of its statistics"):
        keras.Sequential([keras.Input((4, 2)), layers.Masking(), layers.BatchNormalization()])


def test_layers_of_ones_own_pass_masks_on_if_they_say_so() -> None:
    class Twice(layers.Layer):
        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs * 2

    passing, dropping = Twice(), Twice()
    passing.supports_masking = True
    x = np.array([[[1.0], [0.0]]])
    mean = layers.GlobalAveragePooling1D
    assert keras.Sequential([layers.Masking(), passing, mean()]).predict(x).item() == 2
    with pytest.warns(UserWarning, match="was passed an input with a mask attached to it"):
        model = keras.Sequential([keras.Input((2, 1)), layers.Masking(), dropping, mean()])
    assert model.predict(x).item() == 1


def test_shapes_that_have_no_rows() -> None:
    for layer, shape in ((layers.GlobalAveragePooling1D(), (4,)), (layers.GlobalAveragePooling2D(), (4, 3))):
        with pytest.raises(
            ValueError, match=r"takes samples with \d axes, their features among them, but gets"
        ):
            keras.Sequential([keras.Input(shape), layer])
    with pytest.raises(ValueError, match="`data_format` must be one of"):
        layers.GlobalAveragePooling1D("first")
    with pytest.raises(TypeError, match="`keepdims` must be True or False"):
        layers.GlobalAveragePooling1D(keepdims="yes")
    with pytest.raises(TypeError, match="`mask_value` must be a number"):
        layers.Masking("0")
    with pytest.raises(TypeError, match="`mask_zero` must be True or False"):
        layers.Embedding(3, 2, mask_zero="yes")
    with pytest.raises(ValueError, match="rows"):
        _core.Program(3, [{"kind": "mean", "groups": 2}])


def test_masked_means_are_not_exported(tmp_path: object) -> None:
    model = keras.Sequential([keras.Input((3, 2)), layers.Masking(), layers.GlobalAveragePooling1D()])
    with pytest.raises(ValueError, match="leaves masked rows out of its means, which no format here can say"):
        model.export(f"{tmp_path}/model.h")
