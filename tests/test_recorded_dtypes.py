"""Recorded functions return numbers of the same dtype, and the same numbers, as functions of arrays of that dtype."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import backend, ops
from engine._tracing.lazy import as_recorded, recorder
from engine.utils import standardize_dtype

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "float32")
OF_ONE = [
    "abs",
    "absolute",
    "arcsinh",
    "arctan",
    "cbrt",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "isfinite",
    "isinf",
    "isnan",
    "log1p",
    "logical_not",
    "negative",
    "rad2deg",
    "real",
    "reciprocal",
    "relu",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "softsign",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "elu",
    "relu6",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "selu",
    "silu",
    "softplus",
    "squareplus",
    "tanh_shrink",
    "zeros_like",
    "ones_like",
    "bitwise_not",
    "nan_to_num",
]
OF_TWO = [
    "add",
    "arctan2",
    "divide",
    "divide_no_nan",
    "equal",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "not_equal",
    "power",
    "subtract",
    "true_divide",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
]
ALONG_AN_AXIS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "cumprod",
    "max",
    "min",
    "mean",
    "prod",
    "ptp",
    "sum",
    "std",
    "var",
    "median",
    "diff",
    "softmax",
    "log_softmax",
    "logsumexp",
    "sort",
    "flip",
    "count_nonzero",
    "nanmax",
    "nanmean",
    "nanstd",
    "nansum",
    "trapezoid",
]


def numbers(dtype: str, turned: int = 0) -> Any:
    values = np.roll([[0, 1, 2, 3, 5, 1, 4, 7]], turned, axis=1)
    return (
        values if np.dtype(dtype).kind not in "if" else values * np.where(np.arange(8) % 3, 1, -1)
    ).astype(dtype)


def outcome(function: Any, *operands: Any) -> Any:
    """Returns the result as an array, or the class of the error."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*operands))
    except (TypeError, ValueError):
        return TypeError


def assert_same(function: Any, what: str, *operands: Any) -> None:
    expected = outcome(function, *operands)
    with keras.GradientTape():
        trace = recorder().trace
        symbols = [as_recorded(each, trace) if isinstance(each, np.ndarray) else each for each in operands]
        found = outcome(function, *symbols)
    if expected is TypeError or found is TypeError:
        assert found is expected, what
        return
    assert found.dtype == expected.dtype, what
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=what)


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_of_one_array(name: str) -> None:
    for dtype in DTYPES:
        assert_same(getattr(ops, name), dtype, numbers(dtype))


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_functions_along_an_axis(name: str) -> None:
    for dtype in DTYPES:
        assert_same(lambda x: getattr(ops, name)(x, axis=-1), dtype, numbers(dtype))


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_arrays(name: str) -> None:
    function = getattr(ops, name)
    for one, other in itertools.product(DTYPES, DTYPES):
        assert_same(function, f"{one}, {other}", numbers(one), numbers(other, 2))
    for dtype, number in itertools.product(DTYPES, (2, 1.5, True)):
        assert_same(function, f"{dtype}, {number}", numbers(dtype), number)
        assert_same(function, f"{number}, {dtype}", number, numbers(dtype))


@pytest.mark.parametrize("name", ["left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"])
def test_shifts(name: str) -> None:
    for one, other in itertools.product(DTYPES, ("bool", "uint8", "int32")):
        assert_same(getattr(ops, name), f"{one}, {other}", numbers(one), abs(numbers(other, 2)))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((), "float32"),
        ((None,), "float32"),
        ((bool,), "bool"),
        ((int,), "int32"),
        ((float,), "float32"),
        (("bool", int), "int32"),
        (("bool", float), "float32"),
        (("int8", int), "int8"),
        (("int8", float), "float32"),
        (("float16", float), "float16"),
        (("uint8", "int8"), "int16"),
        (("uint16", "int8"), "int32"),
        (("int32", "float16"), "float16"),
        (("float16", "float32"), "float32"),
        (("uint8", "int8", "float16"), "float16"),
        (("float32", "complex64"), "complex64"),
        ((np.dtype("int16"), np.float32), "float32"),
        ((np.int16, "uint8"), "int16"),
    ],
)
def test_result_type(dtypes: tuple[Any, ...], expected: str) -> None:
    assert backend.result_type(*dtypes) == expected


def test_questions_about_dtypes() -> None:
    assert backend.is_float_dtype("float16")
    assert not backend.is_float_dtype("int32")
    assert backend.is_int_dtype("uint8")
    assert not backend.is_int_dtype("bool")
    assert standardize_dtype(None) == standardize_dtype(float) == standardize_dtype(np.float32) == "float32"
    assert backend.standardize_dtype(int) == "int32"
    for function in (standardize_dtype, backend.result_type):
        with pytest.raises(ValueError, match="dtype"):
            function("nonsense")


@pytest.mark.parametrize("length", [1, 4])
def test_recorded_vector_products_have_two_or_three_numbers(length: int) -> None:
    with keras.GradientTape():
        x = as_recorded(np.ones((2, length), np.float32), recorder().trace)
        with pytest.raises(ValueError, match="must have 2 or 3 numbers along their axes"):
            ops.cross(x, x)
