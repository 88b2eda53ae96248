"""What metrics keep from batch to batch, as scripts read and assign it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._values import StoredArray

Array = NDArray[Any]
State = NDArray[np.float64]


class Variable(StoredArray):
    """A number or an array that a metric of your own keeps; takes part in arithmetic like an array.

    Args:
        value: what it starts with.
        name: of the variable.
    """

    def __init__(self, value: Array, name: str = "variable") -> None:
        self._value = value
        self.name = name

    @property
    def value(self) -> Array:
        """What it is now."""
        return self._value

    def assign(self, value: ArrayLike) -> None:
        """Become `value`, which is broadcast to the shape."""
        self._value = np.broadcast_to(np.asarray(value, self.dtype), self.shape).copy()

    def __repr__(self) -> str:
        return f"Variable({self.value!r})"


class AddedUp(Protocol):
    """What the core adds up."""

    def state_of(self, size: int) -> State:
        """A copy of what has been added up, so many numbers."""

    def take(self, state: State) -> None:
        """Go on from `state`."""


class StatePart(Variable):
    """A number of the state of a metric that the core adds up.

    Args:
        metric: whose state it is in.
        index: where.
        size: numbers in the state.
        name: of the variable.
    """

    def __init__(self, metric: AddedUp, index: int, size: int, name: str) -> None:
        super().__init__(np.zeros(()), name)
        self._metric, self._index, self._size = metric, index, size

    @property
    def value(self) -> Array:
        """What it is now."""
        return np.array(self._metric.state_of(self._size)[self._index])

    def assign(self, value: ArrayLike) -> None:
        """Become `value`, a number."""
        state = self._metric.state_of(self._size)
        state[self._index] = float(np.asarray(value))
        self._metric.take(state)
