"""Activations whose results depend on all numbers along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import integer
from engine._core_interface.cpp import Float32
from engine._core_interface.operations import ActivationFields
from engine._tracing.traceable import traceable
from engine.activations._apply import OF_ACTIVATIONS, apply, gradient, of_core, operation
from engine.activations.smooth import sigmoid

__all__ = [
    "glu",
    "log_softmax",
    "softmax",
    "sparsemax",
]


def row_operation(name: str, axis: object) -> ActivationFields:
    """Returns an activation of this module as the core reads it, which is along the last axis."""
    del axis
    return operation(name)


@of_core(partial(row_operation, "softmax"))
def softmax(x: ArrayLike, axis: int | Sequence[int] = -1) -> Float32:
    """Softmax: `exp(x) / sum(exp(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation, or several, whose numbers together have the sum 1.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along(partial(apply, operation("softmax")), axis, x)


@of_core(partial(row_operation, "log_softmax"))
def log_softmax(x: ArrayLike, axis: int | Sequence[int] = -1) -> Float32:
    """Logarithm of softmax: `log(softmax(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation, or several, whose numbers together have the sum 1.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along(partial(apply, operation("log_softmax")), axis, x)


@of_core(partial(row_operation, "sparsemax"))
def sparsemax(x: ArrayLike, axis: int = -1) -> Float32:
    """Sparsemax: `max(x - tau, 0)` along `axis`, where `tau` makes the sum 1 (Martins and Astudillo, 2016).

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along(partial(apply, operation("sparsemax")), axis, x)


def glu(x: ArrayLike, axis: int = -1) -> Float32:
    """Gated linear unit: `a * sigmoid(b)` for the two halves a and b of `axis` (Dauphin et al., 2017).

    Args:
        x: array of real numbers, with an even length along `axis`.
        axis: the axis to split.

    Returns:
        float32 in the shape of `x`, but half as long along `axis`.

    Raises:
        ValueError: if the length along `axis` is odd.
    """
    array = np.asarray(x, np.float32)
    at = _axis(array, axis)
    if array.ndim == 0 or array.shape[at] % 2:
        msg = f"`x` must have an even extent along axis {axis} to be split in halves, got shape {array.shape}"
        raise ValueError(msg)
    value, gate = np.split(array, 2, axis=at)
    return value * sigmoid(gate)


def _glu_gradient(x: Float32, upstream: Float32, axis: int = -1) -> Float32:
    """Returns the gradient with respect to `x`, given that of the outputs."""
    value, gate = np.split(x, 2, axis=axis)
    opened = sigmoid(gate)
    of_gate = gradient(operation("sigmoid"), opened, upstream * value)
    return np.concatenate([upstream * opened, of_gate], axis=axis)


def _softmax_gradient(x: Float32, upstream: Float32, axis: int | Sequence[int] = -1) -> Float32:
    """Returns the gradient with respect to `x`, given that of the outputs."""
    return softmax_gradient(softmax(x, axis), upstream, axis)


def softmax_gradient(outputs: Float32, upstream: Float32, axis: int | Sequence[int]) -> Float32:
    """Returns the gradient with respect to the inputs of a softmax, given its outputs and their gradient."""
    return _along(partial(gradient, operation("softmax")), axis, outputs, upstream)


def _log_softmax_gradient(x: Float32, upstream: Float32, axis: int | Sequence[int] = -1) -> Float32:
    """Returns the gradient with respect to `x`, given that of the outputs."""
    return _along(partial(gradient, operation("log_softmax")), axis, log_softmax(x, axis), upstream)


# Layers use these where the core has no operation, such as for a softmax along several axes.
softmax.gradient = _softmax_gradient  # type: ignore[attr-defined] # an attribute of a function, as users give it
log_softmax.gradient = _log_softmax_gradient  # type: ignore[attr-defined] # in the same way
glu.gradient = _glu_gradient  # type: ignore[attr-defined] # in the same way


def _axis(array: NDArray[Any], axis: object) -> int:
    """Returns `axis` as a number from 0 on, for `array`."""
    rank = max(array.ndim, 1)  # a scalar is a row of one number
    return integer(axis, "axis", -rank, rank - 1) % rank


def _along(function: Callable[..., Float32], axis: object, *arrays: ArrayLike) -> Float32:
    """Calls a function that works along the last axis, along `axis` or several axes as if they were one.

    Args:
        function: function of as many arrays as given, all of one shape.
        axis: axis, or a list or tuple of axes.
        *arrays: the arguments of the function.
    """
    arrays_given = [np.asarray(array) for array in arrays]
    shape, rank = arrays_given[0].shape, arrays_given[0].ndim
    if isinstance(axis, (tuple, list)):
        axes = [_axis(arrays_given[0], one_axis) for one_axis in axis]
        if len(set(axes)) < len(axes):
            msg = f"`axis` must name each axis once, got {tuple(axes)} for `x` of shape {shape}"
            raise ValueError(msg)
    else:
        axes = [_axis(arrays_given[0], axis)]
        if axes[0] >= rank - 1:
            return function(*arrays_given)
    ends = range(rank - len(axes), rank)
    moved = [np.moveaxis(array, axes, ends) for array in arrays_given]
    width = math.prod(shape[one_axis] for one_axis in axes)
    flat = [array.reshape(*array.shape[: ends.start], width) for array in moved]
    return np.moveaxis(function(*flat).reshape(moved[0].shape), ends, axes)


glu = traceable(glu, prefix=OF_ACTIVATIONS)
