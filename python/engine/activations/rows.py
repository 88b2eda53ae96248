"""Activations in which every number of a row has a part in every result."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import integer
from engine._program import Float32, Operation
from engine.activations._apply import apply, operation
from engine.activations.smooth import sigmoid


def row_operation(name: str, axis: object) -> Operation:
    """An activation of this module as the core reads it: along the last axis of its rows."""
    del axis
    return operation(name)


def softmax(x: ArrayLike, axis: int = -1) -> Float32:
    """Softmax: `exp(x) / sum(exp(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation.

    Returns:
        A float32 array in the shape of `x`.
    """
    return _along("softmax", x, axis)


def log_softmax(x: ArrayLike, axis: int = -1) -> Float32:
    """Logarithm of softmax: `log(softmax(x))` along `axis`.

    Args:
        x: array of real numbers, of any shape.
        axis: axis of the computation.

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


glu.gradient = _glu_gradient  # type: ignore[attr-defined] # what a layer looks for in a function that the core doesn't know


def _axis(array: NDArray[Any], axis: object) -> int:
    rank = max(array.ndim, 1)  # a scalar is a row of one
    return integer(axis, "axis", -rank, rank - 1) % rank


def _along(name: str, x: ArrayLike, axis: object) -> Float32:
    array = np.asarray(x)
    at = _axis(array, axis)
    if at >= array.ndim - 1:
        return apply(operation(name), array)
    return np.moveaxis(apply(operation(name), np.moveaxis(array, at, -1)), -1, at)
