"""Activations that are linear or quadratic in pieces."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from engine._base.checks import real
from engine._core_interface.cpp import Float32
from engine._core_interface.operations import ActivationFields
from engine._tracing.traceable import traceable
from engine.activations._apply import OF_ACTIVATIONS, apply, of_core, operation, without_constants

__all__ = [
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "relu",
    "relu6",
    "soft_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "threshold",
]

SIX = 6.0  # the largest value of relu6

linear = without_constants("linear", "Linear activation: returns `x`.")
relu6 = without_constants("relu6", "Rectified linear unit with largest value 6: `min(max(x, 0), 6)`.")
hard_tanh = without_constants("hard_tanh", "Hard tanh: `x` clipped to [-1, 1].")
hard_sigmoid = without_constants("hard_sigmoid", "Hard sigmoid: `x / 6 + 0.5` clipped to [0, 1].")
hard_silu = without_constants(
    "hard_silu", "Hard SiLU, also known as hard swish: `x * hard_sigmoid(x)` (Howard et al., 2019)."
)
sparse_plus = without_constants(
    "sparse_plus", "Sparse plus: 0 if `x <= -1`, `(x + 1)**2 / 4` up to 1, then `x`."
)
sparse_sigmoid = without_constants(
    "sparse_sigmoid", "Sparse sigmoid: `(x + 1) / 2` clipped to [0, 1] (Blondel, Martins and Niculae, 2019)."
)


def relu_operation(negative_slope: object, max_value: object, threshold: object) -> ActivationFields:
    """Returns `relu` as the core reads it, by the simplest formula for its constants."""
    slope, limit = real(negative_slope, "negative_slope"), real(threshold, "threshold")
    highest = math.inf if max_value is None else real(max_value, "max_value", 0.0)
    if limit == 0.0 and max_value is None:
        return operation("leaky_relu", slope) if slope else operation("relu")
    if limit == 0.0 and highest == SIX and not slope:
        return operation("relu6")
    return operation("general_relu", slope, highest, limit)


@of_core(relu_operation)
def relu(
    x: ArrayLike, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Float32:
    """Rectified linear unit: `max(x, 0)`. NaN stays NaN.

    Args:
        x: array of real numbers, of any shape.
        negative_slope: slope below the threshold, where the result is `negative_slope * (x - threshold)`.
        max_value: largest result, at least 0; None for no limit.
        threshold: numbers up to this value use `negative_slope`.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(relu_operation(negative_slope, max_value, threshold), x)


def leaky_relu_operation(negative_slope: object) -> ActivationFields:
    """Returns `leaky_relu` as the core reads it."""
    return operation("leaky_relu", real(negative_slope, "negative_slope"))


@of_core(leaky_relu_operation)
def leaky_relu(x: ArrayLike, negative_slope: float = 0.2) -> Float32:
    """Leaky rectified linear unit: `x` if `x >= 0`, else `negative_slope * x` (Maas, Hannun and Ng, 2013).

    Args:
        x: array of real numbers, of any shape.
        negative_slope: slope for negative numbers, finite.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(leaky_relu_operation(negative_slope), x)


def soft_shrink_operation(threshold: object) -> ActivationFields:
    """Returns `soft_shrink` as the core reads it."""
    return operation("soft_shrink", real(threshold, "threshold", 0.0))


@of_core(soft_shrink_operation)
def soft_shrink(x: ArrayLike, threshold: float = 0.5) -> Float32:
    """Soft shrink: moves `x` towards 0 by `threshold`, but not beyond 0.

    Args:
        x: array of real numbers, of any shape.
        threshold: a number of at least 0.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(soft_shrink_operation(threshold), x)


def hard_shrink_operation(threshold: object) -> ActivationFields:
    """Returns `hard_shrink` as the core reads it."""
    return operation("hard_shrink", real(threshold, "threshold", 0.0))


@of_core(hard_shrink_operation)
def hard_shrink(x: ArrayLike, threshold: float = 0.5) -> Float32:
    """Hard shrink: `x` where `|x| > threshold`, else 0.

    Args:
        x: array of real numbers, of any shape.
        threshold: a number of at least 0.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(hard_shrink_operation(threshold), x)


def threshold_operation(threshold: object, default_value: object) -> ActivationFields:
    """Returns `threshold` as the core reads it."""
    return operation("threshold", real(threshold, "threshold"), real(default_value, "default_value"))


def threshold(x: ArrayLike, threshold: float, default_value: float) -> Float32:
    """Threshold: `x` where `x > threshold`, else `default_value`.

    Args:
        x: array of real numbers, of any shape.
        threshold: a finite number.
        default_value: a finite number.

    Returns:
        A float32 array in the shape of `x`.
    """
    return apply(threshold_operation(threshold, default_value), x)


threshold = traceable(threshold, prefix=OF_ACTIVATIONS)
