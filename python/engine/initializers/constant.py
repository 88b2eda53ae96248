"""Starts without chance."""

from __future__ import annotations

import numpy as np

from engine._checks import Shape, real
from engine._program import Float32
from engine.initializers.base import BuiltIn, register


@register("zero")
class Zeros(BuiltIn):
    """All 0."""

    def _fill(self, shape: Shape) -> Float32:
        return np.zeros(shape, np.float32)


@register("one")
class Ones(BuiltIn):
    """All 1."""

    def _fill(self, shape: Shape) -> Float32:
        return np.ones(shape, np.float32)


@register()
class Constant(BuiltIn):
    """All `value`.

    Args:
        value: a finite number.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = real(value, "value")

    def _fill(self, shape: Shape) -> Float32:
        return np.full(shape, self.value, np.float32)


@register("identityinitializer")
class Identity(BuiltIn):
    """`gain` on the diagonal of a matrix, else 0.

    Args:
        gain: a finite number.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real(gain, "gain")

    def _fill(self, shape: Shape) -> Float32:
        if len(shape) != 2:  # noqa: PLR2004 # a matrix
            msg = f"Identity makes matrices: `shape` must have two axes, got {shape}"
            raise ValueError(msg)
        return np.float32(self.gain) * np.eye(*shape, dtype=np.float32)
