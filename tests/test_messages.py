"""Composed messages are right in every case: empty ranges and lists, single values, and missing bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers
from engine._base import checks


def constrained(weight: str) -> None:
    options: dict[str, Any] = {f"{weight}_constraint": keras.constraints.MaxNorm(axis=2)}
    keras.Sequential([keras.Input((3,)), layers.Dense(2, **options)]).compile("sgd", "mse")


CASES: list[tuple[Callable[[], Any], str]] = [
    # Whole numbers.
    (lambda: checks.integer(0, "n", 1), "`n` must be at least 1, got 0"),
    (lambda: checks.integer(9, "n", 1, 5), "`n` must be at most 5, got 9"),
    (lambda: checks.integer(2, "n", 1, 1), "`n` must be 1, got 2"),
    (lambda: checks.integer(2**40, "n", 0), "`n` must be at most 2147483647, got 1099511627776"),
    (lambda: checks.integer(None, "n", 0), "`n` must be an integer, got None"),
    (lambda: checks.integers((1, 0), "n", 1), "`n[1]` must be at least 1, got 0"),
    (lambda: checks.integers(3, "n", 1), "`n` must be a tuple of integers such as (2, 1), got 3"),
    # Real numbers.
    (lambda: checks.real(math.nan, "x"), "`x` must be finite, got nan"),
    (lambda: checks.real(math.inf, "x", 0.0), "`x` must be a finite number of at least 0, got inf"),
    (lambda: checks.real(-math.inf, "x", high=2.5), "`x` must be a finite number of at most 2.5, got -inf"),
    (lambda: checks.real(3.0, "x", high=2.5), "`x` must be a finite number of at most 2.5, got 3.0"),
    (lambda: checks.real(2.0, "x", 0.0, 1.0), "`x` must be between 0 and 1, got 2.0"),
    (lambda: checks.real(2.0, "x", 1.0, 1.0), "`x` must be 1, got 2.0"),
    (lambda: checks.real(None, "x"), "`x` must be a number, got None"),
    (lambda: checks.reals([1, "a"], "x"), "`x[1]` must be a number, got 'a'"),
    (lambda: checks.reals([1, math.nan], "x"), "`x[1]` must be finite, got nan"),
    (lambda: checks.reals("12", "x"), "`x` must be a list of numbers, got '12'"),
    (lambda: checks.below_one(1.0, "x"), "`x` must be less than 1, got 1.0"),
    (lambda: checks.above_zero(0, "x"), "`x` must be greater than 0, got 0.0"),
    (lambda: checks.above_zero(math.nan, "x"), "`x` must be finite, got nan"),
    # One of some.
    (lambda: checks.choice("c", "x", ("a", "b")), "`x` must be one of 'a', 'b', got 'c'"),
    (lambda: checks.choice(True, "x", (False,)), "`x` must be False, got True"),
    (lambda: checks.choice(None, "x", ("a",)), "`x` must be 'a', got None"),
    (lambda: checks.flag(None, "x"), "`x` must be True or False, got None"),
    (
        lambda: checks.only_default(3, "x", None, "this"),
        "`x` must be None, got 3: this is left out on purpose",
    ),
    # Shapes and names.
    (lambda: checks.shape((2, 0), "s"), "`s[1]` must be at least 1, got 0"),
    (lambda: checks.shape((None, -1), "s"), "`s[1]` must be at least 1, got -1"),
    (lambda: checks.path_of(None, "p"), "`p` must be a path, got None"),
    # Messages elsewhere that name a range or a list.
    (
        lambda: keras.Sequential(name="m").get_layer(index=0),
        "`index` must be that of one of the layers, but there are none; got 0",
    ),
    (lambda: keras.Sequential(name="m").get_layer("a"), "no layer is named 'a'. The layers are: none"),
    (
        lambda: keras.Sequential([layers.Dense(1)]).get_layer(index=1),
        "`index` must be that of one of the layers, which are 0 or -1; got 1",
    ),
    (
        lambda: keras.Sequential([layers.Dense(1), layers.ReLU()]).get_layer(index=2),
        "`index` must be that of one of the layers, which are from 0 to 1 or from -2 to -1; got 2",
    ),
    (lambda: keras.initializers.Zeros(x=1), "Zeros has no argument `x`. It takes: none"),
    (lambda: layers.Permute((2,)), "`dims` must hold the numbers of the axes, (1,), got (2,)"),
    (
        lambda: layers.Permute((1, 3)),
        "`dims` must hold the numbers of the axes, (1, 2) in any order, got (1, 3)",
    ),
    (
        lambda: constrained("kernel"),
        "`axis` of a norm must name axes of the weights, which are from 0 to 1 or from -2 to -1; got 2",
    ),
    (
        lambda: constrained("bias"),
        "`axis` of a norm must name axes of the weights, which are 0 or -1; got 2",
    ),
    (
        lambda: keras.random.randint((2,), 0, 5, dtype="float32"),
        "`dtype` must be that of integers, such as 'int32', got 'float32'",
    ),
    (
        lambda: keras.random.normal((2,), dtype="int32"),
        "`dtype` must be that of floats, such as 'float32', got 'int32'",
    ),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=[case[1][:40] for case in CASES])
def test_messages(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value) == message


def test_parts_of_messages() -> None:
    assert checks.text_of_shape(()) == "(n,)"
    assert checks.text_of_shape((3,)) == "(n, 3)"
    assert [checks.text_of_axes(count, 1) for count in (1, 2)] == ["1 or -1", "from 1 to 2 or from -2 to -1"]
    assert [checks.listing(names) for names in ([], ["a"], ["a", "b"])] == ["none", "a", "a, b"]
    assert [checks.with_noun(count, "bin") for count in (0, 1, 2)] == ["0 bins", "1 bin", "2 bins"]


@pytest.mark.parametrize(
    ("parts", "given"), [((), "()"), ((1,), "1 part"), ((1, 2, 3, 4), "4 parts"), (3, "3")]
)
def test_tuples_of_data(parts: Any, given: str) -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(
        ValueError,
        match=rf"`validation_data` must be \(x, y\) or .* got {given.replace('(', '.').replace(')', '.')}$",
    ):
        model.fit(np.ones((2, 1)), np.ones(2), validation_data=parts, verbose=0)
