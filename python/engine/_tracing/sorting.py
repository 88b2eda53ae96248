"""What sorting, medians and quantiles of `engine.ops` record: all of them take numbers at the indices that sort them."""

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
from engine._tracing.dispatch import records
from engine._tracing.elementwise import cast, ceil, is_nan
from engine._tracing.primitives import axes_in, axis_in, coordinate, elementwise, float_dtype
from engine._tracing.reductions import array_of, count, sum_
from engine._tracing.symbolic import CannotRecordError
from engine._tracing.trace import TracedArray

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


@records("argsort")
def argsort(x: Any, axis: Any = -1) -> TracedArray:
    """The indices that sort the numbers in ascending order: equal numbers stay in order, NaN comes last."""
    array = array_of(x)
    if axis is None or array.ndim == 0:
        array, axis = reshape(array, (-1,)), 0
    return cast(_sorting_indices(array, axis_in(axis, array.ndim)), "int32")


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
    array = array_of(x)
    if axis is None:
        array, axis = reshape(array, (-1,)), 0
    return take_along_axis(array, _sorting_indices(array, axis_in(axis, array.ndim)), axis)


@records("quantile")
def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> TracedArray:
    """The numbers below which a share `q` lies; `q` isn't traced."""
    return _quantiles(x, q, axis, keepdims, lambda rows, share: _quantile_of_sorted(rows, share, method))


def _quantiles(
    x: Any, q: Any, axis: Any, keepdims: bool, quantile_of: Callable[[TracedArray, float], TracedArray]
) -> TracedArray:
    """Returns quantiles along axes by a function of sorted rows and a share."""
    array = array_of(x)
    array = array.as_dtype(float_dtype(array))
    places = axes_in(axis, array.ndim)
    others = [place for place in range(array.ndim) if place not in places]
    kept = [array.shape[place] for place in others]
    rows = sort(reshape(transpose(array, [*others, *places]), (*kept, -1)))
    shares = np.asarray(q, np.float64)
    found = [quantile_of(rows, float(share)) for share in shares.reshape(-1)]
    if keepdims:
        found = [expand_dims(each, places) for each in found]
    if shares.ndim == 0:
        return found[0]
    joined = stack(found, 0)
    return reshape(joined, (*shares.shape, *joined.shape[1:]))


@records("percentile")
def percentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The numbers below which `q` per cent lie; `q` isn't traced."""
    return quantile(x, np.asarray(q, np.float64) / 100, axis, method, keepdims)


@records("median")
def median(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The numbers in the middle, or the means of the two there."""
    return quantile(x, 0.5, axis, keepdims=keepdims)


@records("nanquantile")
def nanquantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The quantiles without NaN; NaN if all are."""
    return _quantiles(x, q, axis, keepdims, lambda rows, share: _quantile_of_numbers(rows, share, method))


@records("nanpercentile")
def nanpercentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> TracedArray:
    """The percentiles without NaN; NaN if all are."""
    return nanquantile(x, np.asarray(q, np.float64) / 100, axis, method, keepdims)


@records("nanmedian")
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    """The medians without NaN; NaN if all are."""
    return nanquantile(x, 0.5, axis, keepdims=keepdims)


def _quantile_of_numbers(rows: TracedArray, share: float, method: str) -> TracedArray:
    """Returns a quantile of the numbers in sorted `rows`, whose ends may be NaN."""
    choice(method, "method", _METHODS)
    numbers = sum_(elementwise(lambda a: 1.0 - is_nan(a), rows, dtype="float32"), -1, keepdims=True)
    place = elementwise(lambda n: ((n - 1.0) * share).of("maximum", 0.0), numbers)
    rounded = {
        "linear": lambda at: at,
        "lower": lambda at: at.of("floor"),
        "higher": ceil,
        "midpoint": lambda at: (at.of("floor") + ceil(at)) * 0.5,
        "nearest": lambda at: at.of("round"),
    }[method]
    chosen = elementwise(rounded, place)
    low, high = (elementwise(edge, chosen, dtype="int32") for edge in (lambda at: at.of("floor"), ceil))
    found = elementwise(
        lambda a, b, at: a * (1.0 - (at - at.of("floor"))) + b * (at - at.of("floor")),
        take_along_axis(rows, low, -1), take_along_axis(rows, high, -1), chosen, dtype=rows.dtype,
    )  # fmt: skip
    return found.reshaped(found.extents[:-1])


def _quantile_of_sorted(rows: TracedArray, share: float, method: str) -> TracedArray:
    """Returns the number below which a share of the last axis of sorted `rows` lies."""
    choice(method, "method", _METHODS)
    length = rows.extents[-1].known
    if length is None:
        return _quantile_of_any_length(rows, share, method)
    place = share * (length - 1)
    low, high = math.floor(place), math.ceil(place)
    weight = {
        "linear": place - low,
        "lower": 0.0,
        "higher": 1.0,
        "midpoint": 0.5,
        "nearest": float(round(place) - low),
    }[method]
    one, other = (take(rows, number, -1) for number in (low, high))
    return elementwise(lambda a, b: a * (1.0 - weight) + b * weight, one, other)


def _quantile_of_any_length(rows: TracedArray, share: float, method: str) -> TracedArray:
    """Returns a quantile of sorted rows whose length depends on the batch: the weighted mean of the two nearest numbers."""
    if method != "linear":
        msg = f"quantiles over the samples of a batch can be recorded with `method='linear'` alone, got {method!r}"
        raise CannotRecordError(msg)
    place = coordinate(rows.trace, rows.extents, rows.ndim - 1)
    shares = elementwise(
        lambda a, i, n: a * (1.0 - (i - (n - 1.0) * share).of("abs")).of("maximum", 0.0),
        rows, place, count(rows, -1), dtype=rows.dtype,
    )  # fmt: skip
    return sum_(shares, -1)


def _sorting_indices(array: TracedArray, axis: int) -> Any:
    """Returns the indices that sort an array along an axis.

    NumPy computes them if the numbers are known. Otherwise the rank of each number is the count of smaller ones, which takes
    an array with all pairs of numbers along the axis.
    """
    if getattr(array.trace, "computes", False):
        return np.argsort(np.asarray(array.known_numbers), axis, kind="stable")
    last = moveaxis(elementwise(lambda a: is_nan(a).choose(math.inf, a), array), axis, -1)
    axes = last.ndim
    shape = (*last.extents, last.extents[-1])
    row, column = (coordinate(array.trace, shape, place) for place in (axes - 1, axes))
    smaller = elementwise(
        lambda a, b, i, j: (b < a) + b.equals(a) * (j < i), expand_dims(last, -1), expand_dims(last, -2), row, column,
        dtype="float32",
    )  # fmt: skip
    ranks = sum_(smaller, -1)
    at_rank = elementwise(
        lambda rank, i, j: rank.equals(i) * j, expand_dims(ranks, -2), row, column, dtype="float32"
    )
    return moveaxis(sum_(at_rank, -1), -1, axis)
