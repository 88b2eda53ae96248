"""Reads and sets weights, and numbers of optimizers, as scripts for Keras 2 do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def get_value(x: Any) -> Any:
    """Returns the value of `x`, a weight or a number such as `optimizer.lr`, as an array or a number of NumPy."""
    return x.numpy() if hasattr(x, "numpy") else np.array(x)


def set_value(x: Any, value: ArrayLike) -> None:
    """Sets a weight of a layer, or a number of an optimizer such as `optimizer.lr`.

    Args:
        x: the weight or the number, as the layer or the optimizer has it.
        value: of the same shape.

    Raises:
        TypeError: if `x` can't be set.
    """
    if not hasattr(x, "assign"):
        msg = f"`x` must be a weight of a layer or a number of an optimizer, which can be set, got {x!r:.80}"
        raise TypeError(msg)
    x.assign(value)


def batch_get_value(tensors: Iterable[Any]) -> list[NDArray[Any]]:
    """Returns the values of several weights or numbers, `tensors`, as `get_value` does."""
    return [get_value(each) for each in tensors]


def batch_set_value(tuples: Iterable[tuple[Any, ArrayLike]]) -> None:
    """Sets several weights or numbers, as `set_value` does.

    Args:
        tuples: pairs of a weight and its new value.
    """
    for x, value in tuples:
        set_value(x, value)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Returns the shape of an array, a weight or a symbolic tensor `x`, with None for the batch axis of the last."""
    return tuple(x.shape)


def count_params(x: Any) -> int:
    """Returns how many numbers a weight or an array `x` has."""
    return int(np.prod(x.shape))
