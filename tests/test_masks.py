"""Means over rows, and masks that leave some out: by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from bits_worker import CASES, digest, train

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


def test_what_a_mask_leaves_out_costs_nothing() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(4, 3, mask_zero=True), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", weighted_metrics=["mae"])
    y = np.where(TOKENS[..., np.newaxis] == 0, 1e6, 1.0)
    assert model.evaluate(TOKENS, y)[0] < 10
    bias = model.layers[1].bias.numpy()
    model.fit(TOKENS[2:], y[2:], verbose=0)
    assert np.array_equal(model.layers[1].bias, bias)  # no row of the batch counts
    others = keras.models.clone_model(model)
    others.set_weights(model.get_weights())
    others.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(TOKENS, y, class_weight={1: 2.0, 10**6: 3.0}, verbose=0)
    others.fit(TOKENS, y, sample_weight=np.full((3, 4), 2.0), verbose=0)
    assert all(map(np.array_equal, model.get_weights(), others.get_weights()))


def test_masks_of_outputs_that_all_threads_add_up() -> None:
    case = CASES["float32_one_output"]()
    x = np.where(np.arange(len(case.x))[:, np.newaxis] % 3, case.x, 0)
    stack = [{"kind": "mask", "value": 0.0}, *case.layers]
    masked = case._replace(x=x, layers=stack, loss={"kind": "mean_squared_error", "masked": True})
    found = set()
    for threads in (1, 2, 3, 4):
        _core.set_threads(threads)
        program, run = train(masked)
        found.add((digest(program.variables), run.totals.loss))
    _core.set_threads(0)
    assert len(found) == 1


def test_what_cannot_leave_rows_out_is_refused() -> None:
    masked = [keras.Input((4,)), layers.Embedding(4, 3, mask_zero=True)]
    model = keras.Sequential([*masked, layers.Dense(1)])
    assert model.predict(TOKENS).shape == (3, 4, 1)
    model.add(layers.GlobalAveragePooling1D())
    model.compile("sgd", "mse")
    model.fit(TOKENS, np.zeros((3, 1)), verbose=0)
    model.pop()
    model.fit(TOKENS, np.zeros((3, 4, 1)), verbose=0)
    with pytest.raises(ValueError, match="can't leave masked rows out of its statistics"):
        keras.Sequential([keras.Input((4, 2)), layers.Masking(), layers.BatchNormalization()])


def test_layers_of_ones_own_pass_masks_on_if_they_say_so() -> None:
    class Twice(layers.Layer):
        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs * 2

    class FirstStep(layers.Layer):
        supports_masking = True

        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs[:, 0]

    passing, dropping = Twice(), Twice()
    passing.supports_masking = True
    x = np.array([[[1.0], [0.0]]])
    mean = layers.GlobalAveragePooling1D
    assert keras.Sequential([layers.Masking(), passing, mean()]).predict(x).item() == 2
    with pytest.warns(UserWarning, match="was passed an input with a mask attached to it"):
        model = keras.Sequential([keras.Input((2, 1)), layers.Masking(), dropping, mean()])
    assert model.predict(x).item() == 1
    model = keras.Sequential([keras.Input((2, 1)), layers.Masking(name="gaps"), FirstStep()])
    with pytest.raises(
        ValueError, match=r"the mask of layer 'gaps' has the shape \(n, 2\), but the loss has one value"
    ):
        model.compile("sgd", "mse")
    program = _core.Program(4, [{"kind": "dense", "units": 2, "activation": "linear"}])
    with pytest.raises(ValueError, match="can be 'masked' where a mask is about the rows of outputs"):
        program.compile({"kind": "mean_squared_error", "masked": True}, {"kind": "sgd"}, [])


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
