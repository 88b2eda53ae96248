"""What reductions of `engine.ops` record: sums, means, extremes, norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine._base.promotion import standard
from engine._tracing.dispatch import records
from engine._tracing.elementwise import cast
from engine._tracing.extents import Extent, quotient, size_of
from engine._tracing.primitives import (
    axes_in,
    axis_in,
    coordinate,
    cumulative_sum,
    elementwise,
    float_dtype,
    part,
    reduce,
    stop_gradient,
)
from engine._tracing.symbolic import BatchLength
from engine._tracing.trace import TracedArray, as_traced, trace_of


def array_of(x: Any) -> TracedArray:
    """Returns an operand as a symbol."""
    values = x if isinstance(x, (list, tuple)) else (x,)
    return as_traced(x, trace_of(*values))


def _summed_dtype(x: TracedArray) -> str:
    kind = np.dtype(x.dtype).kind
    return x.dtype if kind == "f" else "uint32" if kind == "u" else "int32"


@records("sum")
def sum_(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The sum along axes."""
    array = array_of(x)
    return reduce(array, "sum", axis, keepdims, _summed_dtype(array))


@records("prod")
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> TracedArray:
    """The product along axes."""
    array = array_of(x)
    found = reduce(array, "prod", axis, keepdims, _summed_dtype(array))
    return found if dtype is None else cast(found, dtype)


def count(x: TracedArray, axis: Any) -> Any:
    """Returns how many elements are combined along axes: an int, or a product of lengths that depend on the batch."""
    known, lengths = 1, list[BatchLength]()
    for each in axes_in(axis, x.ndim):
        extent = x.extents[each]
        if extent.per_sample:
            lengths.append(BatchLength(extent))
        else:
            known *= extent.fixed
    if not lengths:
        return known
    first, *others = lengths
    found: Any = first * known
    for other in others:
        found = elementwise(lambda a, b: a * b, found, other, dtype="float32")
    return found


@records("mean")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The mean along axes."""
    array = array_of(x)
    total = reduce(array, "sum", axis, keepdims)
    number = count(array, axis)
    dtype = float_dtype(array)
    if isinstance(number, int):
        return elementwise(lambda each: each / (number or math.nan), total, dtype=dtype)
    return elementwise(lambda a, b: a / b, total, number, dtype=dtype)


@records("var")
def var(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The variance along axes."""
    array = array_of(x)
    rest = elementwise(
        lambda a, b: (a - b) * (a - b), array, mean(array, axis, True), dtype=float_dtype(array)
    )
    return mean(rest, axis, keepdims)


@records("std")
def std(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The standard deviation along axes."""
    return elementwise(lambda each: each.of("sqrt"), var(x, axis, keepdims))


@records("max", "amax")
def max_(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> TracedArray:
    """The largest number along axes."""
    found = reduce(array_of(x), "max", axis, keepdims)
    return found if initial is None else elementwise(lambda a, b: a.of("maximum", b), found, initial)


@records("min", "amin")
def min_(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> TracedArray:
    """The smallest number along axes."""
    found = reduce(array_of(x), "min", axis, keepdims)
    return found if initial is None else elementwise(lambda a, b: a.of("minimum", b), found, initial)


@records("ptp")
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The distance of the largest and the smallest number."""
    return elementwise(lambda a, b: a - b, max_(x, axis, keepdims), min_(x, axis, keepdims))


def _place_of_extreme(x: Any, axis: Any, keepdims: bool, reduction: str) -> TracedArray:
    array = array_of(x)
    if axis is None:
        flat = array.reshaped((_total(array),))
        found = reduce(flat, reduction, 0, False, "int32")
        return found.reshaped((Extent(1),) * array.ndim) if keepdims else found
    return reduce(array, reduction, axis_in(axis, array.ndim), keepdims, "int32")


def _total(array: TracedArray) -> Extent:
    total = quotient(size_of(array.extents), (1,))
    if total is None:
        msg = "an array with two axes that depend on the number of samples can't be flattened"
        raise ValueError(msg)
    return total


@records("argmax")
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The place of the largest number."""
    return _place_of_extreme(x, axis, keepdims, "argmax")


@records("argmin")
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The place of the smallest number."""
    return _place_of_extreme(x, axis, keepdims, "argmin")


@records("any")
def any_(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """Whether any number isn't 0."""
    return reduce(cast(array_of(x), "bool"), "max", axis, keepdims, "bool")


@records("all")
def all_(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """Whether no number is 0."""
    return reduce(cast(array_of(x), "bool"), "min", axis, keepdims, "bool")


@records("count_nonzero")
def count_nonzero(x: Any, axis: Any = None) -> TracedArray:
    """How many numbers aren't 0."""
    return sum_(cast(array_of(x), "bool"), axis)


@records("average")
def average(x: Any, axis: Any = None, weights: Any = None) -> TracedArray:
    """The weighted mean along an axis."""
    if weights is None:
        return mean(x, axis)
    values, shares = array_of(x), as_traced(weights, trace_of(x, weights))
    values = as_traced(values, shares.trace)
    if shares.ndim == 1 and values.ndim > 1:
        place = axis_in(axis, values.ndim)
        shares = shares.reshaped(
            tuple(shares.extents[0] if i == place else Extent(1) for i in range(values.ndim))
        )
    product = elementwise(lambda a, b: a * b, values, shares, dtype=float_dtype(values, shares))
    total = elementwise(lambda a, b: a * 0.0 + b, values, shares, dtype=float_dtype(values, shares))
    return elementwise(lambda a, b: a / b, sum_(product, axis), sum_(total, axis))


@records("logsumexp")
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The logarithm of the sum of exponentials, without overflow."""
    array = array_of(x)
    top = stop_gradient(max_(array, axis, True))
    # An infinite maximum would give the difference of infinities.
    top = elementwise(lambda a: (a.of("abs") < math.inf).choose(a, 0.0), top)
    raised = elementwise(lambda a, b: (a - b).of("exp"), array, top, dtype=float_dtype(array))
    total = sum_(raised, axis, keepdims)
    return elementwise(lambda a, b: a.of("log") + b, total, top.reshaped(total.extents))


@records("norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> TracedArray:  # NumPy's name
    """The norm of vectors, or the Euclidean one of matrices."""
    array = array_of(x)
    axes = axes_in(axis, array.ndim)
    if ord is None or ord == "fro" or (ord == 2 and len(axes) == 1):  # noqa: PLR2004 # Euclidean
        squares = elementwise(lambda a: a * a, array, dtype=float_dtype(array))
        return elementwise(lambda a: a.of("sqrt"), sum_(squares, axis, keepdims))
    if len(axes) != 1 or not isinstance(ord, (int, float)):
        msg = (
            f"`ord` must be None, 2 or another number for vectors along one axis, got {ord!r} for axes {axes}"
        )
        raise ValueError(msg)
    size = elementwise(lambda a: a.of("abs"), array, dtype=float_dtype(array))
    if ord == math.inf:
        return max_(size, axis, keepdims)
    if ord == -math.inf:
        return min_(size, axis, keepdims)
    if ord == 0:
        return cast(sum_(cast(array, "bool"), axis, keepdims), size.dtype)
    if ord == 1:
        return sum_(size, axis, keepdims)
    powers = elementwise(lambda a: a.of("power", float(ord)), size)
    return elementwise(lambda a: a.of("power", 1.0 / ord), sum_(powers, axis, keepdims))


@records("cumsum")
def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> TracedArray:
    """The sums of the numbers so far along an axis."""
    array = array_of(x)
    if axis is None:
        array, axis = array.reshaped((_total(array),)), 0
    found = cumulative_sum(array.as_dtype(_summed_dtype(array)), axis)
    return found if dtype is None else cast(found, standard(dtype).name)


@records("diff")
def diff(a: Any, n: int = 1, axis: int = -1) -> TracedArray:
    """The differences of numbers that follow each other."""
    array = array_of(a)
    place = axis_in(axis, array.ndim)
    for _ in range(n):
        rest = array.extents[place].plus(-1)
        later, sooner = part(array, place, Extent(1), rest), part(array, place, Extent(0), rest)
        array = elementwise(lambda one, other: one - other, later, sooner)
    return array


@records("trace")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TracedArray:
    """The sum of the diagonals."""
    array = array_of(x)
    one, other = axis_in(axis1, array.ndim), axis_in(axis2, array.ndim)
    shape = tuple(array.extents[place] if place in (one, other) else Extent(1) for place in range(array.ndim))
    rows, columns = coordinate(array.trace, shape, one), coordinate(array.trace, shape, other)
    kept = elementwise(
        lambda a, row, column: (column - row).equals(float(offset)).choose(a, 0.0), array, rows, columns,
        dtype=array.dtype,
    )  # fmt: skip
    return sum_(kept, (one, other))


@records("moments")
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """The means and variances along axes."""
    del synchronized
    return mean(x, axes, keepdims), var(x, axes, keepdims)
