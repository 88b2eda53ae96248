"""Recording of the functions of neural networks in `engine.ops`: activations, normalizations, crossentropies."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from engine._core_interface.operations import ActivationFields
from engine._tracing.arrangement import moveaxis, one_hot, repeat, squeeze, take_along_axis
from engine._tracing.core_formulas import core_formula, recorded_loss
from engine._tracing.dispatch import implementation_of, records
from engine._tracing.extents import ONE, Extent, Extents, text_of_extents
from engine._tracing.primitives import (
    axes_in,
    axis_in,
    common_dtype,
    coordinate,
    elementwise,
    float_dtype,
    part,
    reshape,
    stop_gradient,
    transpose,
)
from engine._tracing.products import einsum
from engine._tracing.reductions import array_of, cumsum, max_, mean, norm, sum_, var
from engine._tracing.sorting import sort
from engine._tracing.symbolic import length
from engine._tracing.trace import TracedArray, as_traced, trace_of

EPSILON = 1e-7
_MASKED = float(0.7 * np.finfo(np.float32).min)  # the logit of what isn't attended to


def _core(name: str, x: Any, *parameters: float, least_dtype: type = float) -> TracedArray:
    """Returns an activation of the core, whose formula stands there, in at least the dtype `least_dtype`."""
    fields: ActivationFields = {
        "activation": name,
        "parameters": [float(parameter) for parameter in parameters],
    }
    return elementwise(core_formula(fields), x, dtype=common_dtype(x, least_dtype=least_dtype))


for _name in ("relu", "hard_tanh"):  # whose results are integers for integers
    records(_name)(partial(_core, _name, least_dtype=int))
for _name in (
    "relu6", "sigmoid", "hard_sigmoid", "sparse_sigmoid", "log_sigmoid", "silu", "hard_silu", "softplus", "sparse_plus",
    "softsign", "tanh_shrink", "mish", "selu",
):  # fmt: skip
    records(_name)(partial(_core, _name))
records("swish")(implementation_of("silu"))
records("hard_swish")(implementation_of("hard_silu"))


@records("elu")
def elu(x: Any, alpha: float = 1.0) -> TracedArray:
    """`x`, or `alpha * expm1(x)` where it is negative."""
    return _core("elu", x, alpha)


@records("celu")
def celu(x: Any, alpha: float = 1.0) -> TracedArray:
    """`max(x, 0) + min(0, alpha * expm1(x / alpha))`."""
    return _core("celu", x, alpha)


@records("squareplus")
def squareplus(x: Any, b: float = 4) -> TracedArray:
    """`(x + sqrt(x**2 + b)) / 2`, exact for negative and large numbers."""
    return _core("squareplus", x, b)


@records("leaky_relu")
def leaky_relu(x: Any, negative_slope: float = 0.2) -> TracedArray:
    """`x`, times the slope where it is negative."""
    return _core("leaky_relu", x, negative_slope)


@records("gelu")
def gelu(x: Any, approximate: bool = True) -> TracedArray:
    """`x` times the share of a normal distribution below it."""
    return _core("gelu_tanh" if approximate else "gelu", x)


@records("soft_shrink")
def soft_shrink(x: Any, threshold: float = 0.5) -> TracedArray:
    """`x` moved towards 0."""
    return _core("soft_shrink", x, threshold)


@records("hard_shrink")
def hard_shrink(x: Any, threshold: float = 0.5) -> TracedArray:
    """`x`, but 0 near 0."""
    return _core("hard_shrink", x, threshold)


@records("threshold")
def threshold(x: Any, threshold: Any, default_value: Any) -> TracedArray:
    """`x` above the threshold, else another number."""
    return elementwise(
        lambda a, b, c: (a > b).choose(a, c), x, threshold, default_value, dtype=float_dtype(x)
    )


@records("glu")
def glu(x: Any, axis: int = -1) -> TracedArray:
    """The first half along an axis times the sigmoid of the second."""
    array = array_of(x)
    axis_index = axis_in(axis, array.ndim)
    half = array.extents[axis_index].divided(2)
    if half is None:
        msg = f"`glu` needs an even length along axis {axis}, got {array!r}"
        raise ValueError(msg)
    first, second = part(array, axis_index, Extent(0), half), part(array, axis_index, half, half)
    return elementwise(lambda a, b: a * b.of("sigmoid"), first, second, dtype=float_dtype(array))


def _shifted(x: TracedArray, axis: Any) -> tuple[TracedArray, TracedArray]:
    """Returns `x` minus its largest number along axes, and the sum of the exponentials of this difference."""
    top = stop_gradient(max_(x, axis, keepdims=True))
    shifted = elementwise(lambda a, b: a - b, x, top, dtype=float_dtype(x))
    return shifted, sum_(elementwise(lambda a: a.of("exp"), shifted), axis, keepdims=True)


@records("softmax")
def softmax(x: Any, axis: Any = -1) -> TracedArray:
    """Exponentials divided by their sum."""
    shifted, total = _shifted(array_of(x), axis)
    return elementwise(lambda a, b: a.of("exp") / b, shifted, total)


@records("log_softmax")
def log_softmax(x: Any, axis: Any = -1) -> TracedArray:
    """The logarithm of softmax."""
    shifted, total = _shifted(array_of(x), axis)
    return elementwise(lambda a, b: a - b.of("log"), shifted, total)


@records("sparsemax")
def sparsemax(x: Any, axis: Any = -1) -> TracedArray:
    """The nearest probabilities, of which many are 0."""
    array = array_of(x)
    axes = (*axes_in(axis, array.ndim),)
    if len(axes) != 1:  # several axes are one
        other_axes = [index for index in range(array.ndim) if index not in axes]
        moved = transpose(array, [*other_axes, *axes])
        flat = reshape(moved, (*moved.extents[: len(other_axes)], Extent(-1)))
        back = sorted(range(array.ndim), key=lambda index: [*other_axes, *axes][index])
        return transpose(sparsemax(flat).reshaped(moved.extents), back)
    rows = moveaxis(array, axes[0], -1)
    falling = elementwise(lambda a: -a, sort(elementwise(lambda a: -a, rows)))
    above = elementwise(lambda a: a - 1.0, cumsum(falling, -1))
    ranks = elementwise(
        lambda i: i + 1.0, coordinate(rows.trace, falling.extents, rows.ndim - 1), dtype="float32"
    )
    inside = elementwise(lambda a, i, b: a * i > b, falling, ranks, above, dtype="float32")
    count = sum_(inside, -1, keepdims=True)
    last = elementwise(lambda n: n - 1.0, count, dtype="int32")
    result = elementwise(
        lambda a, b, n: (a - b / n).of("maximum", 0.0), rows, take_along_axis(above, last, -1), count,
        dtype=float_dtype(array),
    )  # fmt: skip
    return moveaxis(result, -1, axes[0])


@records("dot_product_attention")
def dot_product_attention(  # noqa: PLR0917 # Keras' signature
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> TracedArray:
    """The means of values, weighted by the softmax of products of queries and keys."""
    del attn_logits_soft_cap
    if flash_attention:
        msg = "`flash_attention` must be None or False: it needs a GPU"
        raise ValueError(msg)
    trace = trace_of(query, key, value, bias, mask)
    rows, columns, means = (as_traced(array, trace) for array in (query, key, value))
    shapes = ", ".join(text_of_extents(array.extents) for array in (rows, columns, means))
    if {array.ndim for array in (rows, columns, means)} != {4}:
        msg = f"`query`, `key` and `value` must have four axes, got shapes {shapes}"
        raise ValueError(msg)
    heads, of_keys = rows.extents[2].static, columns.extents[2].static
    if not heads or not of_keys or heads % of_keys or columns.extents[:3] != means.extents[:3]:
        msg = f"the heads of `query` must be a multiple of those of `key` and `value`, got {shapes}"
        raise ValueError(msg)
    if heads != of_keys:
        columns, means = (repeat(array, heads // of_keys, 2) for array in (columns, means))
    depth = rows.extents[3].static
    factor = scale if scale is not None else 1 / math.sqrt(depth or 1)
    dtype = float_dtype(rows, columns, means)
    logits = elementwise(lambda a: a * float(factor), einsum("btnh,bsnh->bnts", rows, columns), dtype=dtype)
    if bias is not None:
        logits = elementwise(lambda a, b: a + b, logits, as_traced(bias, trace))
    if is_causal:
        axes = [coordinate(trace, logits.extents[-2:], index) for index in (0, 1)]
        logits = elementwise(lambda a, i, j: (j <= i).choose(a, _MASKED), logits, *axes)
    if mask is not None:
        logits = elementwise(lambda a, keep: keep.choose(a, _MASKED), logits, as_traced(mask, trace))
    return einsum("bnts,bsnh->btnh", softmax(logits), means).as_dtype(dtype)


# Normalizations.


@records("normalize")
def normalize(x: Any, axis: Any = -1, order: Any = 2, epsilon: float | None = None) -> TracedArray:
    """The array divided by its norms."""
    array = array_of(x)
    smallest = EPSILON if epsilon is None else epsilon
    if order == 2:  # noqa: PLR2004 # Euclidean
        squares = sum_(elementwise(lambda a: a * a, array, dtype=float_dtype(array)), axis, keepdims=True)
        return elementwise(
            lambda a, b: a * (1.0 / b.of("sqrt")).of("minimum", 1.0 / smallest), array, squares
        )
    return elementwise(
        lambda a, b: a / b.of("maximum", smallest), array, norm(array, order, axis, keepdims=True)
    )


@records("batch_normalization")
def batch_normalization(  # noqa: PLR0917 # Keras' signature
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> TracedArray:
    """The array, centred and scaled by statistics that are given."""
    trace = trace_of(x, mean, variance, offset, scale)
    array = as_traced(x, trace)
    axis_index = axis_in(axis, array.ndim)

    def along(value: Any) -> TracedArray:
        spread_value = as_traced(value, trace)
        if spread_value.ndim != 1:
            return spread_value
        return spread_value.reshaped(
            tuple(spread_value.extents[0] if i == axis_index else ONE for i in range(array.ndim))
        )

    result = elementwise(
        lambda a, m, v: (a - m) / (v + float(epsilon)).of("sqrt"), array, along(mean), along(variance)
    )
    if scale is not None:
        result = elementwise(lambda a, b: a * b, result, along(scale))
    return result if offset is None else elementwise(lambda a, b: a + b, result, along(offset))


@records("layer_normalization")
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float | None = None, **kwargs: Any
) -> TracedArray:
    """The array, centred and scaled by its own statistics along axes."""
    scaling = kwargs.pop("rms_scaling", False)
    trace = trace_of(x, gamma, beta)
    array = as_traced(x, trace)
    axes = axes_in(axis, array.ndim)
    small = EPSILON if epsilon is None else float(epsilon)
    spread = var(array, axes, keepdims=True)
    if scaling:
        result = elementwise(lambda a, v: a / (v + small).of("sqrt"), array, spread)
    else:
        centre = mean(array, axes, keepdims=True)
        result = elementwise(lambda a, m, v: (a - m) / (v + small).of("sqrt"), array, centre, spread)
    if gamma is not None:
        result = elementwise(lambda a, b: a * b, result, _along(as_traced(gamma, trace), result, axes))
    if beta is not None and not scaling:
        result = elementwise(lambda a, b: a + b, result, _along(as_traced(beta, trace), result, axes))
    return result


@records("rms_normalization")
def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None) -> TracedArray:
    """The array divided by the root of its mean square."""
    trace = trace_of(x, scale)
    array = as_traced(x, trace)
    small = EPSILON if epsilon is None else float(epsilon)
    squares = mean(elementwise(lambda a: a * a, array), axis, keepdims=True)
    result = elementwise(lambda a, b: a / (b + small).of("sqrt"), array, squares)
    return result if scale is None else elementwise(lambda a, b: a * b, result, as_traced(scale, trace))


def _along(weights: TracedArray, array: TracedArray, axes: tuple[int, ...]) -> TracedArray:
    """Returns weights, which have the axes `axes` of `array`, in a shape that is broadcast to that of `array`."""
    if weights.ndim == array.ndim or axes == (array.ndim - 1,):
        return weights
    lengths = iter(weights.extents)
    return weights.reshaped(tuple(next(lengths) if index in axes else ONE for index in range(array.ndim)))


# Crossentropies.


def _same_shape(first: Extents, other: Extents) -> bool:
    return len(first) == len(other) and all(map(Extent.agrees_with, first, other))


def _pair(target: Any, output: Any) -> tuple[TracedArray, TracedArray]:
    """Returns targets and outputs as symbols of one trace; a ValueError if their shapes differ."""
    trace = trace_of(target, output)
    targets, outputs = as_traced(target, trace), as_traced(output, trace)
    if not _same_shape(targets.extents, outputs.extents):
        msg = (
            f"`target` and `output` must have the same shape, got {text_of_extents(targets.extents)} and "
            f"{text_of_extents(outputs.extents)}"
        )
        raise ValueError(msg)
    return targets, outputs


@records("binary_crossentropy")
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> TracedArray:
    """The crossentropy of each element; that of logits is exact for large ones, too."""
    return _loss("binary_crossentropy", *_pair(target, output), from_logits, ())


def _loss(kind: str, target: TracedArray, output: TracedArray, from_logits: bool, axis: Any) -> TracedArray:
    """Returns a loss of the core, along an axis or without one for each element."""
    loss = {"kind": kind, "from_logits": bool(from_logits), "label_smoothing": 0.0}
    losses: TracedArray = recorded_loss(loss, target, output, axis)
    return losses.as_dtype(float_dtype(target, output))


@records("categorical_crossentropy")
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> TracedArray:
    """The crossentropy of each sample, for probabilities of classes."""
    return _loss("categorical_crossentropy", *_pair(target, output), from_logits, axis)


@records("sparse_categorical_crossentropy")
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> TracedArray:
    """The crossentropy of each sample, for class indices."""
    trace = trace_of(target, output)
    targets, outputs = as_traced(target, trace), as_traced(output, trace)
    if targets.ndim == outputs.ndim and targets.extents[-1] == ONE:
        targets = squeeze(targets, -1)
    axis_index = axis_in(axis, outputs.ndim)
    if not _same_shape(targets.extents, (*outputs.extents[:axis_index], *outputs.extents[axis_index + 1 :])):
        msg = (
            "`target` must have the shape of `output` without the classes, got "
            f"{text_of_extents(targets.extents)} and {text_of_extents(outputs.extents)}"
        )
        raise ValueError(msg)
    hot = one_hot(targets, length(outputs.extents[axis_index]), axis_index)
    return _loss("categorical_crossentropy", hot, outputs, from_logits, axis_index)


@records("psnr")
def psnr(x1: Any, x2: Any, max_val: float) -> TracedArray:
    """The peak signal-to-noise ratio, in decibels."""
    squares = mean(elementwise(lambda a, b: (a - b) * (a - b), x1, x2, dtype=float_dtype(x1, x2)))
    factor = 10.0 / math.log(10.0)
    return elementwise(lambda a: 2.0 * factor * math.log(float(max_val)) - a.of("log") * factor, squares)


# Functions of `engine.activations` that the core's formulas of single elements don't record.


@records("activations.linear")
def linear(x: Any) -> TracedArray:
    """The symbol itself."""
    return array_of(x)


for _name in ("threshold", "glu", "softmax", "log_softmax", "sparsemax"):
    records(f"activations.{_name}")(implementation_of(_name))
