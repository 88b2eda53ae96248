"""Activations, losses and normalizations of arrays.

Activations of float32, float16 and integers come from the kernels that layers use, those of float64 from NumPy.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from engine import activations
from engine._base.checks import EPSILON
from engine._base.lazy_imports import on_first_use
from engine._base.promotion import (
    Array,
    Result,
    as_array,
    axis_or_tuple,
    common,
    copied,
    floats,
    result_type,
    standard,
)
from engine._base.quiet import quiet
from engine._tracing.traceable import make_all_traceable
from engine.ops._math import erfc, rsqrt
from engine.ops.linalg import norm
from engine.ops.numpy import _dense, mean, var

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)

_Axes = int | Sequence[int]

# The constants of selu (Klambauer et al., 2017).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


# Activations -----------------------------------------------------------------------------------------------------


def relu(x: ArrayLike) -> Result:
    """`max(x, 0)`, elementwise; integers stay integers."""
    values = _integers(x)
    if values.dtype.kind in "iu":
        return np.maximum(values, values.dtype.type(0))
    return _activation(activations.relu, lambda x: np.maximum(x, 0), values)


def relu6(x: ArrayLike) -> Result:
    """`min(max(x, 0), 6)`, elementwise; integers give float32."""
    return _activation(activations.relu6, lambda x: np.clip(x, 0, 6), x)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.2) -> Result:
    """`x` where `x >= 0`, else `negative_slope * x`, elementwise."""
    return _activation(
        activations.leaky_relu, lambda x, slope: np.where(x >= 0, x, slope * x), x, negative_slope
    )


def elu(x: ArrayLike, alpha: float = 1.0) -> Result:
    """`x` where `x > 0`, else `alpha * (exp(x) - 1)`, elementwise."""
    return _activation(activations.elu, _elu, x, alpha)


def selu(x: ArrayLike) -> Result:
    """`elu` of `x` with the constants that keep mean 0 and variance 1 (Klambauer et al., 2017), elementwise."""
    return _activation(activations.selu, lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA), x)


def celu(x: ArrayLike, alpha: float = 1.0) -> Result:
    """`max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))`, elementwise."""
    return _activation(
        activations.celu,
        lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha),
        x,
        alpha,
    )


def gelu(x: ArrayLike, approximate: bool = True) -> Result:
    """`x` times the normal distribution function of `x`, which is computed by tanh if `approximate`, elementwise."""
    return _activation(activations.gelu, _gelu, x, approximate)


def sigmoid(x: ArrayLike) -> Result:
    """`1 / (1 + exp(-x))`, elementwise."""
    return _activation(activations.sigmoid, _sigmoid, x)


def hard_sigmoid(x: ArrayLike) -> Result:
    """`relu6(x + 3) / 6`, elementwise."""
    return _activation(activations.hard_sigmoid, _hard_sigmoid, x)


def sparse_sigmoid(x: ArrayLike) -> Result:
    """0 for `x <= -1`, 1 for `x >= 1`, and a straight line between, elementwise."""
    return _activation(activations.sparse_sigmoid, lambda x: np.clip((x + 1) / 2, 0, 1), x)


def log_sigmoid(x: ArrayLike) -> Result:
    """The logarithm of `sigmoid(x)`, without overflow, elementwise."""
    return _activation(activations.log_sigmoid, lambda x: -np.logaddexp(0, -x), x)


def silu(x: ArrayLike) -> Result:
    """`x * sigmoid(x)`, elementwise."""
    return _activation(activations.silu, lambda x: x * _sigmoid(x), x)


def swish(x: ArrayLike) -> Result:
    """`x * sigmoid(x)`, elementwise; the same as `silu`."""
    return silu(x)


def hard_silu(x: ArrayLike) -> Result:
    """`x * hard_sigmoid(x)`, elementwise."""
    return _activation(activations.hard_silu, lambda x: x * _hard_sigmoid(x), x)


def hard_swish(x: ArrayLike) -> Result:
    """`x * hard_sigmoid(x)`, elementwise; the same as `hard_silu`."""
    return hard_silu(x)


def softplus(x: ArrayLike) -> Result:
    """`log(exp(x) + 1)`, without overflow, elementwise."""
    return _activation(activations.softplus, lambda x: np.logaddexp(x, 0), x)


def squareplus(x: ArrayLike, b: float = 4) -> Result:
    """`(x + sqrt(x**2 + b)) / 2`, elementwise."""
    return _activation(activations.squareplus, lambda x, b: (x + np.sqrt(x * x + b)) / 2, x, b)


def sparse_plus(x: ArrayLike) -> Result:
    """0 for `x <= -1`, `x` for `x >= 1`, and `(x + 1)**2 / 4` between, elementwise."""
    return _activation(
        activations.sparse_plus, lambda x: np.where(x >= 1, x, np.square(np.clip(x + 1, 0, 2)) / 4), x
    )


def softsign(x: ArrayLike) -> Result:
    """`x / (abs(x) + 1)`, elementwise."""
    return _activation(activations.softsign, lambda x: x / (np.abs(x) + 1), x)


def hard_tanh(x: ArrayLike) -> Result:
    """`min(max(x, -1), 1)`, elementwise; integers stay integers."""
    values = _integers(x)
    if values.dtype.kind in "iu":
        return np.clip(values, 0 if values.dtype.kind == "u" else -1, 1)
    return _activation(activations.hard_tanh, lambda x: np.clip(x, -1, 1), values)


def tanh_shrink(x: ArrayLike) -> Result:
    """`x - tanh(x)`, elementwise."""
    return _activation(activations.tanh_shrink, lambda x: x - np.tanh(x), x)


def soft_shrink(x: ArrayLike, threshold: float = 0.5) -> Result:
    """`x` moved towards 0 by `threshold`, and 0 where it is nearer, elementwise."""
    return _activation(
        activations.soft_shrink,
        lambda x, threshold: np.where(np.abs(x) > threshold, x - np.copysign(threshold, x), 0),
        x,
        threshold,
    )


def hard_shrink(x: ArrayLike, threshold: float = 0.5) -> Result:
    """`x` where `abs(x) > threshold`, else 0, elementwise."""
    return _activation(
        activations.hard_shrink,
        lambda x, threshold: np.where(np.abs(x) > threshold, x, 0),
        x,
        threshold,
    )


@quiet
def threshold(x: ArrayLike, threshold: ArrayLike, default_value: ArrayLike) -> Result:
    """`x` where `x > threshold`, else `default_value`, elementwise."""
    values = as_array(x)
    return np.where(np.greater(*common(values, threshold)), *common(values, default_value))


def glu(x: ArrayLike, axis: int = -1) -> Result:
    """`a * sigmoid(b)` for the halves a and b of `x` along `axis` (Dauphin et al., 2017).

    Raises:
        ValueError: for an odd length along `axis`, or without such an axis.
    """
    values = floats(x)
    if not -values.ndim <= axis < values.ndim:
        msg = f"axis {axis} is out of bounds for an array with {values.ndim} axes"
        raise ValueError(msg)
    if values.shape[axis] % 2:
        msg = f"`x` must have an even length along axis {axis}, got shape {values.shape}"
        raise ValueError(msg)
    value, gate = np.split(values, 2, axis)
    return value * sigmoid(gate)


def softmax(x: ArrayLike, axis: Any = -1) -> Result:
    """`exp(x) / sum(exp(x))` along `axis`, an int or several; None is all."""
    values = as_array(x)
    if isinstance(axis, int) and -values.ndim <= axis < values.ndim and values.shape[axis] == 1:
        warnings.warn(
            f"softmax over axis {axis} of shape {values.shape}, which has length 1, is always 1: use sigmoid instead?",
            stacklevel=2,
        )
    return _along(activations.softmax, _softmax, values, axis)


def log_softmax(x: ArrayLike, axis: Any = -1) -> Result:
    """The logarithm of `softmax(x)` along `axis`, an int or several; None is all."""
    return _along(activations.log_softmax, _log_softmax, as_array(x), axis)


def sparsemax(x: ArrayLike, axis: int = -1) -> Result:
    """The nearest probabilities to `x` along `axis`, of which many are 0 (Martins and Astudillo, 2016)."""
    return _along(activations.sparsemax, _sparsemax, as_array(x), axis)


# Classes and losses ----------------------------------------------------------------------------------------------


def one_hot(
    x: ArrayLike, num_classes: int, axis: int = -1, dtype: DTypeLike | None = None, sparse: bool = False
) -> Result:
    """Zeros with a 1 at the place of each index; zeros alone for an index that is not in [0, num_classes).

    Args:
        x: integers, any shape.
        num_classes: how many places there are.
        axis: of the result along which they lie.
        dtype: of the result, default float32.
        sparse: False; there are no sparse arrays here.
    """
    _dense(sparse)
    rows = as_array(x)[..., np.newaxis] == np.arange(num_classes)
    return np.moveaxis(rows, -1, axis).astype(np.float32 if dtype is None else standard(dtype))


def multi_hot(  # Keras' signature
    inputs: ArrayLike,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: DTypeLike | None = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Result:
    """Zeros with a 1 at the place of each of several indices.

    Args:
        inputs: integers (n,) for one result (num_classes,), or (samples, n) for (samples, num_classes).
        num_classes: how many places there are.
        axis: as for `one_hot`.
        dtype: of the result, default float32.
        sparse: False; there are no sparse arrays here.
        **kwargs: `num_tokens`, Keras' old name of `num_classes`.

    Raises:
        ValueError: without `num_classes`.
    """
    count = kwargs.pop("num_tokens", None) if num_classes is None else num_classes
    if kwargs:
        msg = f"multi_hot() got an unexpected keyword argument {next(iter(kwargs))!r}"
        raise TypeError(msg)
    if count is None:
        msg = "`num_classes` must be given"
        raise ValueError(msg)
    values = as_array(inputs)
    return np.max(one_hot(values, count, axis, dtype, sparse), axis=1 if values.ndim > 1 else 0, initial=0)


@quiet
def binary_crossentropy(target: ArrayLike, output: ArrayLike, from_logits: bool = False) -> Result:
    """The binary crossentropy of each element.

    Args:
        target: 0 or 1, any shape.
        output: probabilities, or logits, in the shape of `target`.
        from_logits: whether `output` are logits.

    Raises:
        ValueError: for different shapes.
    """
    wanted, given = common(target, output, least_dtype=float)
    _require_same_shape(wanted, given)
    if from_logits:
        return -wanted * log_sigmoid(given) - (1 - wanted) * log_sigmoid(-given)
    shares = _clipped(given)
    return -(wanted * np.log(shares) + (1 - wanted) * np.log(1 - shares))


@quiet
def categorical_crossentropy(
    target: ArrayLike, output: ArrayLike, from_logits: bool = False, axis: int = -1
) -> Result:
    """The categorical crossentropy of each sample.

    Args:
        target: probabilities of the classes, (..., classes).
        output: probabilities or logits in the shape of `target`; the former are divided by their sums.
        from_logits: whether `output` are logits.
        axis: of the classes.

    Returns:
        The shape of `target` without `axis`.

    Raises:
        ValueError: for different shapes, or scalars.
    """
    wanted, given = common(target, output, least_dtype=float)
    _require_same_shape(wanted, given)
    if wanted.ndim < 1:
        msg = "`target` and `output` must have an axis of classes, got scalars"
        raise ValueError(msg)
    return -np.sum(wanted * _log_shares(given, from_logits, axis), axis=axis)


@quiet
def sparse_categorical_crossentropy(
    target: ArrayLike, output: ArrayLike, from_logits: bool = False, axis: int = -1
) -> Result:
    """The categorical crossentropy of each sample, for class indices.

    Args:
        target: class indices (...), or (..., 1).
        output: probabilities or logits (..., classes); the former are divided by their sums.
        from_logits: whether `output` are logits.
        axis: of the classes.

    Raises:
        ValueError: if shapes don't go together.
    """
    given = floats(output)
    indices = as_array(target).astype(np.int32)
    if indices.ndim == given.ndim and indices.shape[-1:] == (1,):
        indices = indices[..., 0]
    if given.ndim < 1 or indices.shape != given.shape[:-1]:
        msg = f"`target` must have the shape of `output` without the classes, got {indices.shape} and {given.shape}"
        raise ValueError(msg)
    wanted = one_hot(indices, given.shape[axis], axis, given.dtype)
    return -np.sum(wanted * _log_shares(given, from_logits, axis), axis=axis)


def psnr(x1: ArrayLike, x2: ArrayLike, max_val: float) -> Result:
    """The peak signal-to-noise ratio of `x1` to `x2`, in decibels: `20 log10(max_val) - 10 log10(mean((x1 - x2)**2))`.

    Args:
        x1: any shape.
        x2: the same shape.
        max_val: the largest number that there can be.

    Raises:
        ValueError: for different shapes.
    """
    first, second = common(x1, x2, least_dtype=float)
    if first.shape != second.shape:
        msg = f"`x1` and `x2` must have one shape, got {first.shape} and {second.shape}"
        raise ValueError(msg)
    with np.errstate(all="ignore"):
        return 20 * np.log10(as_array(max_val, second.dtype)) - 10 * np.log10(mean(np.square(first - second)))


# Normalizations --------------------------------------------------------------------------------------------------


def moments(
    x: ArrayLike, axes: _Axes, keepdims: bool = False, synchronized: bool = False
) -> tuple[Array, Array]:
    """The mean and the variance of `x`.

    Args:
        x: any shape.
        axes: over which they are taken.
        keepdims: whether these stay, with length 1.
        synchronized: False: there is one process.

    Raises:
        NotImplementedError: for `synchronized`.
    """
    if synchronized:
        msg = "`synchronized` must be False: there is one process"
        raise NotImplementedError(msg)
    values = as_array(x)
    found = [reduce(values, axes, keepdims) for reduce in (mean, var)]
    if values.dtype == np.float16:
        wide = values.astype(np.float32)
        found = [
            np.clip(reduce(wide, axes, keepdims), -_LARGEST_FLOAT16, _LARGEST_FLOAT16).astype(np.float16)
            for reduce in (mean, var)
        ]
    return found[0], found[1]


@quiet
def batch_normalization(  # noqa: PLR0917 # Keras' signature
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    axis: int,
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    epsilon: float = 1e-3,
) -> Result:
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`.

    Args:
        x: any shape.
        mean: (n,), n the length of `axis`.
        variance: (n,).
        axis: along which these lie.
        offset: (n,), default zeros.
        scale: (n,), default ones.
        epsilon: added to the variance.
    """
    values = floats(x)
    around = [1] * values.ndim
    around[axis] = -1
    center, spread = (floats(each).reshape(around) for each in (mean, variance))
    inverse = rsqrt(spread + spread.dtype.type(epsilon))
    if scale is not None:
        inverse = np.multiply(*common(inverse, as_array(scale).reshape(around)))
    shift = np.multiply(*common(-center, inverse))
    if offset is not None:
        shift = np.add(*common(shift, as_array(offset).reshape(around)))
    return np.add(*common(np.multiply(*common(values, inverse)), shift))


@quiet
def layer_normalization(  # Keras' signature
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    axis: _Axes = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Result:
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with mean and variance over `axis`.

    Args:
        x: any shape.
        gamma: in the shape of `axis` of `x`, default ones.
        beta: as `gamma`, default zeros.
        axis: an int or several.
        epsilon: added to the variance, default 1e-7.
        **kwargs: `rms_scaling`, deprecated in Keras: leaves out the mean and `beta`.
    """
    scaling = kwargs.pop("rms_scaling", False)
    if kwargs:
        msg = f"layer_normalization() got an unexpected keyword argument {next(iter(kwargs))!r}"
        raise TypeError(msg)
    if scaling:
        warnings.warn(
            "You passed `rms_scaling=True`, which is deprecated: it divides by the variance, not by the root of the mean square. "
            "Use ops.rms_normalization",
            stacklevel=3,
        )
    given = as_array(x)
    values = given.astype(result_type(given, np.dtype(np.float32)), copy=False)
    over = tuple(sorted([axis] if isinstance(axis, int) else axis))
    factor, shift = (_spread(each, values, over) for each in (gamma, beta))
    inverse = rsqrt(var(values, over, keepdims=True) + values.dtype.type(_epsilon(epsilon)))
    inverse = inverse if factor is None else inverse * factor
    result = values * inverse
    if not scaling:
        rest = -mean(values, over, keepdims=True) * inverse
        result += rest if shift is None else rest + shift
    return result.astype(given.dtype)


@quiet
def rms_normalization(
    x: ArrayLike, scale: ArrayLike | None = None, axis: Any = -1, epsilon: float | None = None
) -> Result:
    """`x / sqrt(mean(x**2) + epsilon) * scale`, with the mean over `axis`.

    Args:
        x: any shape.
        scale: a shape that is broadcast against that of `x`, default ones.
        axis: an int or several.
        epsilon: added to the mean, default 1e-7.
    """
    given = as_array(x)
    values = np.atleast_1d(given.astype(result_type(given, np.dtype(np.float32)), copy=False))
    root = rsqrt(mean(np.square(values), axis, keepdims=True) + values.dtype.type(_epsilon(epsilon)))
    result = values * root
    return (result if scale is None else result * as_array(scale, values.dtype)).astype(given.dtype)


@quiet
def normalize(x: ArrayLike, axis: Any = -1, order: Any = 2, epsilon: float | None = None) -> Result:
    """`x` divided by its norms along `axis`.

    Args:
        x: any shape; a single number is taken as one of one.
        axis: an int or several.
        order: of the norms, an integer of at least 1; 2 is the Euclidean one.
        epsilon: the least divisor, default 1e-7.

    Raises:
        ValueError: for another `order`.
    """
    if not isinstance(order, int) or order < 1:
        msg = f"`order` must be an integer of at least 1, got {order!r}"
        raise ValueError(msg)
    values = np.atleast_1d(floats(x))
    least = values.dtype.type(_epsilon(epsilon))
    if order == 2:  # noqa: PLR2004 # Euclidean
        squares = np.sum(np.square(values), axis=axis_or_tuple(axis), keepdims=True)
        return values * np.minimum(rsqrt(squares), values.dtype.type(1) / least)
    return values / np.maximum(norm(values, order, axis, keepdims=True), least)


def polar(abs_: ArrayLike, angle: ArrayLike) -> Result:
    """The complex numbers of the lengths `abs_` and the angles `angle`, in radians, elementwise."""
    length, turn = common(abs_, angle, least_dtype=float)
    found = np.empty(
        np.broadcast_shapes(length.shape, turn.shape), result_type(length, np.dtype(np.complex64))
    )
    found.real, found.imag = length * np.cos(turn), length * np.sin(turn)
    return found


@quiet
def dot_product_attention(  # noqa: PLR0917 # Keras' signature
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Result:
    """Attention: the means of `value`, weighted by the softmax of the products of `query` and `key`.

    Args:
        query: (batch, time, heads, depth).
        key: (batch, source time, key heads, depth); heads are a multiple of these.
        value: (batch, source time, key heads, depth of values).
        bias: added to the products, broadcast to (batch, heads, time, source time).
        mask: bools, broadcast to that shape: False leaves a product out.
        scale: factor of the products, default `1 / sqrt(depth)`.
        is_causal: whether to leave out the products of a time with later ones.
        flash_attention: None or False: there is one way to compute it.
        attn_logits_soft_cap: without effect, as on Keras' CPU.

    Returns:
        (batch, time, heads, depth of values).

    Raises:
        ValueError: for other numbers of axes, or heads, or `flash_attention`.
    """
    del attn_logits_soft_cap
    if flash_attention:
        msg = "`flash_attention` must be None or False: it needs a GPU"
        raise ValueError(msg)
    rows, columns, means = common(query, key, value, least_dtype=float)
    if {each.ndim for each in (rows, columns, means)} != {4}:
        msg = f"`query`, `key` and `value` must have four axes, got shapes {rows.shape}, {columns.shape}, {means.shape}"
        raise ValueError(msg)
    groups, rest = divmod(rows.shape[2], columns.shape[2])
    if rest or columns.shape[:3] != means.shape[:3]:
        msg = f"the heads of `query` must be a multiple of those of `key` and `value`, got {rows.shape}, {columns.shape}, {means.shape}"
        raise ValueError(msg)
    dtype = rows.dtype
    wide: Any = np.float64 if dtype == np.float64 else np.float32
    rows, columns, means = (
        np.moveaxis(each, 2, 1).astype(wide)
        for each in (rows, *(np.repeat(each, groups, 2) for each in (columns, means)))
    )
    factor = 1 / math.sqrt(rows.shape[-1]) if scale is None else scale
    logits = rows @ np.swapaxes(columns, -1, -2) * wide(factor)
    if bias is not None:
        logits = logits + as_array(bias, wide)
    kept = np.tri(*logits.shape[-2:], dtype=np.bool_) if is_causal else np.True_
    kept = kept if mask is None else kept & as_array(mask).astype(np.bool_)
    weights = _softmax(np.where(kept, logits, wide(0.7 * np.finfo(np.float32).min)), -1)
    return copied(np.moveaxis(weights @ means, 1, 2).astype(dtype))


# Formulas in float64, and helpers --------------------------------------------------------------------------------


@quiet
def _activation(
    kernel: Callable[..., Any], formula: Callable[..., Any], x: ArrayLike, *constants: Any
) -> Result:
    """Applies the engine's `kernel` to `x`, or `formula` if `x` is float64."""
    values = floats(x)
    if values.dtype == np.float64:
        return np.asarray(formula(values, *constants))
    return copied(kernel(values, *constants).astype(values.dtype, copy=False))


@quiet
def _along(kernel: Callable[..., Any], formula: Callable[..., Any], values: Array, axis: Any) -> Result:
    """Does the same as `_activation` along `axis`, which may be several axes or None."""
    given = floats(values)
    if isinstance(axis, (int, np.integer)) or given.ndim == 0:
        if given.dtype == np.float64:
            return np.asarray(formula(given, axis if given.ndim else None))
        return copied(kernel(given, axis if given.ndim else -1).astype(given.dtype, copy=False))
    over = tuple(range(given.ndim)) if axis is None else tuple(each % given.ndim for each in axis)
    ends = tuple(range(-len(over), 0))
    moved = np.moveaxis(given, over, ends)
    flat = moved.reshape(*moved.shape[: given.ndim - len(over)], -1)
    return copied(np.moveaxis(_along(kernel, formula, flat, -1).reshape(moved.shape), ends, over))


def _integers(x: ArrayLike) -> Result:
    """Returns `x` as an array, with int32 instead of bool."""
    values = as_array(x)
    return values.astype(np.int32) if values.dtype == np.bool_ else values


def _elu(x: Array, alpha: float) -> Result:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _sigmoid(x: Array) -> Result:
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, tail) / (1 + tail)


def _hard_sigmoid(x: Array) -> Result:
    return np.clip(x + 3, 0, 6) / 6


def _gelu(x: Array, approximate: bool) -> Result:
    if approximate:
        return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return x * 0.5 * erfc(-x / math.sqrt(2))


def _softmax(x: Array, axis: Any) -> Result:
    raised = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return raised / np.sum(raised, axis=axis, keepdims=True)


def _log_softmax(x: Array, axis: Any) -> Result:
    lowered = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return lowered - np.log(np.sum(np.exp(lowered), axis=axis, keepdims=True))


def _sparsemax(x: Array, axis: Any) -> Result:
    rows = np.moveaxis(np.atleast_1d(x), -1 if axis is None else axis, -1)
    falling = -np.sort(-rows, axis=-1)
    above = np.cumsum(falling, axis=-1) - 1
    count = np.sum(falling * np.arange(1, rows.shape[-1] + 1) > above, axis=-1, keepdims=True)
    floor = np.take_along_axis(above, count - 1, -1) / count
    return np.moveaxis(np.maximum(rows - floor, 0), -1, -1 if axis is None else axis).reshape(x.shape)


def _clipped(shares: Array) -> Result:
    """Returns probabilities p clipped so that p and 1 - p have logarithms."""
    return np.clip(shares, shares.dtype.type(EPSILON), shares.dtype.type(1 - EPSILON))


def _log_shares(output: Array, from_logits: bool, axis: int) -> Result:
    """Returns the logarithms of the probabilities of classes."""
    if from_logits:
        return log_softmax(output, axis)
    return np.log(_clipped(output / np.sum(output, axis=axis, keepdims=True)))


def _require_same_shape(target: Array, output: Array) -> None:
    if target.shape != output.shape:
        msg = f"`target` and `output` must have the same shape, got {target.shape} and {output.shape}"
        raise ValueError(msg)


def _epsilon(epsilon: float | None) -> float:
    return EPSILON if epsilon is None else epsilon


def _spread(weights: ArrayLike | None, values: Array, over: Sequence[int]) -> Array | None:
    """Returns `weights`, which have the shape of the axes `over`, in a shape that broadcasts with `values`."""
    if weights is None:
        return None
    found = as_array(weights, values.dtype)
    if found.ndim == values.ndim or over == (values.ndim - 1,):
        return found
    shape = [1] * values.ndim
    for axis in over:
        shape[axis] = values.shape[axis]
    return found.reshape(shape)


make_all_traceable(globals())
