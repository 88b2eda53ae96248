"""Recording of the reductions of `engine.ops`: sums, means, extremes, norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine._tracing.dispatch import implementation_of, records
from engine._tracing.elementwise import cast, is_nan, subtract
from engine._tracing.extents import ONE, Extent, joint_length
from engine._tracing.primitives import (
    axes_in,
    axis_in,
    common_dtype,
    coordinate,
    cumulative_sum,
    elementwise,
    float_dtype,
    part,
    reduce,
    stop_gradient,
    two_axes,
)
from engine._tracing.symbolic import BatchLength
from engine._tracing.trace import TracedArray, as_traced, trace_of


def array_of(x: Any) -> TracedArray:
    """Returns an operand as a symbol."""
    values = x if isinstance(x, (list, tuple)) else (x,)
    return as_traced(x, trace_of(*values))


def _summed_dtype(x: TracedArray) -> str:
    """Returns the dtype of sums and products, by Keras' rules."""
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
    product = reduce(array, "prod", axis, keepdims, _summed_dtype(array))
    return product if dtype is None else cast(product, dtype)


def count(x: TracedArray, axis: Any) -> Any:
    """Returns how many elements are combined along axes: an int, or a product of lengths that depend on the batch."""
    fixed, lengths = 1, list[BatchLength]()
    for position in axes_in(axis, x.ndim):
        extent = x.extents[position]
        if extent.per_sample:
            lengths.append(BatchLength(extent))
        else:
            fixed *= extent.fixed
    if not lengths:
        return fixed
    first, *more = lengths
    product: Any = first * fixed
    for other in more:
        product = elementwise(lambda a, b: a * b, product, other, dtype="float32")
    return product


@records("mean")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The mean along axes."""
    array = array_of(x)
    number, dtype = count(array, axis), float_dtype(array)
    total = reduce(array, "sum", axis, keepdims, dtype)
    if isinstance(number, int):
        return elementwise(lambda a: a / (number or math.nan), total, dtype=dtype)
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
    return elementwise(lambda a: a.of("sqrt"), var(x, axis, keepdims))


def _extreme(x: Any, reduction: str, axis: Any, keepdims: bool, initial: Any) -> TracedArray:
    """Returns the largest or smallest number along axes, which must have elements if there is no `initial` result."""
    array = array_of(x)
    if initial is None:
        _require_elements(
            array, reduction, axis, "pass `initial`, which is their result, or arrays with elements"
        )
    return reduce(array, reduction, axis, keepdims)


def _require_elements(array: TracedArray, reduction: str, axis: Any, remedy: str) -> None:
    """Raises ValueError if there are no elements along axes, whatever the number of samples in a batch."""
    if any(array.extents[position].static == 0 for position in axes_in(axis, array.ndim)):
        where = "" if axis is None else f" along axis {axis}"
        msg = f"`{reduction}` needs an element at least, but an array of shape {array.shape} has none{where}: {remedy}"
        raise ValueError(msg)


@records("max", "amax")
def max_(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> TracedArray:
    """The largest number along axes."""
    result = _extreme(x, "max", axis, keepdims, initial)
    return result if initial is None else elementwise(lambda a, b: a.of("maximum", b), result, initial)


@records("min", "amin")
def min_(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> TracedArray:
    """The smallest number along axes."""
    result = _extreme(x, "min", axis, keepdims, initial)
    return result if initial is None else elementwise(lambda a, b: a.of("minimum", b), result, initial)


@records("ptp")
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The distance of the largest and the smallest number."""
    return subtract(max_(x, axis, keepdims), min_(x, axis, keepdims))


def _index_of_extreme(x: Any, axis: Any, keepdims: bool, reduction: str) -> TracedArray:
    """Returns the index of the largest or smallest number along an axis, or in the flat array if `axis` is None."""
    array = array_of(x)
    _require_elements(array, reduction, axis, "pass arrays with elements")
    if axis is None:
        flat = array.reshaped((_total(array),))
        position = reduce(flat, reduction, 0, False, "int32")
        return position.reshaped((Extent(1),) * array.ndim) if keepdims else position
    return reduce(array, reduction, axis_in(axis, array.ndim), keepdims, "int32")


def _total(array: TracedArray) -> Extent:
    """Returns the number of elements as a length."""
    total = joint_length(array.extents)
    if total is None:
        msg = "an array with two axes that depend on the number of samples can't be flattened"
        raise ValueError(msg)
    return total


@records("argmax")
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The index of the largest number."""
    return _index_of_extreme(x, axis, keepdims, "argmax")


@records("argmin")
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The index of the smallest number."""
    return _index_of_extreme(x, axis, keepdims, "argmin")


@records("any")
def any_(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """Returns whether any number isn't 0."""
    return _is_positive(reduce(cast(array_of(x), "bool"), "max", axis, keepdims))


@records("all")
def all_(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """Returns whether no number is 0."""
    return _is_positive(reduce(cast(array_of(x), "bool"), "min", axis, keepdims))


def _is_positive(extremes: TracedArray) -> TracedArray:
    """Returns the extremes of zeros and ones as bools; the maximum of no numbers is -inf, and their minimum inf."""
    return elementwise(lambda a: a > 0.0, extremes, dtype="bool")


@records("count_nonzero")
def count_nonzero(x: Any, axis: Any = None) -> TracedArray:
    """Returns the number of elements that aren't 0."""
    return sum_(cast(array_of(x), "bool"), axis)


@records("average")
def average(x: Any, axis: Any = None, weights: Any = None) -> TracedArray:
    """The weighted mean along an axis."""
    if weights is None:
        return mean(x, axis)
    values, weights_read = array_of(x), as_traced(weights, trace_of(x, weights))
    values = as_traced(values, weights_read.trace)
    if weights_read.ndim == 1 and values.ndim > 1:
        axes = axes_in(axis, values.ndim)
        if len(axes) != 1 or not values.extents[axes[0]].agrees_with(weights_read.extents[0]):
            msg = f"`weights` must have the shape of `x`, or be one for each place along one axis, got {weights_read!r} for {values!r} and `axis` {axis}"
            raise ValueError(msg)
        (averaged_axis,) = axes
        weights_read = weights_read.reshaped(
            tuple(weights_read.extents[0] if i == averaged_axis else Extent(1) for i in range(values.ndim))
        )
    product = elementwise(lambda a, b: a * b, values, weights_read, dtype=float_dtype(values, weights_read))
    total = elementwise(
        lambda a, b: a * 0.0 + b, values, weights_read, dtype=float_dtype(values, weights_read)
    )
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


def _along_one_axis(x: Any, axis: Any) -> tuple[TracedArray, int]:
    """Returns an array and one of its axes, which may be given in a sequence; None makes the array a vector."""
    array = array_of(x)
    if axis is None:
        return array.reshaped((_total(array),)), 0
    axes = axes_in(axis, array.ndim)
    if len(axes) != 1:
        msg = f"`axis` must be one axis or None, got {axis}"
        raise ValueError(msg)
    return array, axes[0]


@records("cumsum")
def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> TracedArray:
    """The sums of the numbers so far along an axis."""
    array, axis = _along_one_axis(x, axis)
    sums = cumulative_sum(array.as_dtype(_summed_dtype(array)), axis)
    return cast(sums, common_dtype(array, least_dtype=int) if dtype is None else dtype)


@records("cumprod")
def cumprod(x: Any, axis: Any = None, dtype: Any = None) -> TracedArray:
    """The products of the numbers so far along an axis: each is a product of as many numbers as the axis has."""
    array, axis = _along_one_axis(x, axis)
    own_dtype = common_dtype(array, least_dtype=int)
    array, axis_index = array.as_dtype(_summed_dtype(array)), axis
    before, length, after = (
        array.extents[:axis_index],
        array.extents[axis_index],
        array.extents[axis_index + 1 :],
    )
    shape = (*before, length, length, *after)
    last, factor = (coordinate(array.trace, shape, start) for start in (axis_index, axis_index + 1))
    factors = elementwise(
        lambda a, i, j: (j <= i).choose(a, 1.0), array.reshaped((*before, ONE, length, *after)), last, factor,
        dtype=array.dtype,
    )  # fmt: skip
    return cast(prod(factors, axis_index + 1), own_dtype if dtype is None else dtype)


@records("trapezoid")
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> TracedArray:
    """The integral along an axis by the trapezoidal rule."""
    trace = trace_of(y, x)
    array = as_traced(y, trace)
    axis_index = axis_in(axis, array.ndim)
    rest = array.extents[axis_index].plus(-1)
    later, sooner = part(array, axis_index, ONE, rest), part(array, axis_index, Extent(0), rest)
    if x is None:
        means = elementwise(lambda a, b: (a + b) * (0.5 * dx), later, sooner, dtype=float_dtype(array))
        return sum_(means, axis_index)
    steps = diff(as_traced(x, trace), axis=-1 if len(x.shape) == 1 else axis)
    if steps.ndim == 1:
        steps = steps.reshaped(
            tuple(steps.extents[0] if position == axis_index else ONE for position in range(array.ndim))
        )
    dtype = float_dtype(array, steps)
    return sum_(
        elementwise(lambda a, b, step: (a + b) * step * 0.5, later, sooner, steps, dtype=dtype), axis_index
    )


@records("diff")
def diff(a: Any, n: int = 1, axis: int = -1) -> TracedArray:
    """The differences of numbers that follow each other."""
    array = array_of(a)
    axis_index = axis_in(axis, array.ndim)
    for _ in range(n):
        if array.extents[axis_index] == Extent(0):
            break
        rest = array.extents[axis_index].plus(-1)
        later, sooner = part(array, axis_index, Extent(1), rest), part(array, axis_index, Extent(0), rest)
        array = (implementation_of("not_equal") if array.dtype == "bool" else subtract)(later, sooner)
    return array


@records("trace")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TracedArray:
    """The sum of the diagonals."""
    array = array_of(x)
    first, other = two_axes(axis1, axis2, array.ndim)
    shape = tuple(
        array.extents[index] if index in (first, other) else Extent(1) for index in range(array.ndim)
    )
    rows, columns = coordinate(array.trace, shape, first), coordinate(array.trace, shape, other)
    diagonal = elementwise(
        lambda a, row, column: (column - row).equals(float(offset)).choose(a, 0.0), array, rows, columns,
        dtype=array.dtype,
    )  # fmt: skip
    return sum_(diagonal, (first, other))


@records("moments")
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """The means and variances along axes."""
    del synchronized
    return mean(x, axes, keepdims), var(x, axes, keepdims)


def _without_nan(x: Any, instead: float) -> TracedArray:
    """Returns an array with a number in place of each NaN."""
    array = array_of(x)
    return elementwise(lambda a: is_nan(a).choose(instead, a), array, dtype=array.dtype)


def _count_of_numbers(x: Any, axis: Any, keepdims: bool) -> TracedArray:
    """Returns how many elements along axes aren't NaN, as float32."""
    present = elementwise(lambda a: 1.0 - is_nan(a), array_of(x), dtype="float32")
    return sum_(present, axis, keepdims)


def _nan_for_none(result: TracedArray, count: TracedArray) -> TracedArray:
    """Returns NaN where no number was combined."""
    return elementwise(lambda a, n: n.equals(0.0).choose(math.nan, a), result, count, dtype=result.dtype)


@records("nansum")
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The sum along axes without NaN."""
    return sum_(_without_nan(x, 0.0), axis, keepdims)


@records("nanprod")
def nanprod(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The product along axes without NaN."""
    return prod(_without_nan(x, 1.0), axis, keepdims)


@records("nancumsum")
def nancumsum(x: Any, axis: Any = None, dtype: Any = None) -> TracedArray:
    """The sums so far, with 0 for NaN."""
    return cumsum(_without_nan(x, 0.0), axis, dtype)


@records("nancumprod")
def nancumprod(x: Any, axis: Any = None, dtype: Any = None) -> TracedArray:
    """The products so far, with 1 for NaN."""
    return cumprod(_without_nan(x, 1.0), axis, dtype)


@records("nanmax")
def nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The largest along axes without NaN; NaN if all are."""
    result = max_(_without_nan(x, -math.inf), axis, keepdims)
    return _nan_for_none(result, _count_of_numbers(x, axis, keepdims))


@records("nanmin")
def nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The smallest along axes without NaN; NaN if all are."""
    result = min_(_without_nan(x, math.inf), axis, keepdims)
    return _nan_for_none(result, _count_of_numbers(x, axis, keepdims))


@records("nanmean")
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The mean along axes without NaN; NaN if all are."""
    total, count_ = nansum(x, axis, keepdims), _count_of_numbers(x, axis, keepdims)
    return elementwise(lambda a, n: a / n, total, count_, dtype=float_dtype(array_of(x)))


@records("nanvar")
def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The variance along axes without NaN; NaN if all are."""
    array = array_of(x)
    return nanmean(
        elementwise(lambda a, m: (a - m) * (a - m), array, nanmean(array, axis, True)), axis, keepdims
    )


@records("nanstd")
def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The standard deviation along axes without NaN; NaN if all are."""
    return elementwise(lambda a: a.of("sqrt"), nanvar(x, axis, keepdims))


@records("nanargmax")
def nanargmax(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The index of the largest number without NaN; -1 if all are."""
    return _index_of_numbers(x, -math.inf, "argmax", axis, keepdims)


@records("nanargmin")
def nanargmin(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The index of the smallest number without NaN; -1 if all are."""
    return _index_of_numbers(x, math.inf, "argmin", axis, keepdims)


def _index_of_numbers(x: Any, instead: float, reduction: str, axis: Any, keepdims: bool) -> TracedArray:
    position = _index_of_extreme(_without_nan(x, instead), axis, keepdims, reduction)
    count_ = _count_of_numbers(x, axis, keepdims)
    return elementwise(lambda a, n: n.equals(0.0).choose(-1.0, a), position, count_, dtype="int32")


@records("allclose")
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> TracedArray:
    """Returns whether all numbers are equal within a tolerance."""
    return all_(implementation_of("isclose")(x1, x2, rtol, atol, equal_nan))
