"""Functions of arrays return the dtypes that Keras returns, for operands of any two dtypes."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import keras
import numpy as np
import pytest

import engine

DTYPES = ("bool", "uint8", "int8", "int32", "float16", "float32")
OF_ONE = [
    "absolute",
    "arcsinh",
    "arctan",
    "cbrt",
    "ceil",
    "cos",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "isfinite",
    "log1p",
    "logical_not",
    "negative",
    "rad2deg",
    "reciprocal",
    "relu",
    "sign",
    "sin",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "elu",
    "relu6",
    "hard_tanh",
    "leaky_relu",
    "softplus",
    "zeros_like",
    "bitwise_not",
]
OF_TWO = [
    "add",
    "divide",
    "equal",
    "floor_divide",
    "fmod",
    "greater",
    "heaviside",
    "logical_and",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "power",
    "subtract",
    "true_divide",
    "bitwise_and",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "matmul",
    "where_true",
]
ALONG_AN_AXIS = [
    "all",
    "argmax",
    "cumsum",
    "cumprod",
    "max",
    "mean",
    "prod",
    "sum",
    "std",
    "var",
    "diff",
    "softmax",
    "sort",
    "count_nonzero",
    "nansum",
]


def function_of(ops: Any, name: str) -> Any:
    return (lambda a, b: ops.where(True, a, b)) if name == "where_true" else getattr(ops, name)


def numbers(dtype: str) -> Any:
    return np.array([[1, 0, 2], [3, 1, 0], [1, 2, 1]]).astype(dtype)


def in_keras(function: Any, *operands: Any) -> str:
    """Returns the dtype of the result, without computing it."""
    arrays = [each for each in operands if isinstance(each, np.ndarray)]

    def called(*given: Any) -> Any:
        rest = iter(given)
        return function(*(next(rest) if isinstance(each, np.ndarray) else each for each in operands))

    try:
        return str(jax.eval_shape(called, *arrays).dtype)
    except TypeError:
        return "TypeError"


def in_engine(function: Any, *operands: Any) -> str:
    try:
        with np.errstate(all="ignore"):
            return str(np.asarray(function(*operands)).dtype)
    except TypeError:
        return "TypeError"


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_of_one_array(name: str) -> None:
    for dtype in DTYPES:
        given = numbers(dtype)
        expected = in_keras(function_of(keras.ops, name), given)
        assert in_engine(function_of(engine.ops, name), given) == expected, dtype


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_functions_along_an_axis(name: str) -> None:
    for dtype in DTYPES:
        given = numbers(dtype)
        expected = in_keras(lambda x: getattr(keras.ops, name)(x, axis=-1), given)
        if expected != "TypeError":
            assert in_engine(lambda x: getattr(engine.ops, name)(x, axis=-1), given) == expected, dtype


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_arrays(name: str) -> None:
    pairs = [(numbers(a), numbers(b)) for a, b in itertools.product(DTYPES, DTYPES)]
    pairs += [
        pair for a in DTYPES for number in (2, 1.5) for pair in ((numbers(a), number), (number, numbers(a)))
    ]
    for one, other in pairs if name != "matmul" else pairs[: len(DTYPES) ** 2]:
        expected = in_keras(function_of(keras.ops, name), one, other)
        found = in_engine(function_of(engine.ops, name), one, other)
        assert found == expected, [getattr(each, "dtype", each) for each in (one, other)]


# Keras with JAX has no numbers of 64 bits, and the engine no bfloat16.
NARROW = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}
ALL = (
    *(
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
    ),
    *("complex64", "complex128", None, int, float, bool),
)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_result_type(count: int) -> None:
    for dtypes in itertools.product(ALL, repeat=count):
        found = engine.backend.result_type(*dtypes)
        assert NARROW.get(found, found) == keras.backend.result_type(*dtypes), dtypes


def test_questions_about_dtypes() -> None:
    for dtype in ALL:
        for name in ("is_float_dtype", "is_int_dtype"):
            assert getattr(engine.backend, name)(dtype) == getattr(keras.backend, name)(dtype), dtype
        assert engine.utils.standardize_dtype(dtype) == keras.utils.standardize_dtype(dtype)
