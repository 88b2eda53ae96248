"""Where weights start."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from engine._checks import Shape, integer, real
from engine._program import Float32, uniform
from engine._random import next_key
from engine._spec import Registry, Spec


class Initializer(Spec, ABC):
    """Base class: an object that fills an array of a given shape."""

    def __call__(self, shape: Sequence[int]) -> Float32:
        """Make an array.

        Args:
            shape: of the result, such as `(inputs, units)` for a kernel.

        Returns:
            A float32 array.
        """
        return self._fill(tuple(shape))

    @abstractmethod
    def _fill(self, shape: Shape) -> Float32: ...


_registry: Registry[Initializer] = Registry("initializer", Initializer)
get = _registry.get


@_registry.register()
class Zeros(Initializer):
    """All 0."""

    def _fill(self, shape: Shape) -> Float32:
        return np.zeros(shape, np.float32)


@_registry.register()
class Ones(Initializer):
    """All 1."""

    def _fill(self, shape: Shape) -> Float32:
        return np.ones(shape, np.float32)


@_registry.register()
class Constant(Initializer):
    """All `value`.

    Args:
        value: a finite number.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = real(value, "value")

    def _fill(self, shape: Shape) -> Float32:
        return np.full(shape, self.value, np.float32)


@_registry.register()
class GlorotUniform(Initializer):
    """Uniform in [-limit, limit) with `limit = sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio, 2010).

    Args:
        seed: None draws from the stream that `utils.set_random_seed` starts, so that every layer gets numbers
            of its own; an int gives the same numbers at every call.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else integer(seed, "seed", 0, 2**64 - 1)

    def _fill(self, shape: Shape) -> Float32:
        fan_in, fan_out = _fans(shape)
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        seed, stream = next_key() if self.seed is None else (self.seed, 0)
        return uniform(seed, stream, math.prod(shape), -limit, limit).reshape(shape)


def _fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of one unit; leading axes of `shape` are a receptive field, as in Keras."""
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field
