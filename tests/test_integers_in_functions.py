"""Integers in compiled functions: arguments of all dtypes and layouts, results, and numbers beyond those of float32."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import _core, ops

pytestmark = pytest.mark.usefixtures("threads_as_before")

# Around the vectors of each instruction set, around the share of a thread, and so many that several threads convert them.
LENGTHS = [0, 1, 3, 4, 5, 8, 15, 16, 17, 33, 1000, 2**14, 2**14 + 1, 2**17, 3 * 2**17 + 5]
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]

# How an array may lie in memory.
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "plain": lambda x: x,
    "every second": lambda x: np.repeat(x, 2)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "other order of bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "not aligned": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, len(x), 1),
}


def integers(dtype: str, length: int) -> NDArray[Any]:
    """Integers whose sums fit the dtype and are exact in float32."""
    limits = np.iinfo(dtype)
    low, high = max(int(limits.min), -(2**22)) // 2, min(int(limits.max), 2**22) // 2
    return np.random.default_rng(length).integers(low, high, length).astype(dtype)


# ---- Arguments and results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arguments_of_all_dtypes_and_layouts(dtype: str, layout: str) -> None:
    add = keras.function(lambda x, y: x + y)
    for length in (0, 1, 5, 1000):
        x = integers(dtype, length)
        placed = LAYOUTS[layout](x)
        if length == 0 and layout == "not aligned":
            continue
        kept = placed.copy()
        found = add(placed, placed)
        np.testing.assert_array_equal(found, x + x)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(placed, kept)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("length", LENGTHS)
def test_as_many_numbers_as_there_are_are_converted(length: int, threads: int) -> None:
    _core.set_threads(threads)
    x = integers("int32", length)
    sums, differences = keras.function(lambda x, y: (x + y, x - y))(x, x[::-1])
    np.testing.assert_array_equal(sums, x + x[::-1])
    np.testing.assert_array_equal(differences, x - x[::-1])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (2, 0), (2, 3, 5)])
def test_integers_of_all_shapes(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    found = keras.function(lambda x: {"twice": x * 2, "more": [x + 1]})(x)
    for one, other in ((found["twice"], x * 2), (found["more"][0], x + 1)):
        assert one.dtype == np.int32
        assert one.shape == shape
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", [7, 2**20])
def test_integers_that_are_returned_belong_to_the_caller(length: int) -> None:
    """Also those that are large enough for memory that is used again, and those that are returned as something else as well."""
    x = integers("int32", length)
    results = keras.function(lambda x: [y := x + 1, y, x, y * 2, y / 2, np.reshape(y, (1, -1))])(x)
    expected = [x + 1, x + 1, x, (x + 1) * 2, (x + 1) / 2, (x + 1).reshape(1, -1)]
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    results[0] += 1
    np.testing.assert_array_equal(results[3], expected[3])
    np.testing.assert_array_equal(x, integers("int32", length))
    function = keras.function(lambda x: x + 1)
    first = function(x)
    assert isinstance(first, np.ndarray)
    assert first.flags.writeable
    assert first.dtype == np.dtype(np.int32)
    kept = first.copy()
    first += 5
    second = function(x)
    np.testing.assert_array_equal(second, kept)
    assert not np.shares_memory(first, second)


def test_a_weight_that_is_returned_as_an_integer_stays_a_float() -> None:
    variable = keras.Variable([1.5, -2.5, 3.0])
    found = keras.function(lambda: (ops.cast(variable, "int32"), variable + 0.0))()
    np.testing.assert_array_equal(found[0], [1, -2, 3])
    np.testing.assert_array_equal(found[1], [1.5, -2.5, 3.0])
    np.testing.assert_array_equal(variable.numpy(), [1.5, -2.5, 3.0])


def test_numbers_beyond_int32_warn_as_in_numpy() -> None:
    x = np.array([1.5, np.nan, np.inf, -np.inf, 3e9, -3e9, -(2.0**31)], np.float32)
    function = keras.function(lambda x: ops.cast(x, "int32"))
    with pytest.warns(RuntimeWarning, match="invalid value encountered in cast"):
        found = function(x)
    assert found.tolist() == [1, *[-(2**31)] * 6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(RuntimeWarning, match="invalid value"):
                function(x)
        np.testing.assert_array_equal(function(np.zeros_like(x)), np.zeros(7, np.int32))


def test_dtypes_are_referred_to_as_often_as_they_are_used() -> None:
    function, x = keras.function(lambda x: x + 1), np.arange(5, dtype=np.int32)
    function(x)
    before = sys.getrefcount(np.dtype(np.int32))
    for _ in range(1000):
        function(x)
    assert abs(sys.getrefcount(np.dtype(np.int32)) - before) < 100


def test_threads_of_python_convert_at_once() -> None:
    function, x = keras.function(lambda x, y: x * 2 + y), integers("int32", 2**18)
    found = dict[int, Any]()

    def call(number: int) -> None:
        for _ in range(10):
            found[number] = function(x, x // (number + 2))

    function(x, x)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(found[number], x * 2 + x // (number + 2))
