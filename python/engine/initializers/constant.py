"""Initializers that are not random: zeros, ones, constants and the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import REAL, Shape, WrongTypeError, real
from engine._base.spec import array_of_config
from engine._core_interface.cpp import Float32
from engine.initializers.base import ArrayInitializer, BuiltIn, register

if TYPE_CHECKING:
    from typing_extensions import Self


@register("zero")
class Zeros(BuiltIn):
    """Initial values 0."""

    def _fill(self, shape: Shape) -> Float32:
        return np.zeros(shape, np.float32)


@register("one")
class Ones(BuiltIn):
    """Initial values 1."""

    def _fill(self, shape: Shape) -> Float32:
        return np.ones(shape, np.float32)


@register()
class Constant(BuiltIn):
    """Initial values `value`.

    Args:
        value: a finite number, or an array that broadcasts to the weights, such as `[log(positive / negative)]`.
    """

    def __init__(self, value: ArrayLike = 0.0) -> None:
        array: NDArray[Any] = np.asarray(value)
        if not array.ndim:
            self.value: Any = real(array[()], "value")
        elif array.dtype.kind not in REAL or not np.isfinite(array).all():
            msg = f"`value` must be a finite number or an array of some, got {value!r}"
            raise WrongTypeError(msg)
        else:
            self.value = array

    def _fill(self, shape: Shape) -> Float32:
        try:
            return np.array(np.broadcast_to(self.value, shape), np.float32)
        except ValueError:
            msg = f"`value` of shape {np.shape(self.value)} doesn't broadcast to weights of shape {shape}"
            raise ValueError(msg) from None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments as plain Python values."""
        return {
            "value": self.value
            if isinstance(self.value, float)
            else ArrayInitializer(self.value)._serialized()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Creates an initializer from `config`, as returned by `get_config` here or in Keras."""
        value = config.get("value", 0.0)
        return cls(array_of_config(value["config"]) if isinstance(value, Mapping) else value)


@register("identityinitializer")
class Identity(BuiltIn):
    """Identity matrix multiplied by `gain`.

    Args:
        gain: a finite number, the value on the diagonal.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real(gain, "gain")

    def _fill(self, shape: Shape) -> Float32:
        if len(shape) != 2:  # noqa: PLR2004 # a matrix
            msg = f"Identity makes matrices: `shape` must have two axes, got {shape}"
            raise ValueError(msg)
        return np.float32(self.gain) * np.eye(*shape, dtype=np.float32)
