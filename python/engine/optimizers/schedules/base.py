"""The base classes of learning rate schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import real
from engine._base.elementary import Doubles
from engine._base.spec import Registry, Spec
from engine._base.tensor_like import StoredArray


class LearningRateSchedule(Spec, ABC):
    """Base class of all schedules. Override `__call__`, and pass an instance as `learning_rate`.

    Before a number of batches, usually an epoch, the optimizer calls the schedule once for each of their steps. To
    be saved with an optimizer, a schedule must store every argument of `__init__` as an attribute of the same name,
    or override `get_config`.
    """

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Returns the learning rate of step `step`, counted from 0."""

    def _rates(self, first: int, count: int) -> NDArray[np.float64]:
        """Returns the learning rates of steps `first` to `first + count`, float64 (count,).

        Raises:
            TypeError: if the schedule returns something that is no number.
            ValueError: if it returns a negative or infinite number.
        """
        return np.array(
            [real(number(self(step)), f"{self._label}({step})", 0.0) for step in range(first, first + count)]
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments.

        Raises:
            TypeError: if they aren't stored as attributes of the same names.
        """
        try:
            return super().get_config()
        except AttributeError as error:
            msg = (
                f"{self._label} can't be saved: store each argument of __init__ under its own name, or override "
                f"get_config ({error})"
            )
            raise TypeError(msg) from None

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except TypeError:
            return object.__repr__(self)

    @property
    def _label(self) -> str:
        return type(self).__name__


registry: Registry[LearningRateSchedule] = Registry("learning_rate", LearningRateSchedule)


deserialize = registry.deserialize


class Formula(LearningRateSchedule):
    """The base class of schedules that compute many steps at once. Subclasses store `name` and define `_values`."""

    @abstractmethod
    def _values(self, steps: Doubles) -> Doubles:
        """Returns the learning rates of `steps`, in their shape."""

    def __call__(self, step: ArrayLike) -> Any:
        """Returns the learning rate of step `step`, counted from 0: a float, or an array for an array of steps."""
        values = self._values(np.asarray(step, np.float64))
        return values if np.ndim(step) else float(values)

    def _rates(self, first: int, count: int) -> NDArray[np.float64]:
        """Returns the learning rates of steps `first` to `first + count`, float64 (count,)."""
        if type(self).__call__ is not Formula.__call__:  # a subclass of the user
            return super()._rates(first, count)
        return self._values(np.arange(first, first + count, dtype=np.float64))


def number(value: object) -> object:
    """Returns `value`, or the number in it if it is a variable or an array of one number."""
    value = value.numpy() if isinstance(value, StoredArray) else value
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value
