"""Recording of the functions of `engine.ops` that search and count: positions, bins, histograms, scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import choice, integer
from engine._tracing.arrangement import expand_dims, one_hot, take
from engine._tracing.dispatch import records
from engine._tracing.elementwise import is_nan
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import ONE, Extent, joint_length, text_of_extents
from engine._tracing.host_operations import constant, host, host_functions
from engine._tracing.primitives import (
    broadcast,
    broadcast_to,
    common_dtype,
    coordinate,
    elementwise,
    float_dtype,
    reshape,
)
from engine._tracing.primitives import scatter as scattered
from engine._tracing.reductions import any_, array_of, max_, min_, prod, sum_
from engine._tracing.symbolic import length, lengths
from engine._tracing.trace import TracedArray, as_traced, trace_of


def _pair(left: Any, other: Any) -> tuple[TracedArray, TracedArray]:
    trace = trace_of(left, other)
    return as_traced(left, trace), as_traced(other, trace)


def _beside(values: TracedArray, row: TracedArray) -> TracedArray:
    """Returns a vector along an axis behind those of `values`."""
    return row.reshaped((*[ONE] * values.ndim, *row.extents))


@records("searchsorted")
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> TracedArray:
    """The number of elements of a sequence that are smaller, or not larger."""
    choice(side, "side", ("left", "right"))
    row, searched = _pair(sorted_sequence, values)
    if row.ndim != 1:
        msg = f"`sorted_sequence` must have one axis, got shape {text_of_extents(row.extents)}"
        raise ValueError(msg)

    def is_before(a: Any, b: Any) -> Any:  # NaN is the largest number
        before = a < b if side == "left" else a <= b
        return is_nan(b).choose(1.0 - is_nan(a) if side == "left" else 1.0, before)

    smaller = elementwise(is_before, _beside(searched, row), expand_dims(searched, -1), dtype="float32")
    return sum_(smaller, -1).as_dtype("int32")


@records("digitize")
def digitize(x: Any, bins: Any) -> TracedArray:
    """The number of the bin of each number."""
    values, edges = _pair(x, bins)
    if edges.ndim != 1:
        msg = f"`bins` must have one axis, got shape {text_of_extents(edges.extents)}"
        raise ValueError(msg)
    rises = elementwise(lambda first, last: first <= last, edges[:1], edges[-1:], dtype="float32")
    reached = elementwise(
        lambda edge, a, up: up.choose(edge <= a, edge > a), _beside(values, edges), expand_dims(values, -1), rises,
        dtype="float32",
    )  # fmt: skip
    return sum_(reached, -1).as_dtype("int32")


@records("isin")
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> TracedArray:
    """Returns whether each element is one of others."""
    del assume_unique
    values, tested = _pair(x1, x2)
    same = elementwise(
        lambda a, b: a.equals(b),
        expand_dims(values, -1),
        _beside(values, reshape(tested, (-1,))),
        dtype="float32",
    )
    is_in = any_(same, -1)
    return elementwise(lambda a: 1.0 - a, is_in) if invert else is_in


@records("histogram")
def histogram(x: Any, bins: Any = 10, range: Any = None) -> tuple[TracedArray, TracedArray]:  # Keras' name
    """Returns the number of elements in each interval, and the edges of the intervals."""
    array = array_of(x)
    dtype = float_dtype(array)
    values = reshape(array, (-1,)).as_dtype(dtype)
    if isinstance(bins, int):
        edges = _equal_edges(values, integer(bins, "bins", 1), range)
    else:
        edges = as_traced(bins, array.trace)
    count = edges.extents[0].fixed - 1
    row = expand_dims(values, 0)
    low, high = (edges[first : first + count].reshaped((Extent(count), ONE)) for first in (0, 1))
    indices = coordinate(array.trace, (Extent(count), ONE), 0)
    inside = elementwise(
        lambda a, b, c, i: (b <= a) * ((a < c).of("maximum", i.equals(float(count - 1)) * a.equals(c))),
        row, low, high, indices, dtype="float32",
    )  # fmt: skip
    return sum_(inside, -1).as_dtype(dtype), edges.as_dtype(dtype)


def _equal_edges(values: TracedArray, bins: int, limits: Any) -> TracedArray:
    """Returns the edges of intervals of equal width from the smallest to the largest number, or between `limits`."""
    first, last = (min_(values), max_(values)) if limits is None else limits
    shape = (Extent(bins + 1),)
    indices = coordinate(values.trace, shape, 0)

    def formula(i: Any, a: Any, b: Any) -> Any:
        low, high = (b.equals(a).choose(edge + half, edge) for edge, half in ((a, -0.5), (b, 0.5)))
        return i.equals(float(bins)).choose(high, low + (high - low) * (i / float(bins)))

    return elementwise(formula, indices, first, last, dtype="float32")


@records("bincount")
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> TracedArray:
    """Returns how often each integer occurs, or the sums of its weights. The largest integer isn't known while recording."""
    if sparse:
        msg = "`sparse` must be False: there are no sparse arrays here"
        raise ValueError(msg)
    trace = trace_of(x, weights)
    numbers = as_traced(x, trace)
    if numbers.ndim not in (1, 2):
        msg = f"`x` must have one axis or two, got shape {text_of_extents(numbers.extents)}"
        raise ValueError(msg)
    numbers_now = numbers.computed_numbers if getattr(trace, "computes", False) else None
    if numbers_now is None and not minlength:
        msg = f"{line_of_user()}: `bincount` of numbers that aren't known yet needs `minlength`, one more than the largest of them"
        raise CannotRecordError(msg)
    length = minlength if numbers_now is None else max(int(numbers_now.max(initial=-1)) + 1, minlength)
    hot = one_hot(numbers, length, dtype="float32")
    if weights is None:
        return sum_(hot, -2).as_dtype("int32")
    shares = as_traced(weights, trace)
    return sum_(elementwise(lambda a, b: a * b, hot, expand_dims(shares, -1), dtype=shares.dtype), -2)


@records("unravel_index")
def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[TracedArray, ...]:
    """The places in an array of a shape whose elements have certain numbers."""
    array = array_of(indices)
    positions, step = list[TracedArray](), 1
    for extent in reversed(list(shape)):
        by, n = float(step), float(extent)
        index = elementwise(
            lambda a, by=by, n=n: (a / by).of("floor").of("remainder", n), array, dtype=array.dtype
        )
        positions.append(index)
        step *= int(extent)
    return tuple(reversed(positions))


# Functions of two numbers that Python computes.


def _of_integers(function: Any) -> Any:
    return lambda a, b: function(a.astype(np.int64), b.astype(np.int64))


host_functions["gcd"], host_functions["lcm"] = _of_integers(np.gcd), _of_integers(np.lcm)


def _elementwise_by_host(name: str, dtype_for: Any) -> None:
    def recorded(x1: Any, x2: Any) -> TracedArray:
        pair = _pair(x1, x2)
        shape = broadcast(*(operand.extents for operand in pair))
        operands = [broadcast_to(operand, shape) for operand in pair]
        (result,) = host(name, operands, [()], batch=shape, dtypes=[dtype_for(x1, x2)], rule=constant)
        return result

    records(name)(recorded)


for _name in ("gcd", "lcm"):
    _elementwise_by_host(_name, common_dtype)
_elementwise_by_host("nextafter", float_dtype)


# Changes at certain places.


def _flat_places(indices: TracedArray, shape: Sequence[Extent]) -> TracedArray:
    """Returns numbers of elements (n,) for places (n, k) along k axes; -1 for a place that is out of range."""
    flat: Any = None
    for axis, extent in enumerate(shape):
        length_ = length(extent)
        position = elementwise(
            lambda i, n: (i < 0.0).choose(i + n, i), indices[:, axis], length_, dtype="float32"
        )
        inside = elementwise(lambda i, n: (i >= 0.0) * (i < n), position, length_, dtype="float32")
        if flat is None:
            flat = elementwise(lambda i, ok: ok.choose(i, -1.0), position, inside)
        else:
            flat = elementwise(
                lambda before, i, ok, n: (ok * (before >= 0.0)).choose(before * n + i, -1.0),
                flat,
                position,
                inside,
                length_,
            )
    return flat  # type: ignore[no-any-return] # there is an axis


class _Changes(NamedTuple):
    """Changes of rows of an array, whose first axes are one."""

    rows: TracedArray  # the row (n,) that each update changes; -1 for none
    updates: TracedArray  # (n, ...)
    shape: tuple[Extent, ...]  # of the array

    def hits(self) -> TracedArray:
        """Returns which rows are to be changed by each update, (rows, n)."""
        numbers = coordinate(self.rows.trace, (self.shape[0], ONE), 0)
        return elementwise(
            lambda row, index: row.equals(index), numbers, expand_dims(self.rows, 0), dtype="float32"
        )


def _changes_of(shape: Sequence[Extent], indices: Any, updates: Any) -> _Changes:
    places, values = _pair(indices, updates)
    depth = places.extents[-1].static
    rows = None if depth is None else joint_length(shape[:depth])
    if depth is None or rows is None or not 1 <= depth <= len(shape):
        msg = (
            f"{line_of_user()}: `indices` must hold places along axes in their last axis, of which one at most may depend on the "
            f"number of samples, got {text_of_extents(places.extents)} for {text_of_extents(tuple(shape))}"
        )
        raise CannotRecordError(msg)
    flat = _flat_places(reshape(places, (-1, depth)), shape[:depth])
    rest = tuple(shape[depth:])
    parts = reshape(broadcast_to(values, (*places.extents[:-1], *rest)), (Extent(-1), *rest))
    return _Changes(flat, parts, (rows, *rest))


def _combined(hits: TracedArray, parts: TracedArray, reduction: Any, nothing: float) -> TracedArray:
    """Returns for each row what `reduction` makes of its updates."""
    wide = hits.reshaped((*hits.extents, *[ONE] * (parts.ndim - 1)))
    updates_here = elementwise(
        lambda hit, a: hit.choose(a, nothing), wide, expand_dims(parts, 0), dtype=parts.dtype
    )
    return reduction(updates_here, 1)  # type: ignore[no-any-return] # sum_ and the like


@records("scatter")
def scatter(indices: Any, values: Any, shape: Sequence[int]) -> TracedArray:
    """Zeros with values added at places."""
    extents = lengths(shape)
    changes = _changes_of(extents, indices, values)
    return scattered(changes.updates, changes.rows, changes.shape[0]).reshaped(extents)


@records("scatter_update")
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> TracedArray:
    """The array with updates at places: instead of its numbers, or combined with them."""
    name = reduction.lower() if isinstance(reduction, str) else reduction
    if name is not None and name != "add" and name not in _CHANGES:
        msg = f"`reduction` must be None or one of add, {', '.join(_CHANGES)}, got {reduction!r}"
        raise ValueError(msg)
    trace = trace_of(inputs, indices, updates)
    array = as_traced(inputs, trace)
    changes = _changes_of(array.extents, as_traced(indices, trace), as_traced(updates, trace))
    rows = array.reshaped(changes.shape)
    if name is None:
        return _replaced(rows, changes).reshaped(array.extents)
    if name == "add":
        sums = scattered(changes.updates, changes.rows, changes.shape[0])
        return elementwise(lambda a, b: a + b, rows, sums, dtype=array.dtype).reshaped(array.extents)
    combined, nothing, formula = _CHANGES[name]
    changed = _combined(changes.hits(), changes.updates, combined, nothing)
    return elementwise(formula, rows, changed, dtype=array.dtype).reshaped(array.extents)


_CHANGES: dict[str, tuple[Any, float, Any]] = {
    "mul": (prod, 1.0, lambda a, b: a * b),
    "max": (max_, -math.inf, lambda a, b: a.of("maximum", b)),
    "min": (min_, math.inf, lambda a, b: a.of("minimum", b)),
}


def _replaced(rows: TracedArray, changes: _Changes) -> TracedArray:
    """Returns rows with the last update of each in its place."""
    numbers = coordinate(rows.trace, changes.rows.extents, 0)
    last = scattered(numbers, changes.rows, changes.shape[0], "max", -1.0)
    chosen = take(changes.updates, elementwise(lambda i: i.of("maximum", 0.0), last, dtype="int32"), 0)
    wide = last.reshaped((*last.extents, *[ONE] * (rows.ndim - 1)))
    return elementwise(lambda i, new, old: (i < 0.0).choose(old, new), wide, chosen, rows, dtype=rows.dtype)


@records("slice_update")
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> TracedArray:
    """The array with another one in the place of a part."""
    trace = trace_of(inputs, start_indices, updates)
    array, new = as_traced(inputs, trace), as_traced(updates, trace)
    if new.ndim != array.ndim:
        msg = f"`updates` must have as many axes as `inputs`, got {text_of_extents(new.extents)} and {text_of_extents(array.extents)}"
        raise ValueError(msg)
    starts = start_indices if isinstance(start_indices, (list, tuple)) else as_traced(start_indices, trace)
    inside: Any = None
    for axis, (total, size) in enumerate(zip(array.extents, new.extents, strict=True)):
        if size == total:
            continue
        if size.static is None or (total.static is not None and size.fixed > total.fixed):
            msg = f"a part of shape {text_of_extents(new.extents)} doesn't fit into {text_of_extents(array.extents)}"
            raise ValueError(msg)
        line = tuple(total if index == axis else ONE for index in range(array.ndim))
        offsets = elementwise(
            lambda i, begin, n, most: i - (begin < 0.0).choose(begin + n, begin).of("maximum", 0.0).of("minimum", most),
            coordinate(trace, line, axis), starts[axis], length(total), length(total.plus(size, -1)), dtype="int32",
        )  # fmt: skip
        edge = float(size.fixed)
        within = elementwise(lambda i, edge=edge: (i >= 0.0) * (i < edge), offsets, dtype="float32")
        inside = within if inside is None else elementwise(lambda a, b: a * b, inside, within)
        numbers = elementwise(lambda i, edge=edge: i.of("maximum", 0.0).of("minimum", edge - 1.0), offsets)
        new = take(new, numbers.reshaped((total,)), axis)
    if inside is None:
        return new.as_dtype(array.dtype)
    return elementwise(lambda keep, a, b: keep.choose(a, b), inside, new, array, dtype=array.dtype)
