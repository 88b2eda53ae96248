"""What compiled functions compute in one pass has the same bits as what they compute in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine import ops

Array = NDArray[Any]
RNG = np.random.default_rng(5)


@pytest.fixture(params=[1, 2, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    with keras.config.threads(request.param):
        yield request.param


def numbers(*shape: int) -> Array:
    return RNG.normal(1.0, 0.5, shape).astype(np.float32)


def schedule_of(function: Any) -> str:
    return keras.utils.explain_batch(function, threads=2).partition("\n\nSchedule")[2]


SHAPES = [(1,), (37,), (5000,), (70_001,), (3, 5), (300, 700), (700, 300), (257, 1040), (9000, 9), (2, 33_000),
          (2, 3, 11_000), (65, 40, 33), (4, 300, 513), (5, 1, 700)]  # fmt: skip
REDUCTIONS = {"sum": ops.sum, "max": ops.max, "min": ops.min, "prod": ops.prod}
MAPS: dict[str, Callable[[Any], Any]] = {
    "one instruction": lambda x: x * x,
    "a chain": lambda x: (x * 0.5 + 0.25) * x - 1.0,
    "with functions": lambda x: ops.exp(-x) * ops.sqrt(ops.abs(x)),
    "with rows": lambda x: x * 0.5 + x[:1] * 0.25,
    "with columns": lambda x: x * 0.5 + x[..., :1] * 0.25,
    "with coordinates": lambda x: x * ops.cos(ops.cast(ops.arange(x.shape[-1]), "float32")),
    "with reversed rows": lambda x: x * ops.flip(x, axis=-1),
    "with gathered rows": lambda x: ops.take(x, np.arange(x.shape[0])[::-1] // 2, axis=0) * 0.5 + x,
}


def axes_of(shape: tuple[int, ...]) -> list[Any]:
    count = len(shape)
    return [None, *range(count), *[tuple(range(k)) for k in range(2, count)]]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_reduction_of_a_map_has_the_bits_of_one_of_an_array(shape: tuple[int, ...], name: str) -> None:
    x = numbers(*shape)
    for axis in axes_of(shape):
        together = keras.function(lambda x, axis=axis: ops.sum(MAPS[name](x), axis=axis))
        apart = keras.function(lambda x, axis=axis: (mapped := MAPS[name](x), ops.sum(mapped, axis=axis)))
        np.testing.assert_array_equal(together(x), apart(x)[1], err_msg=str(axis))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_all_reductions_of_maps(reduction: str) -> None:
    x = numbers(300, 700)
    for axis in axes_of(x.shape):

        def together(x: Any, axis: Any = axis) -> Any:
            return REDUCTIONS[reduction](x * 0.125 + 0.875, axis=axis)

        expected = getattr(np, reduction)(x.astype(np.float64) * 0.125 + 0.875, axis=axis)
        np.testing.assert_allclose(keras.function(together)(x), expected, rtol=2e-4, atol=1e-30)


@pytest.mark.parametrize(
    ("axis", "kernel"), [(None, "pieces of a map"), (0, "columns of a map"), (1, "rows of a map")]
)
def test_a_map_that_a_reduction_alone_reads_is_not_stored(axis: int | None, kernel: str) -> None:
    function = keras.function(lambda x: ops.sum(x * x - 1.0, axis=axis))
    function(numbers(1000, 1000))
    assert kernel in schedule_of(function)


def test_a_reduction_of_nothing_has_its_neutral_number() -> None:
    function = keras.function(lambda x: (ops.sum(x * 2.0, axis=0), ops.sum(x * 2.0)))
    columns, total = function(np.zeros((0, 4), np.float32))
    assert columns.tolist() == [0.0] * 4
    assert float(total) == 0.0


def standardized(xp: Any, x: Any, axis: int) -> Any:
    d = x - xp.mean(x, axis=axis, keepdims=True)
    return d / xp.sqrt(xp.mean(d * d, axis=axis, keepdims=True) + 1e-5)


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def recurrence(xp: Any, x: Any) -> Any:
    carry, rows = xp.zeros_like(x[0]), []
    for row in range(x.shape[0]):
        carry = xp.tanh(0.5 * carry + x[row])
        rows.append(carry)
    return xp.stack(rows)


FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "variance": lambda xp, x: xp.var(x, axis=0),
    "standardized rows": lambda xp, x: standardized(xp, x, 1),
    "standardized columns": lambda xp, x: standardized(xp, x, 0),
    "softmax": softmax,
    "log of a sum": lambda xp, x: xp.log(xp.sum(xp.exp(x - xp.max(x, axis=1, keepdims=True)), axis=1)),
    "all rows": lambda xp, x: xp.concatenate([x[:7] * 2.0, xp.tanh(x[7:])], axis=0),
    "some rows": lambda xp, x: xp.concatenate([x[:5] * 2.0, xp.tanh(x[7:])], axis=0),
    "rows twice": lambda xp, x: xp.concatenate([x[:7] * 2.0, xp.tanh(x[5:])], axis=0),
    "columns": lambda xp, x: x[:, :3] * x[:, 3:6] + xp.sum(x[:, 6:], axis=1, keepdims=True),
    "recurrence": recurrence,
    "differences": lambda xp, x: x[:, 1:] - x[:, :-1],
    "backwards": lambda xp, x: xp.flip(x, axis=1) * x,
    "rows by index": lambda xp, x: xp.square(xp.take(x, np.array([4, 0, 4, 11]), axis=0)),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("columns", [9, 700])
def test_gradients_are_slopes(name: str, columns: int) -> None:
    x = numbers(12, columns)
    direction, step = RNG.normal(size=x.shape), 1e-6

    def total(xp: Any, x: Any) -> Any:
        return xp.sum(xp.sin(FORMULAS[name](xp, x)) * 2.0)

    value, gradient = keras.function(keras.value_and_grad(lambda x: total(ops, x)))(x)
    assert float(value) == pytest.approx(float(total(np, x.astype(np.float64))), rel=1e-4, abs=1e-2)
    up, down = (float(total(np, x + sign * step * direction)) for sign in (1.0, -1.0))
    slope = float(np.sum(np.asarray(gradient, np.float64) * direction))
    assert slope == pytest.approx((up - down) / (2.0 * step), rel=1e-3, abs=1e-2)


def test_the_gradients_of_all_rows_are_joined() -> None:
    function = keras.function(keras.grad(lambda x: ops.sum(ops.square(recurrence(ops, x)))))
    function(numbers(6, 20))
    graph = keras.utils.explain_batch(function, threads=2).partition("\n\nSchedule")[0]
    assert "place_slice" not in graph
    assert graph.count("axis=0") == 2  # the rows of the function, and those of its gradient


def test_a_quick_map_is_computed_where_it_is_read() -> None:
    function = keras.function(lambda x: ops.var(x, axis=0))
    function(numbers(1000, 1000))
    assert "subtract multiply" in schedule_of(function) or "columns of a map" in schedule_of(function)
    assert schedule_of(function).count("= map(") == 2  # the means and the variances


@pytest.mark.parametrize("columns", [5, 700])
def test_rows_by_index_that_do_not_exist_are_nan_in_maps(columns: int) -> None:
    x, indices = numbers(6, columns), np.array([0, 5, 6, -1, -7, 2], np.int32)
    function = keras.function(lambda x, i: ops.take(x, i, axis=0) + 1.0)
    expected = np.concatenate(
        [x[[0, 5]], np.full((1, columns), np.nan), x[[5]], np.full((1, columns), np.nan), x[[2]]]
    )
    np.testing.assert_array_equal(function(x, indices), expected.astype(np.float32) + np.float32(1))


@pytest.mark.parametrize("columns", [5, 700])
def test_a_map_may_read_rows_by_index_and_write_over_another_array(columns: int) -> None:
    x, indices = numbers(40, columns), RNG.permutation(40).astype(np.int32)
    function = keras.function(lambda x, i: ops.exp(x) + ops.take(ops.exp(x), i, axis=0))
    np.testing.assert_allclose(function(x, indices), np.exp(x) + np.exp(x)[indices], rtol=1e-6)


# ---- Scatters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 700), (50, 4, 5)], ids=str)
def test_sums_of_segments_are_added_in_order(shape: tuple[int, ...]) -> None:
    x, segments = numbers(*shape), RNG.integers(-2, 9, 50).astype(np.int32)
    expected = np.zeros((7, *shape[1:]), np.float32)
    for row, segment in zip(x, segments, strict=True):
        if 0 <= segment < 7:
            expected[segment] += row
    function = keras.function(lambda x, s: ops.segment_sum(x, s, 7))
    np.testing.assert_array_equal(function(x, segments), expected)


def test_an_infinite_number_stays_in_its_segment() -> None:
    x = np.array([[1.0], [np.inf], [np.nan]], np.float32)
    sums = keras.function(lambda x: ops.segment_sum(x, np.array([0, 1, 2]), 3))(x)
    np.testing.assert_array_equal(sums, x)


@pytest.mark.parametrize("rows", [4, 3000])
@pytest.mark.parametrize("rest", [(), (6,)], ids=str)
def test_the_last_update_of_a_row_is_in_its_place(rows: int, rest: tuple[int, ...]) -> None:
    x, updates = numbers(rows, *rest), numbers(2 * rows, *rest)
    places = RNG.integers(-rows - 1, rows + 1, (2 * rows, 1)).astype(np.int32)
    expected, slopes = x.copy(), np.zeros_like(updates)
    last: dict[int, int] = {}
    for update, (place,) in enumerate(places):
        if -rows <= place < rows:
            expected[place] = updates[update]
            last[int(place) % rows] = update
    slopes[list(last.values())] = 1.0

    def replaced(x: Any, updates: Any) -> Any:
        return ops.scatter_update(x, places, updates)

    np.testing.assert_array_equal(keras.function(replaced)(x, updates), expected)
    found = keras.function(keras.grad(lambda updates, x: ops.sum(replaced(x, updates))))(updates, x)
    np.testing.assert_array_equal(found, slopes)


def test_sums_of_many_updates_of_many_rows_take_no_table_of_both() -> None:
    rows, count = 200_000, 100_000
    places = RNG.integers(0, rows, (count, 1)).astype(np.int32)
    updates = numbers(count)
    function = keras.function(lambda i, u: ops.scatter(i, u, (rows,)))
    expected = np.zeros(rows, np.float32)
    np.add.at(expected, places[:, 0], updates)
    np.testing.assert_array_equal(function(places, updates), expected)


def test_scatters_of_batches() -> None:
    x, segments = numbers(3, 20, 2), RNG.integers(0, 4, (3, 20)).astype(np.int32)
    found = keras.vmap(lambda x, s: ops.segment_sum(x, s, 4))(x, segments)
    expected = np.stack([np.asarray(ops.segment_sum(a, b, 4)) for a, b in zip(x, segments, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
