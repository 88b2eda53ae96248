"""Loops and branches of `keras.ops` in compiled functions of arrays: values, derivatives, and what is recorded once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import ops

X = np.float32([2, 3, 5])
TABLE = np.float32([[1, 2], [3, 4], [5, 6]])

# By name: a function, and the derivative of the sum of what it returns.
LOOPS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "while of counted rounds": (
        lambda x: ops.while_loop(lambda k, a: k < 3, lambda k, a: (k + 1, a * x), (0, x))[1],
        4 * X**3,
    ),
    "while of at most so many rounds": (
        lambda x: ops.while_loop(lambda a: ops.sum(a) < 500, lambda a: a * x, x, maximum_iterations=9),
        4 * X**3,
    ),
    "while that ends for lack of rounds": (
        lambda x: ops.while_loop(lambda a: ops.sum(a) < 500, lambda a: a * x, x, maximum_iterations=2),
        3 * X**2,
    ),
    "while that never begins": (
        lambda x: ops.while_loop(lambda k, a: a[0] < 1, lambda k, a: (k + 1, ops.log(1 - a)), (0, x), 4)[1],
        [1, 1, 1],
    ),
    "while with a dict": (
        lambda x: ops.while_loop(
            lambda k, a: ops.sum(a["u"]) < 50,
            lambda k, a: (k + 1, {"u": a["u"] * 2, "v": a["v"] + k}),
            (0, {"u": x, "v": 0.0}),
            maximum_iterations=5,
        )[1]["u"],
        [8, 8, 8],
    ),
    "fori_loop": (lambda x: ops.fori_loop(0, 3, lambda k, a: a * x + k, x), 4 * X**3 + 1),
    "scan": (lambda x: ops.scan(lambda c, a: (c * a, c), 1.0, x)[0], [15, 10, 6]),
    "scan of a number": (lambda x: ops.scan(lambda c, a: (c + a, c * a), 0.0, x)[1], np.sum(X) - X),
    "associative_scan": (lambda x: ops.associative_scan(lambda a, b: a + b, x, reverse=True), [1, 2, 3]),
    "map": (lambda x: ops.map(lambda a: a["x"] * ops.sum(a["m"]), {"x": x, "m": TABLE}), [3, 7, 11]),
    "vectorized_map": (lambda x: ops.vectorized_map(lambda a: a[0] * ops.sum(a[1]), (x, TABLE)), [3, 7, 11]),
    "cond": (lambda x: ops.cond(x[0] > 3, lambda: ops.log(-x), lambda: x * 3), [3, 3, 3]),
    "switch": (
        lambda x: ops.switch(ops.cast(x[1], "int32") - 2, [lambda a: a, lambda a: a * a, lambda a: a**3], x),
        2 * X,
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_compiled_with_their_derivatives(name: str) -> None:
    function, slope = LOOPS[name]
    compiled, gradient = keras.function(function), keras.function(keras.grad(lambda x: ops.sum(function(x))))
    np.testing.assert_allclose(compiled(X), function(X), rtol=1e-6)
    np.testing.assert_allclose(gradient(X), slope, rtol=1e-6)
    assert compiled.refusal is gradient.refusal is None
    batch = np.stack([X, X + 1])
    np.testing.assert_allclose(
        keras.vmap(function)(batch), [function(each) for each in batch], rtol=1e-6
    )  # each element has its own number of rounds


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            lambda x: ops.while_loop(lambda a: ops.sum(a) < 50, lambda a: a * 2, x),
            r"loops_of_functions.py:\d+: the condition of ops.while_loop depends on numbers .* `maximum_iterations`, at most 100",
        ),
        (
            lambda x: ops.while_loop(lambda a: ops.sum(a) < 50, lambda a: a * 2, x, maximum_iterations=1000),
            r"loops_of_functions.py:\d+: the condition of ops.while_loop depends on numbers",
        ),
        (
            lambda x: ops.fori_loop(0, ops.cast(x[0], "int32"), lambda k, a: a * 2, x),
            r"loops_of_functions.py:\d+: a bound of ops.fori_loop depends on numbers",
        ),
    ],
)
def test_loops_of_an_unknown_number_of_rounds_run_in_python(function: Any, reason: str) -> None:
    calls = []

    @keras.function
    def called(x: Any) -> Any:
        calls.append(type(x))
        return function(x)

    with pytest.warns(UserWarning, match=reason):
        first = called(X)
    np.testing.assert_array_equal(first, function(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(called(X), first)
    assert len(calls) == 3  # once with symbols, and not again in the second call
    gradient = keras.function(keras.grad(lambda x: ops.sum(function(x))))
    with pytest.warns(UserWarning, match=reason):
        np.testing.assert_array_equal(gradient(X), first / X)


def test_vectorized_map_records_its_function_once() -> None:
    calls = []

    def of_row(row: Any) -> Any:
        calls.append(row)
        return ops.sum(row * row), {"largest": ops.argmax(row), "constant": 1.5, "none": None}

    rows = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    total, others = keras.function(lambda x: ops.vectorized_map(of_row, x))(rows)
    assert len(calls) == 1
    expected, other_expected = ops.vectorized_map(of_row, rows)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_array_equal(others["largest"], other_expected["largest"])
    np.testing.assert_array_equal(others["constant"], np.full(50, 1.5))
    assert others["none"] is other_expected["none"] is None
    dense = keras.layers.Dense(2)
    found = keras.function(lambda x: ops.vectorized_map(lambda row: dense(row[None])[0], x))(rows)
    np.testing.assert_allclose(found, dense(rows), atol=1e-6)


def test_vectorized_map_of_a_function_that_looks_at_numbers() -> None:
    """On a tape these are known, so that it is called for each part."""
    gradient = keras.grad(lambda x: ops.sum(ops.vectorized_map(lambda a: a * a if a > 2.5 else a, x)))(X)
    np.testing.assert_array_equal(gradient, [1, 6, 10])


def test_vectorized_map_of_the_samples_of_a_model() -> None:
    """Their number isn't known while the function is recorded."""
    x = keras.Input((3,))
    model = keras.Model(x, ops.vectorized_map(lambda row: ops.sum(row * row) * row, x))
    rows = np.random.default_rng(4).normal(size=(5, 3)).astype(np.float32)
    expected = np.sum(rows * rows, axis=1, keepdims=True) * rows
    np.testing.assert_allclose(model.predict(rows, verbose=0), expected, rtol=1e-6)
    np.testing.assert_allclose(model(rows[:2]), expected[:2], rtol=1e-6)
