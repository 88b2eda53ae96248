"""Recording of sorting, medians and quantiles of `engine.ops`: all of them sort along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from engine._base.checks import choice
from engine._tracing.arrangement import (
    expand_dims,
    moveaxis,
    reshape,
    stack,
    take,
    take_along_axis,
    transpose,
)
from engine._tracing.code import Term
from engine._tracing.dispatch import records
from engine._tracing.elementwise import ceil, is_nan
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import ONE
from engine._tracing.primitives import axes_in, axis_in, coordinate, elementwise, float_dtype, sorted_along
from engine._tracing.primitives import broadcast_to as spread
from engine._tracing.reductions import array_of, count, sum_
from engine._tracing.symbolic import is_symbolic
from engine._tracing.trace import TracedArray, as_traced, trace_of

# Places of quantiles that are nearer to whole numbers are rounded.
_ROUNDING = 1e-4
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@records("argsort")
def argsort(x: Any, axis: Any = -1) -> TracedArray:
    """The indices that sort the numbers in ascending order: equal numbers stay in order, NaN comes last."""
    return _sorted(x, axis, gives_places=True)


def _sorted(x: Any, axis: Any, gives_places: bool) -> TracedArray:
    array = array_of(x)
    if axis is None or array.ndim == 0:
        array, axis = reshape(array, (-1,)), 0
    index = axis_in(axis, array.ndim)
    return moveaxis(sorted_along(moveaxis(array, index, -1), gives_places), -1, index)


@records("argpartition")
def argpartition(x: Any, kth: Any, axis: Any = -1) -> TracedArray:
    """Indices that put one number at its place among all, with smaller ones before it: those that sort all of them."""
    if not isinstance(kth, (int, np.integer)):
        msg = f"`kth` must be an integer, got {kth!r}"
        raise ValueError(msg)
    return argsort(x, axis)


@records("sort")
def sort(x: Any, axis: Any = -1) -> TracedArray:
    """The numbers in ascending order, NaN last."""
    return _sorted(x, axis, gives_places=False)


@records("quantile")
def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> TracedArray:
    """The numbers below which a share `q` lies; NaN if one number is."""

    def of_rows(rows: TracedArray, q: Any) -> TracedArray:
        if isinstance(q, float):
            result = _quantile_of_sorted(rows, q, method)
        else:
            result = _quantile_at(rows, count(rows, -1), q, method)
        last = rows[..., -1]
        return elementwise(lambda a, b: is_nan(b).choose(math.nan, a), result, last, dtype=rows.dtype)

    return _quantiles(x, q, axis, keepdims, of_rows)


def _quantiles(
    x: Any, q: Any, axis: Any, keepdims: bool, quantile_of: Callable[[TracedArray, Any], TracedArray]
) -> TracedArray:
    """Returns quantiles along axes by a function of sorted rows and a share, a float or a symbol."""
    array = as_traced(x, trace_of(x, q))
    array = array.as_dtype(float_dtype(array))
    axes = axes_in(axis, array.ndim)
    other_axes = [index for index in range(array.ndim) if index not in axes]
    lengths = [array.shape[index] for index in other_axes]
    rows = sort(reshape(transpose(array, [*other_axes, *axes]), (*lengths, -1)))
    if is_symbolic(q):
        shape = as_traced(q, array.trace).shape
        flat = reshape(as_traced(q, array.trace), (-1,))
        quantiles = [quantile_of(rows, flat[number]) for number in range(len(flat))]
    else:
        fractions = np.asarray(q, np.float64)
        shape, quantiles = (
            fractions.shape,
            [quantile_of(rows, float(fraction)) for fraction in fractions.reshape(-1)],
        )
    if keepdims:
        quantiles = [expand_dims(row_quantile, axes) for row_quantile in quantiles]
    if not shape:
        return quantiles[0]
    joined = stack(quantiles, 0)
    return reshape(joined, (*shape, *joined.shape[1:]))


def _hundredths(q: Any) -> Any:
    if is_symbolic(q):
        return elementwise(lambda a: a / 100.0, q, dtype="float32")
    return np.asarray(q, np.float64) / 100


@records("percentile")
def percentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The numbers below which `q` per cent lie; NaN if one number is."""
    return quantile(x, _hundredths(q), axis, method, keepdims)


@records("median")
def median(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The numbers in the middle, or the means of the two there."""
    return quantile(x, 0.5, axis, keepdims=keepdims)


@records("nanquantile")
def nanquantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The quantiles without NaN; NaN if all are."""

    def of_rows(rows: TracedArray, q: Any) -> TracedArray:
        numbers = sum_(elementwise(lambda a: 1.0 - is_nan(a), rows, dtype="float32"), -1, keepdims=True)
        return _quantile_at(rows, numbers, q, method)

    return _quantiles(x, q, axis, keepdims, of_rows)


@records("nanpercentile")
def nanpercentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The percentiles without NaN; NaN if all are."""
    return nanquantile(x, _hundredths(q), axis, method, keepdims)


@records("nanmedian")
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The medians without NaN; NaN if all are."""
    return nanquantile(x, 0.5, axis, keepdims=keepdims)


def _quantile_at(rows: TracedArray, numbers: Any, q: Any, method: str) -> TracedArray:
    """Returns a quantile of the first elements of sorted `rows`.

    Args:
        rows: (..., n).
        numbers: how many elements count, a length or an array (..., 1).
        q: a float, or a symbol.
        method: how a number between two is chosen.
    """
    choice(method, "method", _METHODS)

    def place_of(n: Term, part: Term) -> Term:
        rank = ((n - 1.0) * part).of("maximum", 0.0)
        if method == "linear":
            return rank
        # A place that rounding moves off a whole number is that number.
        near = rank.of("round")
        rank = ((rank - near).of("abs") < _ROUNDING).choose(near, rank)
        low, high = rank.of("floor"), ceil(rank)
        return {"lower": low, "higher": high, "midpoint": (low + high) * 0.5, "nearest": rank.of("round")}[
            method
        ]

    chosen = elementwise(place_of, numbers, q, dtype="float32")
    low, high = (elementwise(edge, chosen, dtype="int32") for edge in (lambda at: at.of("floor"), ceil))
    shape = (*rows.extents[:-1], ONE)
    result = elementwise(
        lambda a, b, at: a * (1.0 - (at - at.of("floor"))) + b * (at - at.of("floor")),
        take_along_axis(rows, spread(low, shape), -1), take_along_axis(rows, spread(high, shape), -1), chosen,
        dtype=rows.dtype,
    )  # fmt: skip
    return result.reshaped(result.extents[:-1])


def _quantile_of_sorted(rows: TracedArray, q: float, method: str) -> TracedArray:
    """Returns the number below which a share of the last axis of sorted `rows` lies."""
    choice(method, "method", _METHODS)
    length = rows.extents[-1].static
    if length is None:
        return _quantile_of_any_length(rows, q, method)
    rank = q * (length - 1)
    low, high = math.floor(rank), math.ceil(rank)
    weight = {
        "linear": rank - low,
        "lower": 0.0,
        "higher": 1.0,
        "midpoint": 0.5,
        "nearest": float(round(rank) - low),
    }[method]
    lower, other = (take(rows, number, -1) for number in (low, high))
    return elementwise(lambda a, b: a * (1.0 - weight) + b * weight, lower, other)


def _quantile_of_any_length(rows: TracedArray, q: float, method: str) -> TracedArray:
    """Returns a quantile of sorted rows whose length depends on the batch: the weighted mean of the two nearest numbers."""
    if method != "linear":
        msg = f"quantiles over the samples of a batch can be recorded with `method='linear'` alone, got {method!r}"
        raise CannotRecordError(msg)
    index = coordinate(rows.trace, rows.extents, rows.ndim - 1)
    contributions = elementwise(
        lambda a, i, n: a * (1.0 - (i - (n - 1.0) * q).of("abs")).of("maximum", 0.0),
        rows, index, count(rows, -1), dtype=rows.dtype,
    )  # fmt: skip
    return sum_(contributions, -1)
