"""Compiled functions of arrays alone: they read arguments where these lie, and write results where they are returned."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import same_bits
from numpy.typing import NDArray

import engine as keras
from engine import _core, ops
from engine._tracing.errors import CannotRecordError

pytestmark = pytest.mark.usefixtures("threads_as_before")

RNG = np.random.default_rng(3)
# Around the vectors of each instruction set, around those that pass through a chain together, and around a block.
LENGTHS = [1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 5000]


def numbers(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


# ---- Chains -----------------------------------------------------------------------------------------------------------


def positive_zero(xp: Any, x: Any) -> Any:
    return xp.where(x == 0, np.float32(0), x)


# By name: the function of the core, and NumPy's, which rounds each result to the nearest float32 as well.
ARITHMETIC: dict[str, tuple[int, Callable[..., Any], Callable[..., Any]]] = {
    "negative": (1, ops.negative, np.negative),
    "abs": (1, ops.abs, np.abs),
    "sqrt": (1, ops.sqrt, np.sqrt),
    "add": (2, ops.add, np.add),
    "subtract": (2, ops.subtract, np.subtract),
    "multiply": (2, ops.multiply, np.multiply),
    "divide": (2, ops.divide, np.divide),
    # Of 0 and -0 NumPy takes either, after their place in the array.
    "minimum": (
        2,
        lambda a, b: positive_zero(ops, ops.minimum(a, b)),
        lambda a, b: positive_zero(np, np.minimum(a, b)),
    ),
    "maximum": (
        2,
        lambda a, b: positive_zero(ops, ops.maximum(a, b)),
        lambda a, b: positive_zero(np, np.maximum(a, b)),
    ),
    "less": (2, lambda a, b: ops.cast(ops.less(a, b), "float32"), lambda a, b: (a < b).astype(np.float32)),
    "less_equal": (
        2,
        lambda a, b: ops.cast(ops.less_equal(a, b), "float32"),
        lambda a, b: (a <= b).astype(np.float32),
    ),
    "equal": (2, lambda a, b: ops.cast(ops.equal(a, b), "float32"), lambda a, b: (a == b).astype(np.float32)),
    "where": (3, lambda a, b, c: ops.where(a > 0, b, c), lambda a, b, c: np.where(a > 0, b, c)),
}


@given(st.data())
def test_chains_of_arithmetic_have_the_bits_of_its_steps(data: st.DataObject) -> None:
    """Each step reads the result of the one before, at any place, and others from further back, arrays or numbers."""
    length = data.draw(st.sampled_from(LENGTHS))
    steps = list[tuple[str, list[int]]]()
    for number in range(data.draw(st.integers(1, 12))):
        name = data.draw(st.sampled_from(sorted(ARITHMETIC)))
        # 0 and 1 are the arguments, 2 and 3 are numbers, and behind them are the results of the steps.
        read = [data.draw(st.integers(0, 3 + number)) for _ in range(ARITHMETIC[name][0])]
        if number and 3 + number not in read:
            read[data.draw(st.integers(0, len(read) - 1))] = 3 + number
        steps.append((name, read))
    returns_middle = data.draw(st.booleans())

    def run(x: Any, y: Any, of_core: bool) -> list[Any]:
        values = [x, y, np.float32(0.75), np.float32(-1.5)]
        for name, read in steps:
            _, core, plain = ARITHMETIC[name]
            values.append((core if of_core else plain)(*(values[number] for number in read)))
        results = [values[-1], values[4 + len(steps) // 2]] if returns_middle else [values[-1]]
        return [ops.add(each, ops.zeros_like(x)) if of_core else each + np.zeros_like(x) for each in results]

    x, y = numbers(length), numbers(length)
    with np.errstate(all="ignore"):
        expected = run(x, y, of_core=False)
    for one, other in zip(keras.function(lambda x, y: run(x, y, of_core=True))(x, y), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), other.astype(np.float32))


# ---- Arguments and results --------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "map": lambda x, y: x * y + ops.exp(y),
    "chain": lambda x, y: ((x + y) * x - y) / (x * x + 1.0),
    "sum": lambda x, y: ops.sum(x) * ops.sum(y),
    "row sums": lambda x, y: ops.sum(x, axis=1) + ops.max(y, axis=1),
    "column sums": lambda x, y: ops.sum(x, axis=0) + ops.min(y, axis=0),
    "index of the largest": lambda x, y: ops.argmax(x, axis=1) + ops.argmin(y, axis=0)[0],
    "softmax": lambda x, y: ops.softmax(x) - y,
    "product": lambda x, y: ops.matmul(x, ops.transpose(y)),
    "transposed": lambda x, y: ops.transpose(x) + ops.transpose(y),
    "slices": lambda x, y: x[:, 1:] - y[:, :-1],
    "reversed": lambda x, y: ops.flip(x, axis=1) * y,
    "gather": lambda x, y: ops.take(x, [0, 1, 0], axis=0) + ops.take(y, [1, 1, 0], axis=0),
    "running sums": lambda x, y: ops.cumsum(x, axis=1) - ops.cumsum(y, axis=0),
    "sorted": lambda x, y: ops.sort(x, axis=1) + y,
    "joined": lambda x, y: ops.concatenate([x, y], axis=1),
    "broadcast": lambda x, y: x[:, :1] * y[:1, :],
    "an argument": lambda x, y: [x, y, x + y, x],
    "the same result twice": lambda x, y: [z := x * y, z, z + 1.0],
}
SHAPES = [(2, 3), (3, 16), (5, 17), (40, 33), (16, 512), (300, 400)]


def of_fresh_arrays(name: str, x: Any, y: Any) -> list[NDArray[np.float32]]:
    """Returns the results of a function without its arguments in place: `x` and `y` pass through an index."""
    together = np.stack([x, y])
    found = keras.function(lambda both: FUNCTIONS[name](both[0], both[1]))(together)
    return [np.array(each) for each in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_are_those_of_copied_arguments(name: str, threads: int) -> None:
    _core.set_threads(threads)
    for shape in SHAPES:
        x, y = numbers(*shape), numbers(*shape)
        kept = x.copy(), y.copy()
        function = keras.function(FUNCTIONS[name])
        for _ in range(2):
            found = function(x, y)
            results = [np.asarray(each) for each in (found if isinstance(found, list) else [found])]
            for one, other in zip(results, of_fresh_arrays(name, x, y), strict=True):
                assert same_bits(one, other.astype(one.dtype)), shape
        assert same_bits(x, kept[0])
        assert same_bits(y, kept[1])


def test_results_belong_to_the_caller() -> None:
    """Later calls write into other arrays, large ones also after memory has been given back."""
    function = keras.function(lambda x, y: [x + y, x * y])
    x = numbers(1 << 20)
    sums, products = function(x, x)
    kept = sums.copy()
    sums += 1.0
    others = function(x, 2.0 * x)
    del products
    again = function(x, 3.0 * x)
    assert same_bits(np.asarray(sums), np.asarray(kept + 1.0))
    assert same_bits(np.asarray(others[0]), x + 2.0 * x)
    assert same_bits(np.asarray(again[1]), x * (3.0 * x))
    results = [sums, *others, *again]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(results) for b in results[:i])


def test_arguments_that_share_memory_and_that_nobody_may_write() -> None:
    base = numbers(40, 33)
    base.flags.writeable = False
    function = keras.function(lambda x, y: x + 2.0 * y)
    assert same_bits(np.asarray(function(base, base)), base + np.float32(2.0) * base)
    assert same_bits(np.asarray(function(base[::2], base[1::2])), base[::2] + np.float32(2.0) * base[1::2])
    assert same_bits(np.asarray(function(base[1:], base[:-1])), base[1:] + np.float32(2.0) * base[:-1])


@pytest.fixture
def before_a_guard() -> Iterator[Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """A function that copies an array to the end of a page, behind which nothing may be read."""
    if sys.platform != "linux":
        pytest.skip("mprotect of Linux")
    page, regions = mmap.PAGESIZE, list[mmap.mmap]()
    protect = ctypes.CDLL(None, use_errno=True).mprotect

    def placed(array: NDArray[np.float32]) -> NDArray[np.float32]:
        pages = -(-array.nbytes // page)
        region = mmap.mmap(-1, (pages + 1) * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        assert protect(ctypes.c_void_p(address + pages * page), ctypes.c_size_t(page), 0) == 0, os.strerror(
            ctypes.get_errno()
        )
        regions.append(region)
        end = np.frombuffer(region, np.float32, array.size, pages * page - array.nbytes).reshape(array.shape)
        end[...] = array
        return end

    return placed


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_read_behind_the_page_of_an_argument(
    name: str, threads: int, before_a_guard: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> None:
    _core.set_threads(threads)
    for shape in [(2, 3), (5, 17), (16, 512), (300, 401)]:
        x, y = before_a_guard(numbers(*shape)), before_a_guard(numbers(*shape))
        found = keras.function(FUNCTIONS[name])(x, y)
        results = [np.asarray(each) for each in (found if isinstance(found, list) else [found])]
        for one, other in zip(results, of_fresh_arrays(name, x, y), strict=True):
            assert same_bits(one, other.astype(one.dtype)), shape


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("reduction", ["sum", "max", "min", "prod"])
def test_threads_share_large_reductions_without_changing_a_bit(reduction: str, threads: int) -> None:
    """Around the size from which on they do, and around the ends of the pieces."""
    function = keras.function(getattr(ops, reduction))
    for length in [65535, 65536, 65537, 69632, 69633, 300_000]:
        x = np.random.default_rng(length).normal(1.0, 0.001, length).astype(np.float32)
        _core.set_threads(1)
        alone = function(x)
        _core.set_threads(threads)
        assert same_bits(np.asarray(function(x)), np.asarray(alone))
        assert float(alone) == pytest.approx(float(getattr(np, reduction)(x.astype(np.float64))), rel=1e-4)


def test_a_nan_anywhere_is_the_largest() -> None:
    x = numbers(100_000)
    x[70_001] = np.nan
    assert np.isnan(keras.function(ops.max)(x))
    assert np.isnan(keras.function(ops.min)(x))


# ---- Sorting ----------------------------------------------------------------------------------------------------------


def with_ties(*shape: int) -> NDArray[np.float32]:
    """Numbers many of which are equal, with infinities, zeros of both signs, denormals and NaN of both signs among them."""
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1.0, -1.0], np.float32)
    array = numbers(*shape)
    chosen = RNG.random(shape) < 0.4  # the share
    array[chosen] = RNG.choice(special, int(chosen.sum()))
    return array


# Rows that are sorted by insertion and by digits, fewer and more of them than lanes of a vector, and of any lengths side by side.
@pytest.mark.parametrize(
    "shape",
    [(1,), (2,), (40,), (41,), (5000,), (3, 41), (4, 1), (5, 2), (15, 3), (16, 17), (17, 33), (33, 129), (2, 3, 100), (5, 2049), (0, 3), (3, 0)],
)  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_sorted_rows_are_those_of_numpy(shape: tuple[int, ...], threads: int) -> None:
    keras.config.set_threads(threads)
    x = with_ties(*shape)
    for axis in range(-1, x.ndim):
        found = keras.function(lambda x, axis=axis: np.sort(x, axis=axis))(x)
        np.testing.assert_array_equal(found, np.sort(x, axis=axis))
        places = keras.function(lambda x, axis=axis: np.argsort(x, axis=axis))(x)
        assert places.dtype == np.int32
        np.testing.assert_array_equal(places, np.argsort(x, axis=axis, kind="stable"))


@pytest.mark.parametrize("shape", [(5000,), (33, 129), (2, 3, 100)])
def test_gradients_go_where_sorted_numbers_come_from(shape: tuple[int, ...]) -> None:
    x, weights = numbers(*shape), numbers(*shape)
    x[..., 7] = x[..., 3]  # equal numbers keep their order
    found = keras.function(keras.grad(lambda x: np.sum(np.sort(x) * weights)))(x)
    expected = np.empty_like(x)
    np.put_along_axis(expected, np.argsort(x, kind="stable"), weights, -1)
    np.testing.assert_array_equal(found, expected)


# ---- Windows ----------------------------------------------------------------------------------------------------------

# Slices that a function of elements reads where they lie: of several steps, of both directions, along several axes.
WINDOWS: dict[str, Callable[[Any], Any]] = {
    "differences": lambda x: x[:, 1:] - x[:, :-1],
    "differences of rows": lambda x: x[1:] - x[:-1],
    "every second column": lambda x: x[:, 1::2] * 3.0 + x[:, : x.shape[1] // 2 * 2 : 2],
    "every third": lambda x: np.exp(x[::3, 1::3]),
    "backwards": lambda x: np.flip(x, 1) * x,
    "backwards along all axes": lambda x: np.flip(x) + x[::-1] * 2.0,
    "backwards by steps": lambda x: x[::-2, ::-3] * x[: (x.shape[0] + 1) // 2, : (x.shape[1] + 2) // 3],
    # Of a quarter, since the slope of `tanh` loses its digits where the result is nearly 1.
    "neighbours": lambda x: np.tanh(
        0.25 * (x[1:-1, 1:-1] + x[:-2, 1:-1] + x[2:, 1:-1] - x[1:-1, :-2] * x[1:-1, 2:])
    ),
    "of a result": lambda x: (x * x)[:, 2:] + (x * x)[:, :-2] * x[:, 1:-1],
    "flat": lambda x: np.ravel(x)[1:] * np.ravel(x)[:-1],
    "one number": lambda x: x[:1, :1] * x,
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("shape", [(3, 3), (4, 5), (7, 16), (17, 17), (33, 300), (300, 33), (260, 257)])
@pytest.mark.parametrize("threads", [1, 2])
def test_slices_are_read_where_they_lie(name: str, shape: tuple[int, int], threads: int) -> None:
    """Beside NumPy in float64: the values, and the gradient along a direction."""
    keras.config.set_threads(threads)
    formula = WINDOWS[name]
    x, direction = numbers(*shape), RNG.normal(size=shape)
    value = keras.function(formula)(x)
    np.testing.assert_allclose(value, formula(x.astype(np.float64)), rtol=1e-5, atol=1e-5)
    weights = RNG.normal(size=value.shape)

    def total(x: Any) -> Any:
        return np.sum(formula(x) * weights + np.square(formula(x)))

    gradient = keras.function(keras.grad(total))(x)
    step = 1e-5
    along = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    assert float(np.sum(gradient * direction)) == pytest.approx(
        along, rel=1e-3, abs=1e-4 * float(np.abs(gradient * direction).sum())
    )


def test_the_gradient_by_equal_terms_is_computed_once() -> None:
    program = keras.function(keras.grad(lambda x: np.sum(np.tanh(x[1:] + x[:-1] + 1.0))))
    program(numbers(50, 3))
    assert keras.utils.explain_batch(program).count("= map(") == 2 * 2  # in the graph and in its schedule


def test_a_slice_of_what_changes_afterwards_keeps_its_numbers() -> None:
    variable = keras.Variable(numbers(4, 6))
    before = np.array(variable)

    @keras.function
    def double() -> Any:
        part = variable[:, 1:]
        variable.assign(variable * 2.0)
        return part * 1.0 + variable[:, 1:] * 0.0

    np.testing.assert_allclose(double(), before[:, 1:])


@pytest.mark.parametrize("function", [np.argsort, np.argmax, np.sort])
def test_places_that_no_float_holds_are_left_to_numpy(function: Callable[..., Any]) -> None:
    """The core would round 16,777,217 to an even number."""
    x = np.zeros(2**24 + 3, np.float32)
    x[-2] = 1.0
    with pytest.warns(UserWarning, match="every integer up to 16,777,216"):
        found = keras.function(function)(x)
    np.testing.assert_array_equal(found, function(x))


def test_the_gradient_of_a_longer_sort_is_refused() -> None:
    x = np.zeros(2**24 + 1, np.float32)
    with pytest.raises(CannotRecordError, match="every integer up to 16,777,216"):
        keras.grad(lambda x: np.sum(np.sort(x)))(x)


# ---- Tiles of rows ----------------------------------------------------------------------------------------------------

# Rows of so many numbers, of which only a few fit the L2 cache: steps are done for some of them at a time.
LONG_ROWS = (150, 5000)


def by_rows(f: Callable[..., Any], *arrays: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The results of a function of rows, from calls with so few rows that all of them are done at once."""
    parts = [f(*(array[i : i + 16] for array in arrays)) for i in range(0, len(arrays[0]), 16)]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


ROW_STEPS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b,
    lambda a, b: a - ops.max(b, axis=1, keepdims=True),
    lambda a, b: ops.exp(-ops.abs(a)) * b,
    lambda a, b: a / (1.0 + ops.sum(b * b, axis=1, keepdims=True)),
    lambda a, b: ops.flip(b, axis=1) * a,
    lambda a, b: ops.concatenate([b[:, 3:], a[:, :3]], axis=1),
]


def row_program(kinds: list[int]) -> Callable[..., Any]:
    """A function of two matrices in which each row of the results depends on the same row of these alone."""

    def f(x: Any, y: Any) -> Any:
        values = [x, y]
        for place, kind in enumerate(kinds):
            values.append(ROW_STEPS[kind](values[place // 2], values[-1]))
        return values[-1], ops.mean(values[-1], axis=1), values[len(values) // 2] * 1.0

    return f


@settings(deadline=None)
@given(st.lists(st.integers(0, len(ROW_STEPS) - 1), min_size=2, max_size=8), st.integers(1, 3))
def test_tiles_of_rows_have_the_bits_of_all_rows_at_once(kinds: list[int], threads: int) -> None:
    keras.config.set_threads(threads)
    f, x, y = keras.function(row_program(kinds)), numbers(*LONG_ROWS), numbers(*LONG_ROWS)
    expected = by_rows(f, x, y)
    for _ in range(2):
        for result, whole in zip(f(x, y), expected, strict=True):
            assert same_bits(np.asarray(result), whole)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_tiles_end_where_other_rows_are_needed(threads: int) -> None:
    """Sums along the first axis need all rows, in the middle of steps that need the same rows alone."""
    keras.config.set_threads(threads)

    def f(x: Any) -> Any:
        d = x - ops.mean(x, axis=1, keepdims=True)
        e = ops.exp(d * 0.1)
        s = ops.sum(e, axis=0, keepdims=True)
        r = e / s + d
        return r / ops.sum(ops.abs(r), axis=1, keepdims=True), s

    x = numbers(*LONG_ROWS)
    wide = x.astype(np.float64)
    d = wide - wide.mean(axis=1, keepdims=True)
    e = np.exp(d * 0.1)
    s = e.sum(axis=0, keepdims=True)
    r = e / s + d
    found, sums = keras.function(f)(x)
    np.testing.assert_allclose(np.asarray(sums), s, rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(found), r / np.abs(r).sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-8
    )


def test_tiles_need_no_memory_for_all_rows() -> None:
    """What steps pass to each other exists for the rows of a tile alone."""
    keras.config.set_threads(2)
    f = keras.function(lambda x: ops.softmax(ops.exp(x - ops.max(x, axis=1, keepdims=True)), axis=1))
    f(numbers(*LONG_ROWS))
    assert "in turns, for 16 rows r at a time" in f.explained(2)
    f(numbers(8, 40))
    assert "in turns" not in f.explained(2)


# ---- Indices of extremes and slices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 37])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 1000, 4097])
def test_the_first_of_equal_extremes_and_the_first_nan_are_found(name: str, rows: int, n: int) -> None:
    x = RNG.integers(0, 5, (rows, n)).astype(np.float32)
    x[::3, n // 2 :: 7] = np.nan
    x[1::3] = 0.0
    x[1::3, ::2] = -0.0
    expected = getattr(np, name)(x, axis=1)
    for threads in (1, 2, 3):
        keras.config.set_threads(threads)
        found = keras.function(lambda z: getattr(ops, name)(z, axis=1))(x)
        np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("kind", ["sum", "max", "min", "prod"])
@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize("n", [1, 16, 17, 4096, 4097, 70_001])
def test_a_row_has_the_same_bits_beside_any_others(kind: str, rows: int, n: int) -> None:
    """Rows are reduced several at a time, which changes the order of none."""
    x = numbers(rows, n) * np.float32(1e-3) + np.float32(1.0)
    x[-1, -1] = np.nan
    reduce = keras.function(lambda z: getattr(ops, kind)(z, axis=1))
    found = np.asarray(reduce(x))
    assert np.isnan(found[-1])
    for i in range(rows):
        assert found[i : i + 1].tobytes() == np.asarray(reduce(x[i : i + 1])).tobytes()


@pytest.mark.parametrize("step", [1, 2, 3, -1, -2, -3])
@pytest.mark.parametrize("n", [3, 15, 16, 17, 32, 33, 34, 300, 513, 1000])
def test_gradients_of_slices_are_placed_among_zeros(step: int, n: int) -> None:
    x = numbers(3, n)
    for part in (slice(None, None, step), slice(1, -1, step) if step > 0 else slice(-2, 0, step)):
        found = keras.function(keras.grad(lambda z: ops.sum(ops.square(z[:, part]))))(x)  # noqa: B023 # called at once
        expected = np.zeros_like(x)
        expected[:, part] = 2 * x[:, part]
        np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "ptp"])
@pytest.mark.parametrize("axis", [1, None])
def test_extremes_of_no_elements_are_refused_as_by_numpy(name: str, axis: int | None) -> None:
    def extreme(z: Any) -> Any:
        return getattr(ops, name)(z, axis=axis)

    for shape in ((3, 0), (0, 0)):
        with pytest.raises(ValueError, match=r"zero-size array|empty sequence"):
            getattr(np, name)(np.zeros(shape, np.float32), axis=axis)
        with pytest.raises(ValueError, match=r"needs an element at least, but an array of shape \(\d, 0\)"):
            keras.function(extreme)(np.zeros(shape, np.float32))
    assert keras.function(lambda z: getattr(ops, name)(z, axis=1))(np.zeros((0, 3), np.float32)).shape == (0,)


def test_extremes_of_no_elements_may_begin_with_a_number() -> None:
    x = np.zeros((3, 0), np.float32)
    np.testing.assert_array_equal(keras.function(lambda z: ops.max(z, axis=1, initial=2.0))(x), [2, 2, 2])
