"""Tests of the shapes of symbols: an unknown length fits every other one, as in Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shapes_of_symbols import CASES, REFUSED, Case, shapes_in

import engine as keras
from engine import layers, ops

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_shape_of_symbols_made_by_hand(case: Case) -> None:
    result = case.expression(ops, *map(keras.KerasTensor, case.inputs))
    assert shapes_in(result) == case.shape


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused_shapes_of_symbols_made_by_hand(case: Case) -> None:
    with pytest.raises(ValueError, match=r"."):
        case.expression(ops, *map(keras.KerasTensor, case.inputs))


def test_symbols_made_by_hand_keep_their_dtype() -> None:
    ids = keras.KerasTensor((None, 3), dtype="int32")
    assert ops.add(ids, 1).dtype == "int32"
    assert ops.divide(ids, 2).dtype == "float32"
    assert ops.equal(ids, ids).dtype == "bool"


def test_a_layer_passes_on_that_nothing_computes_a_symbol() -> None:
    hidden = layers.Dense(4)(keras.KerasTensor((2, 5, 3)))
    assert ops.add(hidden, keras.KerasTensor((None, 1, 4))).shape == (2, 5, 4)


def test_a_model_refuses_an_operation_on_a_symbol_made_by_hand() -> None:
    symbol = keras.KerasTensor((None, 3))
    with pytest.raises(ValueError, match=r"no Input\(\) and no layer made.*begin with an Input\(\)"):
        keras.Model(symbol, ops.exp(symbol))


def test_inputs_of_unknown_and_known_lengths_are_added_in_a_model() -> None:
    any_length, three = keras.Input((None,)), keras.Input((3,))
    total = any_length + three
    assert total.shape == (None, 3)
    model = keras.Model([any_length, three], layers.Dense(1, kernel_initializer="ones")(total))
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = (2 * rows).sum(1, keepdims=True)
    np.testing.assert_array_equal(model.predict([rows, rows], verbose=0), expected)
    alone = rows[:, :1]
    np.testing.assert_array_equal(
        model.predict([alone, rows], verbose=0), (alone + rows).sum(1, keepdims=True)
    )
    with pytest.raises(ValueError, match="can't be broadcast"):
        model.predict([np.ones((2, 5)), rows], verbose=0)


def test_joined_inputs_of_unknown_lengths() -> None:
    timesteps, row = keras.Input((None, 4)), keras.Input((1, 4))
    joined = ops.concatenate([timesteps, row], axis=1)
    assert joined.shape == (None, None, 4)
    model = keras.Model([timesteps, row], ops.sum(joined, axis=1))
    x, y = np.ones((2, 6, 4), np.float32), np.ones((2, 1, 4), np.float32)
    np.testing.assert_array_equal(model.predict([x, y], verbose=0), np.full((2, 4), 7.0))


def test_unknown_lengths_within_arrays_that_are_no_batch() -> None:
    x = keras.Input((None, 8))
    rows = ops.reshape(x, (-1, 4))
    assert rows.shape == (None, 4)
    assert ops.transpose(rows).shape == (4, None)
    assert ops.sum(x, axis=0).shape == (None, 8)


def test_bits_of_symbols_of_any_dtype_have_a_shape() -> None:
    x, y = keras.KerasTensor((None, 3)), keras.KerasTensor((2, None))
    assert ops.bitwise_and(x, y).shape == ops.left_shift(x, y).shape == (2, 3)
    assert ops.bitwise_not(x).shape == (None, 3)
    with pytest.raises(TypeError, match="takes integers or bools"):
        ops.bitwise_and(keras.Input((3,)), keras.Input((3,)))


def test_the_size_of_a_symbol_is_a_symbol() -> None:
    assert ops.size(keras.KerasTensor((None, 3))).shape == ()
    x, y = keras.Input((None, 4)), keras.Input((1,))
    model = keras.Model([x, y], ops.size(x) * y)
    found = model.predict([np.ones((3, 6, 4)), np.ones((3, 1))], verbose=0)
    np.testing.assert_array_equal(found, np.full((3, 1), 72.0))


def test_loops_of_unknown_length_keep_the_shape_of_their_variables() -> None:
    x = keras.KerasTensor((None, 3))
    assert ops.while_loop(lambda v: ops.sum(v) < 3, lambda v: v + 1, x).shape == (None, 3)
    with pytest.raises((TypeError, ValueError), match="depends on numbers"):
        ops.while_loop(lambda v: ops.sum(v) < 3, lambda v: v + 1, keras.Input((3,)))


def test_one_weight_for_each_place_needs_one_axis() -> None:
    x, weights = keras.KerasTensor((None, 3, 3)), keras.KerasTensor((3,))
    assert ops.average(x, axis=(1,), weights=weights).shape == (None, 3)
    with pytest.raises(ValueError, match="one for each place along one axis"):
        ops.average(x, axis=(1, 2), weights=weights)


@pytest.mark.parametrize("name", ["Add", "Multiply", "Subtract", "Maximum", "Minimum", "Average"])
def test_layers_combine_inputs_of_unknown_and_known_lengths(name: str) -> None:
    any_length, three = keras.Input((None, 3)), keras.Input((2, None))
    output = getattr(layers, name)()([any_length, three])
    assert output.shape == (None, 2, 3)
    model = keras.Model([any_length, three], output)
    x, y = RNG.normal(size=(4, 2, 3)).astype("float32"), RNG.normal(size=(4, 2, 1)).astype("float32")
    np.testing.assert_allclose(model.predict([x, y], verbose=0), getattr(layers, name)()([x, y]), rtol=1e-6)


def test_a_layer_joins_inputs_of_unknown_and_known_lengths() -> None:
    any_rows, any_columns = keras.Input((None, 3)), keras.Input((2, None))
    joined = layers.Concatenate()([any_rows, any_columns])
    assert joined.shape == (None, 2, None)
    model = keras.Model([any_rows, any_columns], joined)
    x, y = RNG.normal(size=(4, 2, 3)).astype("float32"), RNG.normal(size=(4, 2, 5)).astype("float32")
    np.testing.assert_array_equal(model.predict([x, y], verbose=0), np.concatenate([x, y], -1))
    with pytest.raises(ValueError, match="joins inputs that differ in axis -1 alone"):
        layers.Concatenate()([any_columns, keras.Input((3, None))])
    with pytest.raises(ValueError, match="joins inputs that differ in axis -1 alone"):
        layers.Concatenate()([any_columns, keras.Input((3,))])


RESHAPED = {
    "(n, -1)": (lambda x: ops.reshape(x, (ops.shape(x)[0], -1)), (None, 8), (3, 8)),
    "(n, 2, 4)": (lambda x: ops.reshape(x, (x.shape[0], 2, 4)), (None, 2, 4), (3, 2, 4)),
    "method": (lambda x: x.reshape((-1, 8)), (None, 8), (3, 8)),
    "repeated": (
        lambda x: ops.broadcast_to(ops.expand_dims(x, 1), (ops.shape(x)[0], 5, 4, 2)),
        (None, 5, 4, 2),
        (3, 5, 4, 2),
    ),
    "part": (lambda x: ops.slice(x, (0, 1, 0), (ops.shape(x)[0], 2, 2)), (None, 2, 2), (3, 2, 2)),
}


@pytest.mark.parametrize(("function", "shape", "known"), RESHAPED.values(), ids=RESHAPED)
def test_the_number_of_samples_in_a_shape_of_a_functional_model(
    function: Any, shape: Any, known: Any
) -> None:
    x = keras.Input((4, 2))
    symbol = function(x)
    assert symbol.shape == shape
    model = keras.Model(x, symbol)
    rows = RNG.normal(size=(3, 4, 2)).astype("float32")
    for found in (model, keras.Model.from_config(model.get_config())):
        result = found.predict(rows, verbose=0)
        assert result.shape == known
        layer = layers.Lambda(function)
        np.testing.assert_array_equal(result, layer(rows))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1], 1, 2)),
        lambda x: ops.reshape(ops.transpose(x, (0, 2, 1)), (None, None, -1)),
        lambda x: ops.reshape(ops.reshape(x, (-1, 2)), (ops.shape(x)[0], -1)),
        lambda x: ops.broadcast_to(ops.mean(x, axis=0), (ops.shape(x)[0], 4, 2)),
    ],
)
def test_none_in_a_shape_is_refused_where_it_may_be_another_length(function: Any) -> None:
    with pytest.raises(ValueError, match=r"None in the shape .* may stand for any unknown length"):
        function(keras.Input((None, 2)))
