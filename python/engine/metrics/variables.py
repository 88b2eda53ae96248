"""What metrics keep from batch to batch, as scripts read and assign it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.tensor_like import StoredArray

Array = NDArray[Any]
State = NDArray[np.float64]


class Variable(StoredArray):
    """State variable of a custom metric. It can be used in arithmetic like an array.

    Args:
        value: initial value.
        name: name of the variable.
    """

    def __init__(self, value: Array, name: str = "variable") -> None:
        self._value = value
        self.name = name

    @property
    def value(self) -> Array:
        """The current value."""
        return self._value

    def assign(self, value: ArrayLike) -> None:
        """Sets the variable to `value`, which is broadcast to its shape."""
        new = np.array(value, self.dtype)
        self._value = new if new.shape == self.shape else np.broadcast_to(new, self.shape).copy()

    def __repr__(self) -> str:
        return f"Variable({self.value!r})"


class AddedUp(Protocol):
    """A metric that the core adds up."""

    name: str

    def _parts(self) -> dict[str, Array]:
        """What has been added up, by the names of its variables."""

    def _set_part(self, name: str, value: Array) -> None:
        """Go on from `value` for one of them."""


class StatePart(Variable):
    """What one variable of Keras' holds, in the state of a metric that the core adds up.

    Args:
        metric: whose state it is in.
        name: name of the variable.
    """

    def __init__(self, metric: AddedUp, name: str) -> None:
        super().__init__(np.zeros(()), name)
        self._metric = metric

    @property
    def path(self) -> str:
        """Of metric and variable, such as "auc/true_positives"."""
        return f"{self._metric.name}/{self.name}"

    @property
    def value(self) -> Array:
        """The current value."""
        return np.array(self._metric._parts()[self.name])

    def assign(self, value: ArrayLike) -> None:
        """Become `value`, which is broadcast to the shape; what other variables tell of the same rows follows."""
        self._metric._set_part(self.name, np.broadcast_to(np.asarray(value, float), self.shape))


class Part:
    """An attribute: the variable of its name, or of `name`."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __get__(self, metric: Any, owner: type) -> Any:
        if metric is None:
            return self
        if self._name not in metric._parts():
            msg = (
                f"the metric {metric.name!r} has no `{self._name}` yet: its shape is that of the first batch"
            )
            raise AttributeError(msg)
        return StatePart(metric, self._name)
