"""`tf.math`: arithmetic, functions of numbers, reductions and segments."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import ops
from engine._tracing.symbolic import is_symbolic
from engine.tensorflow._like_ops import like_ops
from engine.tensorflow._tensor import alike, constant, returns_tensors, tensors

_SAME = like_ops(
    """
    abs abs x
    acos arccos x
    acosh arccosh x
    add add x y
    angle angle input
    asin arcsin x
    asinh arcsinh x
    atan arctan x
    atan2 arctan2 y x
    atanh arctanh x
    ceil ceil x
    conj conj x
    cos cos x
    cosh cosh x
    divide_no_nan divide_no_nan x y
    equal equal x y
    erf erf x
    erfc erfc x
    erfinv erfinv x
    exp exp x
    expm1 expm1 x
    floor floor x
    floordiv floor_divide x y
    floormod mod x y
    greater greater x y
    greater_equal greater_equal x y
    imag imag input
    is_finite isfinite x
    is_inf isinf x
    is_nan isnan x
    less less x y
    less_equal less_equal x y
    log log x
    log1p log1p x
    log_sigmoid log_sigmoid x
    logical_and logical_and x y
    logical_not logical_not x
    logical_or logical_or x y
    logical_xor logical_xor x y
    maximum maximum x y
    minimum minimum x y
    mod mod x y
    multiply multiply x y
    negative negative x
    nextafter nextafter x1 x2
    not_equal not_equal x y
    pow power x y
    real real input
    reciprocal reciprocal x
    rint round x
    round round x
    rsqrt rsqrt x
    sigmoid sigmoid x
    sign sign x
    sin sin x
    sinh sinh x
    softplus softplus features
    softsign softsign features
    sqrt sqrt x
    square square x
    subtract subtract x y
    tan tan x
    tanh tanh x
    """,
    __name__,
)
globals().update(_SAME)

__all__ = [
    "accumulate_n",
    "add_n",
    "argmax",
    "argmin",
    "bincount",
    "confusion_matrix",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "divide",
    "in_top_k",
    "l2_normalize",
    "log_softmax",
    "multiply_no_nan",
    "polyval",
    "reduce_all",
    "reduce_any",
    "reduce_euclidean_norm",
    "reduce_logsumexp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_std",
    "reduce_sum",
    "reduce_variance",
    "scalar_mul",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_sum",
    "softmax",
    "squared_difference",
    "top_k",
    "truediv",
    "unsorted_segment_max",
    "unsorted_segment_mean",
    "unsorted_segment_min",
    "unsorted_segment_sum",
    "xdivy",
    "xlogy",
    "zero_fraction",
]
__all__.extend(_SAME)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # those in `_SAME`


def _axes(axis: Any) -> Any:
    """Returns axes as an integer, a tuple of them or None."""
    if axis is None:
        return None
    values = np.asarray(axis)
    return tuple(values.tolist()) if values.ndim else int(values)


def _is_integer(x: Any) -> bool:
    """Whether the numbers of an array, a symbol or a nested list are integers."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return np.dtype(dtype).kind in "iu"


# Reductions.


@returns_tensors
def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the sum over axes; all by default. `name` is without effect, here and in all other functions."""
    return _kept(input_tensor, ops.sum(input_tensor, _axes(axis), keepdims))


@returns_tensors
def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the product over axes; all by default."""
    return _kept(input_tensor, ops.prod(input_tensor, _axes(axis), keepdims))


@returns_tensors
def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the mean over axes; all by default. That of integers is an integer, as in TensorFlow."""
    return _kept(input_tensor, ops.mean(input_tensor, _axes(axis), keepdims))


def _kept(x: Any, result: Any) -> Any:
    """Returns a result with the dtype of what was reduced."""
    dtype = np.dtype(x.dtype if hasattr(x, "dtype") else constant(x).dtype)
    return result if result.dtype == dtype or dtype.kind not in "iuf" else ops.cast(result, dtype.name)


@returns_tensors
def reduce_max(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the maximum over axes; all by default."""
    return ops.max(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_min(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the minimum over axes; all by default."""
    return ops.min(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns whether all entries over axes are true."""
    return ops.all(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns whether any entry over axes is true."""
    return ops.any(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Returns the standard deviation over axes; all by default."""
    return ops.std(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    """Returns the variance over axes; all by default."""
    return ops.var(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_logsumexp(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    """Returns log(sum(exp(x))) over axes; all by default."""
    return ops.logsumexp(input_tensor, _axes(axis), keepdims)


@returns_tensors
def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Any:
    """Returns the square root of the sum of squares over axes; all by default."""
    return ops.sqrt(ops.sum(ops.square(input_tensor), _axes(axis), keepdims))


@returns_tensors
def argmax(input: Any, axis: int | None = None, output_type: Any = np.int64, name: str | None = None) -> Any:
    """Returns the index of the largest entry along one axis, by default the first axis."""
    return ops.cast(ops.argmax(input, axis=0 if axis is None else int(axis)), np.dtype(output_type).name)


@returns_tensors
def argmin(input: Any, axis: int | None = None, output_type: Any = np.int64, name: str | None = None) -> Any:
    """Returns the index of the smallest entry along one axis, by default the first axis."""
    return ops.cast(ops.argmin(input, axis=0 if axis is None else int(axis)), np.dtype(output_type).name)


@returns_tensors
def count_nonzero(
    input: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: Any = np.int64,
    name: str | None = None,
) -> Any:
    """Returns how many entries over axes are not zero."""
    return ops.sum(
        ops.cast(ops.not_equal(input, 0), np.dtype(dtype).name), _axes(axis), builtins.bool(keepdims)
    )


@returns_tensors
def zero_fraction(value: Any, name: str | None = None) -> Any:
    """Returns the share of the entries that are zero."""
    return ops.mean(ops.cast(ops.equal(value, 0), "float32"))


# Arithmetic.


@returns_tensors
def divide(x: Any, y: Any, name: str | None = None) -> Any:
    """Returns x / y. Quotients of integers are float64."""
    x, y = alike((x, y))
    if _is_integer(x) and _is_integer(y) and not (is_symbolic(x) or is_symbolic(y)):
        return np.true_divide(x, y)
    return ops.divide(x, y)


truediv = divide


@returns_tensors
def add_n(inputs: Sequence[Any], name: str | None = None) -> Any:
    """Returns the sum of arrays of one shape."""
    first, *others = inputs
    total = ops.copy(first)
    for each in others:
        total = ops.add(total, each)
    return total


accumulate_n = add_n


@returns_tensors
def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """Returns scalar * x."""
    return ops.multiply(scalar, x)


@returns_tensors
def squared_difference(x: Any, y: Any, name: str | None = None) -> Any:
    """Returns (x - y) ** 2."""
    return ops.square(ops.subtract(*alike((x, y))))


@returns_tensors
def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Any:
    """Returns x * y, and 0 where y is 0, even if x is infinite or NaN."""
    x, y = alike((x, y))
    none = ops.equal(y, 0)
    return ops.where(none, ops.zeros_like(y), ops.multiply(ops.where(none, ops.ones_like(x), x), y))


@returns_tensors
def xlogy(x: Any, y: Any, name: str | None = None) -> Any:
    """Returns x * log(y), and 0 where x is 0."""
    x, y = alike((x, y))
    none = ops.equal(x, 0)
    return ops.where(none, ops.zeros_like(x), ops.multiply(x, ops.log(ops.where(none, ops.ones_like(y), y))))


@returns_tensors
def xdivy(x: Any, y: Any, name: str | None = None) -> Any:
    """Returns x / y, and 0 where x is 0."""
    x, y = alike((x, y))
    none = ops.equal(x, 0)
    return ops.where(none, ops.zeros_like(x), ops.divide(x, ops.where(none, ops.ones_like(y), y)))


@returns_tensors
def polyval(coeffs: Sequence[Any], x: Any, name: str | None = None) -> Any:
    """Returns the value of a polynomial at x. The coefficient of the highest power comes first."""
    value: Any = 0.0
    for coefficient in coeffs:
        value = ops.add(ops.multiply(value, x), coefficient)
    return value


@returns_tensors
def softmax(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
    """Returns exp(x) / sum(exp(x)) along one axis, by default the last."""
    return ops.softmax(logits, -1 if axis is None else axis)


@returns_tensors
def log_softmax(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
    """Returns log(softmax(x)) along one axis, by default the last."""
    return ops.log_softmax(logits, -1 if axis is None else axis)


@returns_tensors
def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None) -> Any:
    """Returns x / sqrt(max(sum(x ** 2), epsilon)), where the sum is over axes; all by default."""
    squares = ops.sum(ops.square(x), _axes(axis), keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, epsilon)))


# Sums along an axis.


@returns_tensors
def cumsum(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    """Returns the sum of the entries up to each one along one axis.

    Args:
        x: array.
        axis: the axis.
        exclusive: whether an entry itself is left out of its sum.
        reverse: whether the sums begin at the end.
        name: without effect.
    """
    return _along(ops.cumsum, x, axis, exclusive, reverse, 0)


@returns_tensors
def cumprod(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    """Returns the product of the entries up to each one along one axis. The arguments are those of `cumsum`."""
    return _along(ops.cumprod, x, axis, exclusive, reverse, 1)


def _along(compute: Any, x: Any, axis: int, exclusive: bool, reverse: bool, neutral: int) -> Any:
    axis = int(axis)
    if reverse:
        x = ops.flip(x, axis)
    if exclusive:
        kept = ops.moveaxis(ops.moveaxis(x, axis, 0)[:-1], 0, axis)
        first = ops.moveaxis(ops.moveaxis(x, axis, 0)[:1], 0, axis)
        x = ops.concatenate([ops.full_like(first, neutral), kept], axis)
    result = _kept(x, compute(x, axis))
    return ops.flip(result, axis) if reverse else result


# Classes and ranks.


def top_k(input: Any, k: int = 1, sorted: bool = True, name: str | None = None) -> Any:
    """Returns the k largest entries of the last axis and their indices, as a pair with the names `values` and `indices`."""
    from engine.tensorflow._arrays import TopK

    return TopK(*tensors(ops.top_k(input, int(k), sorted)))


@returns_tensors
def in_top_k(targets: Any, predictions: Any, k: int, name: str | None = None) -> Any:
    """Returns for each row whether its target is among the k classes with the largest predictions."""
    return ops.in_top_k(targets, predictions, int(k))


@returns_tensors
def bincount(
    arr: Any,
    weights: Any = None,
    minlength: int | None = None,
    maxlength: int | None = None,
    dtype: Any = np.int32,
    name: str | None = None,
) -> Any:
    """Returns how often each integer from 0 on occurs, or the sum of its weights."""
    counts = np.bincount(
        np.ravel(arr),
        None if weights is None else np.ravel(weights),
        0 if minlength is None else int(minlength),
    )
    kind = np.dtype(dtype) if weights is None else constant(weights).dtype
    return counts[: None if maxlength is None else int(maxlength)].astype(kind)


@returns_tensors
def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: int | None = None,
    weights: Any = None,
    dtype: Any = np.int32,
    name: str | None = None,
) -> Any:
    """Returns how many samples of each class, in the rows, were predicted as each class, in the columns."""
    rows, columns = (np.asarray(each).astype(np.int64).ravel() for each in (labels, predictions))
    if num_classes is None:
        num_classes = int(max(rows.max(initial=-1), columns.max(initial=-1))) + 1
    matrix = np.zeros((num_classes, num_classes), dtype)
    np.add.at(matrix, (rows, columns), 1 if weights is None else np.ravel(weights).astype(dtype))
    return matrix


# Segments.


def _segments(data: Any, segment_ids: Any, num_segments: int | None, reduction: str) -> Any:
    count = None if num_segments is None else int(num_segments)
    if count is None:
        count = int(np.max(np.asarray(segment_ids), initial=-1)) + 1
    if reduction == "mean":
        sizes = np.bincount(np.asarray(segment_ids), minlength=count).reshape(
            (-1,) + (1,) * (ops.ndim(data) - 1)
        )
        total = ops.segment_sum(data, segment_ids, count)
        return ops.divide(total, ops.cast(np.maximum(sizes, 1), "float32"))
    result = getattr(ops, f"segment_{reduction}")(data, segment_ids, count)
    return _kept(data, result)


@returns_tensors
def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Returns the sum of the rows of each segment; `segment_ids` has the number of each row's."""
    return _segments(data, segment_ids, None, "sum")


@returns_tensors
def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Returns the mean of the rows of each segment, and 0 for one without rows."""
    return _segments(data, segment_ids, None, "mean")


@returns_tensors
def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Returns the maximum of the rows of each segment, which must have rows."""
    return _segments(data, segment_ids, None, "max")


@returns_tensors
def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Returns the minimum of the rows of each segment, which must have rows."""
    return _segments(data, segment_ids, None, "min")


@returns_tensors
def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: int, name: str | None = None) -> Any:
    """Returns the sum of the rows of each of `num_segments` segments."""
    return _segments(data, segment_ids, num_segments, "sum")


@returns_tensors
def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: int, name: str | None = None) -> Any:
    """Returns the mean of the rows of each of `num_segments` segments, and 0 for one without rows."""
    return _segments(data, segment_ids, num_segments, "mean")


@returns_tensors
def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: int, name: str | None = None) -> Any:
    """Returns the maximum of the rows of each of `num_segments` segments, and the lowest number for one without rows."""
    return _of_filled_segments(data, segment_ids, num_segments, "max")


@returns_tensors
def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: int, name: str | None = None) -> Any:
    """Returns the minimum of the rows of each of `num_segments` segments, and the highest number for one without rows."""
    return _of_filled_segments(data, segment_ids, num_segments, "min")


def _of_filled_segments(data: Any, segment_ids: Any, num_segments: int, reduction: str) -> Any:
    result = _segments(data, segment_ids, num_segments, reduction)
    dtype = np.dtype(result.dtype)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    empty = np.bincount(np.asarray(segment_ids), minlength=int(num_segments)) == 0
    fill = limits.min if reduction == "max" else limits.max
    return ops.where(
        empty.reshape((-1,) + (1,) * (ops.ndim(result) - 1)), ops.full_like(result, fill), result
    )
