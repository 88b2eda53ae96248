"""`engine.array_api`: the names of the array API standard, computed by NumPy, and recorded where symbols come."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import array_api as xp

X = np.random.default_rng(0).uniform(0.1, 0.9, size=(3, 3)).astype(np.float32)
PLACES = np.array([[1, 2, 0], [0, 1, 2], [2, 2, 1]])

OF_ONE = [
    "abs",
    "acos",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "floor",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "negative",
    "positive",
    "real",
    "reciprocal",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "square",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    "empty_like",
    "ones_like",
    "zeros_like",
    "tril",
    "triu",
    "all",
    "any",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
    "argmax",
    "argmin",
    "count_nonzero",
    "sort",
    "argsort",
    "matrix_transpose",
    "diff",
    "flip",
    "squeeze",
    "asarray",
]
OF_TWO = [
    "add",
    "atan2",
    "copysign",
    "divide",
    "equal",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "nextafter",
    "not_equal",
    "pow",
    "remainder",
    "subtract",
    "matmul",
    "tensordot",
    "vecdot",
    "result_type",
    "broadcast_arrays",
]
OF_INTEGERS = ["bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor"]
OF_MATRICES = [
    "cholesky",
    "det",
    "diagonal",
    "eigvalsh",
    "inv",
    "matrix_norm",
    "matrix_rank",
    "matrix_transpose",
    "pinv",
    "slogdet",
    "svdvals",
    "trace",
    "vector_norm",
]


def as_number(dtype: Any) -> Any:
    """Returns a dtype as the number of its bits, so that a function may return it."""
    return np.dtype(dtype).itemsize * 8 if isinstance(dtype, (str, np.dtype)) else dtype


RECORDED: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, name=name: getattr(xp, name)(x) for name in OF_ONE},
    **{name: lambda x, name=name: as_number(getattr(xp, name)(x, x - 0.2)) for name in OF_TWO},
    **{name: lambda x, name=name: getattr(xp, name)(xp.astype(x * 9, xp.int32), 2) for name in OF_INTEGERS},
    **{
        f"linalg.{name}": lambda x, name=name: getattr(xp.linalg, name)(xp.matmul(x, x.mT) + xp.eye(3))
        for name in OF_MATRICES
    },
    "acosh": lambda x: xp.acosh(x + 1),
    "sum of a dtype": lambda x: xp.sum(x, axis=0, dtype=xp.float32, keepdims=True),
    "var with a correction": lambda x: xp.var(x, axis=0, correction=1),
    "std with a correction": lambda x: xp.std(x, correction=2, keepdims=True),
    "var of too few": lambda x: xp.var(x, axis=0, correction=3),
    "cumulative_sum": lambda x: xp.cumulative_sum(x, axis=-1, include_initial=True),
    "cumulative_prod": lambda x: xp.cumulative_prod(x, axis=0),
    "concat": lambda x: xp.concat([x, x], axis=1),
    "concat of all": lambda x: xp.concat([x, x], axis=None),
    "broadcast_to": lambda x: xp.broadcast_to(x, (2, 3, 3)),
    "meshgrid": lambda x: xp.meshgrid(x[0], x[1], indexing="ij"),
    "expand_dims": lambda x: xp.expand_dims(x, axis=1),
    "moveaxis": lambda x: xp.moveaxis(x, 0, 1),
    "permute_dims": lambda x: xp.permute_dims(x, (1, 0)),
    "repeat": lambda x: xp.repeat(x, 2, axis=0),
    "reshape": lambda x: xp.reshape(x, (9,), copy=True),
    "roll": lambda x: xp.roll(x, 1, axis=0),
    "stack": lambda x: xp.stack([x, x], axis=1),
    "tile": lambda x: xp.tile(x, (2, 1)),
    "unstack": lambda x: xp.unstack(x, axis=1),
    "take": lambda x: xp.take(x, PLACES[0], axis=1),
    "take_along_axis": lambda x: xp.take_along_axis(x, PLACES, axis=1),
    "where": lambda x: xp.where(x > 0.5, x, 0),
    "clip": lambda x: [xp.clip(x, 0.2, 0.5), xp.clip(x, min=0.2), xp.clip(x, max=0.2)],
    "diff with numbers": lambda x: xp.diff(x, axis=0, prepend=x[:1], append=0.0),
    "descending": lambda x: xp.sort(x, axis=0, descending=True),
    "places descending": lambda x: xp.argsort(xp.round(x), descending=True),
    "searchsorted": lambda x: xp.searchsorted(xp.sort(x[0]), x[1]),
    "count_nonzero along": lambda x: xp.count_nonzero(x > 0.5, axis=0, keepdims=True),
    "full_like": lambda x: xp.full_like(x, 3),
    "bitwise_invert": lambda x: xp.bitwise_invert(xp.astype(x * 4, xp.int32)),
    "asarray of a list": lambda x: xp.asarray([x[0, 0], x[1, 1]]),
    "asarray of a dtype": lambda x: xp.asarray(x, dtype=x.dtype),
    "zeros of a dtype": lambda x: xp.zeros((2,), dtype=x.dtype, device=x.device) + x[0, 0],
    "isdtype": lambda x: x * xp.isdtype(x.dtype, "real floating") * xp.isdtype(x.dtype, (xp.float32, "bool")),
    "dtypes": lambda x: x * (x.dtype == xp.float32) * (x.dtype == np.dtype("float32")) * (x.dtype != xp.int8),
    "finfo": lambda x: x * xp.finfo(x.dtype).eps,
    "can_cast": lambda x: x * xp.can_cast(x, xp.float64),
    "to_device": lambda x: x.to_device("cpu"),
    "the namespace": lambda x: x.__array_namespace__().sin(x),
    "linalg.solve": lambda x: xp.linalg.solve(x + xp.eye(3), x),
    "linalg.cross": lambda x: xp.linalg.cross(x, x + 1),
    "linalg.matrix_power": lambda x: [xp.linalg.matrix_power(x + xp.eye(3), n) for n in (3, 0, -2)],
    "linalg.outer": lambda x: xp.linalg.outer(x[0], x[1]),
    "linalg.vector_norm": lambda x: xp.linalg.vector_norm(x, axis=1, ord=1, keepdims=True),
}


@pytest.mark.parametrize("name", RECORDED)
def test_functions_are_recorded(name: str) -> None:
    function = RECORDED[name]
    compiled = keras.function(function)
    with warnings.catch_warnings():
        if name == "var of too few":
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's
        expected = keras.tree.flatten(function(X))
        found = keras.tree.flatten(compiled(X))
    assert compiled.refusal is None
    for one, other in zip(found, expected, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"]
)
def test_functions_with_shapes_that_depend_on_numbers_say_so(name: str) -> None:
    compiled = keras.function(getattr(xp, name))
    with pytest.warns(UserWarning, match=f"NumPy's `{name}` can't be recorded"):
        compiled(X)


def test_functions_differentiate() -> None:
    slope = keras.grad(
        lambda x: xp.sum(xp.vecdot(x, xp.cumulative_sum(x, axis=1)) + xp.var(x, axis=1, correction=1))
    )
    step, direction = 1e-4, np.random.default_rng(1).normal(size=X.shape)

    def value(x: Any) -> Any:
        return np.sum(x * np.cumsum(x, axis=1)) + np.sum(np.var(x, axis=1, ddof=1))

    wide = X.astype(np.float64)
    numeric = (value(wide + step * direction) - value(wide - step * direction)) / (2 * step)
    assert float(np.sum(np.asarray(slope(X)) * direction)) == pytest.approx(numeric, rel=1e-4)


def test_dtypes_have_limits() -> None:
    assert xp.finfo(X).bits == 32
    assert xp.finfo(xp.float64).eps == np.finfo(np.float64).eps
    assert xp.iinfo(np.zeros(1, "int8")).max == 127
    assert type(xp.finfo(xp.complex64).max) is float


def test_all_names_are_there() -> None:
    assert set(xp.__array_namespace_info__().dtypes()) <= set(dir(xp))
    assert all(hasattr(xp, name) for name in dir(xp))
    assert keras.array_api is xp
    assert xp.fft.fftfreq(4, dtype=xp.float32).dtype == np.float32
