"""Activations in which every number of a row has a part in every result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import integer
from engine._base.cpp import Float32
from engine._base.operations import ActivationFields
from engine.activations._apply import apply, operation
from engine.activations.smooth import sigmoid


def row_operation(name: str, axis: object) -> ActivationFields:
    """An activation of this module as the core reads it: along the last axis of its rows."""
    del axis
    return operation(name)


def softmax(x: ArrayLike, axis: int | Sequence[int] = -1) -> Float32:
    """Softmax: `exp(x) / sum(exp(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation, or several, whose numbers together have the sum 1.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along("softmax", x, axis)


def log_softmax(x: ArrayLike, axis: int | Sequence[int] = -1) -> Float32:
    """Logarithm of softmax: `log(softmax(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation, or several, whose numbers together have the sum 1.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along("log_softmax", x, axis)


def sparsemax(x: ArrayLike, axis: int = -1) -> Float32:
    """Sparsemax: `max(x - tau, 0)` along `axis`, where `tau` makes the sum 1 (Martins and Astudillo, 2016).

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along("sparsemax", x, axis)


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
    """By `x`, from the gradient by the result."""
    value, gate = np.split(x, 2, axis=axis)
    share = sigmoid(gate)
    return np.concatenate([upstream * share, upstream * value * share * (1 - share)], axis=axis)


def _softmax_gradient(x: Float32, upstream: Float32, axis: int | Sequence[int] = -1) -> Float32:
    """By `x`, from the gradient by the result."""
    return softmax_gradient(softmax(x, axis), upstream, axis)


def softmax_gradient(outputs: Float32, upstream: Float32, axis: int | Sequence[int]) -> Float32:
    """The gradient by the inputs of a softmax, from its `outputs` and `upstream`, the one by these."""
    axes = tuple(axis) if isinstance(axis, Sequence) else axis
    shared = np.sum(upstream * outputs, axis=axes, keepdims=True)
    return np.asarray(outputs * (upstream - shared))


def _log_softmax_gradient(x: Float32, upstream: Float32, axis: int | Sequence[int] = -1) -> Float32:
    """By `x`, from the gradient by the result."""
    axes = tuple(axis) if isinstance(axis, Sequence) else axis
    return np.asarray(upstream - softmax(x, axis) * np.sum(upstream, axis=axes, keepdims=True))


# What a layer looks for in a function that the core doesn't know, such as one of these along several axes.
softmax.gradient = _softmax_gradient  # type: ignore[attr-defined]
log_softmax.gradient = _log_softmax_gradient  # type: ignore[attr-defined]
glu.gradient = _glu_gradient  # type: ignore[attr-defined]


def _axis(array: NDArray[Any], axis: object) -> int:
    rank = max(array.ndim, 1)  # a scalar is a row of one
    return integer(axis, "axis", -rank, rank - 1) % rank


def _along(name: str, x: ArrayLike, axis: object) -> Float32:
    array = np.asarray(x)
    if isinstance(axis, (tuple, list)):
        return _along_several(name, array, [_axis(array, each) for each in axis])
    at = _axis(array, axis)
    if at >= array.ndim - 1:
        return apply(operation(name), array)
    return np.moveaxis(apply(operation(name), np.moveaxis(array, at, -1)), -1, at)


def _along_several(name: str, array: NDArray[Any], axes: Sequence[int]) -> Float32:
    if len(set(axes)) < len(axes):
        msg = f"`axis` must name each axis once, got {tuple(axes)} for `x` of shape {array.shape}"
        raise ValueError(msg)
    ends = range(array.ndim - len(axes), array.ndim)
    last = np.moveaxis(array, axes, ends)
    size = math.prod(array.shape[axis] for axis in axes)
    flat = last.reshape(*last.shape[: ends.start], size)
    return np.moveaxis(apply(operation(name), flat).reshape(last.shape), ends, axes)
