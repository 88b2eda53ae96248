"""Penalties on weights, added to the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import real
from engine._spec import Registry, Spec


class Regularizer(Spec, ABC):
    """Base class: a penalty on the weights of one layer."""

    def __call__(self, x: ArrayLike) -> float:
        """The penalty for the weights `x`."""
        return self._penalty(np.asarray(x, np.float64))

    @abstractmethod
    def _penalty(self, x: NDArray[np.float64]) -> float: ...

    def lower(self, weight: str) -> dict[str, float]:
        """The fields of a core operation that penalise its weight `weight`."""
        return {f"{weight}_{factor}": value for factor, value in self.get_config().items()}


_registry: Registry[Regularizer] = Registry("regularizer", Regularizer)


@_registry.register()
class L2(Regularizer):
    """`l2 * sum(x**2)`, not divided by the batch size.

    Args:
        l2: the factor, at least 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = real(l2, "l2", 0.0)

    def _penalty(self, x: NDArray[np.float64]) -> float:
        return self.l2 * float(np.sum(np.square(x)))


def get(identifier: object) -> Regularizer | None:
    """The regularizer that a name, an object or a config dict stands for; None stays None.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest.
    """
    return None if identifier is None else _registry.get(identifier)
