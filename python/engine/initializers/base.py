"""The base classes of initializers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape, float32_only, integer
from engine._base.spec import Registry, Spec
from engine._core_interface.cpp import Float32


class Initializer(Spec, ABC):
    """Base class of all initializers. Custom initializers define `__call__`."""

    @abstractmethod
    def __call__(self, shape: Sequence[int], dtype: object = None) -> Float32:
        """Returns an array with initial values.

        Args:
            shape: shape of the result, such as `(inputs, units)` for a kernel.
            dtype: None or "float32", the dtype of all weights.

        Returns:
            A float32 array.
        """

    def clone(self) -> Initializer:
        """Returns another initializer with the same arguments."""
        return type(self).from_config(self.get_config())


class BuiltIn(Initializer):
    """Base class of the package's own initializers. It checks shape and dtype."""

    def __call__(self, shape: Sequence[int], dtype: object = None) -> Float32:
        """Returns an array with initial values.

        Args:
            shape: shape of the result, such as `(inputs, units)` for a kernel.
            dtype: None or "float32", the dtype of all weights.

        Returns:
            A float32 array.
        """
        float32_only(dtype)
        if isinstance(shape, int):
            msg = f"`shape` must be a tuple such as ({shape},), got {shape}"
            raise TypeError(msg)
        return self._fill(tuple(integer(extent, "shape", 0) for extent in shape))

    @abstractmethod
    def _fill(self, shape: Shape) -> Float32: ...


class ArrayInitializer(Initializer):
    """An initializer that returns a given array."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def _serialized(self) -> dict[str, Any]:
        """Returns the description of the array in Keras' form."""
        numbers = {"value": self.values.tolist(), "dtype": self.values.dtype.name}
        return {"class_name": "__numpy__", "config": numbers}

    def __call__(self, shape: Sequence[int], dtype: object = None) -> Float32:
        """Returns the array, if it has this shape."""
        del dtype
        return as_weight(self.values, tuple(shape), "the array given as initializer")


def as_weight(values: object, shape: Shape, subject: str) -> Float32:
    """Returns `values` as a new float32 array, if they are real numbers of `shape` within float32's range.

    Messages call them `subject`.
    """
    array = np.asarray(values)
    if array.shape != shape:
        msg = f"{subject} must have shape {shape}, got {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind not in REAL:
        msg = f"{subject} must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    try:
        with np.errstate(over="raise"):
            return np.array(array, np.float32)
    except FloatingPointError:
        msg = f"{subject} must lie within float32's range"
        raise ValueError(msg) from None


_registry: Registry[Initializer] = Registry("initializer", Initializer)
register = _registry.register
named = _registry.get
is_named = _registry.knows
deserialize = _registry.deserialize
