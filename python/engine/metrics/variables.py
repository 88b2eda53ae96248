"""The state of metrics, as variables that a script reads and assigns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.tensor_like import StoredArray

Array = NDArray[Any]
State = NDArray[np.float64]
Result = float | Array
"""What the core's metrics return: one number, or one for each class, output or threshold."""


class MetricVariable(StoredArray):
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
        before = self._value
        new = np.array(value, before.dtype)
        self._value = new if new.shape == before.shape else np.broadcast_to(new, before.shape).copy()

    def _set_number(self, number: float) -> None:
        """Sets a variable of float64 without axes, in half the time of `assign`."""
        self._value = np.array(float(number))

    def __repr__(self) -> str:
        return f"Variable({self.value!r})"


class HasParts(Protocol):
    """A metric whose state in the core consists of several of Keras' variables."""

    name: str

    def _parts(self) -> dict[str, Array]:
        """Returns the values of the variables by name."""

    def _set_part(self, name: str, value: Array) -> None:
        """Sets one of the variables."""


class StatePart(MetricVariable):
    """A variable that Keras has, as a view of the state that the core adds up.

    Args:
        metric: the metric with the state.
        name: name of the variable.
    """

    def __init__(self, metric: HasParts, name: str) -> None:
        super().__init__(np.zeros(()), name)
        self._metric = metric

    @property
    def path(self) -> str:
        """Names of metric and variable, such as "auc/true_positives"."""
        return f"{self._metric.name}/{self.name}"

    @property
    def value(self) -> Array:
        """The current value."""
        return np.array(self._metric._parts()[self.name])

    def assign(self, value: ArrayLike) -> None:
        """Sets the variable to `value`, which is broadcast to its shape, and variables that depend on it."""
        self._metric._set_part(self.name, np.broadcast_to(np.asarray(value, float), self.shape))


def state_part(metric: HasParts, name: str) -> StatePart:
    """Returns a variable of a metric, the same one at each call."""
    parts: dict[str, StatePart] = vars(metric).setdefault("_state_parts", {})
    return parts.setdefault(name, StatePart(metric, name))


class StateField:
    """An attribute of a metric: the variable with the name of the attribute, or with `name`."""

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
        return state_part(metric, self._name)
