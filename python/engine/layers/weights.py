"""What follows from the weights of a layer or a model, whoever keeps them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import REAL, flag
from engine._base.cpp import Float32


class HasWeights:
    """Base class of layers and models: access to the weights, in the order of `get_weights`."""

    name: str
    _trainable = True

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights. Assigning it to a model sets it for all of its layers.

        A new value takes effect at the next `compile`.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = flag(value, "trainable")
        for part in self._parts():
            part.trainable = self._trainable

    def _parts(self) -> Sequence[HasWeights]:
        """What it is made of, if it is made of such."""
        return ()

    @property
    @abstractmethod
    def built(self) -> bool:
        """True if the weights have been created."""

    @property
    @abstractmethod
    def weights(self) -> list[Float32]:
        """The current weights as read-only arrays; empty before they are created."""

    @property
    @abstractmethod
    def trainable_weights(self) -> list[Float32]:
        """The weights that training updates, as read-only arrays."""

    @property
    @abstractmethod
    def non_trainable_weights(self) -> list[Float32]:
        """The weights that training doesn't update by gradients, as read-only arrays."""

    @abstractmethod
    def _not_built(self, action: str) -> Exception:
        """What to raise where `action` needs weights that aren't there."""

    @property
    def variables(self) -> list[Float32]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Float32]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Float32]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def path(self) -> str:
        """The same as `name`. Paths of weights such as "dense/kernel" begin with it."""
        return self.name

    @property
    def input_dtype(self) -> str:
        """The dtype to which inputs are converted, "float32"."""
        return "float32"

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of the metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that it keeps: none."""
        return []

    def count_params(self) -> int:
        """Returns the total number of weight values."""
        if not self.built:
            raise self._not_built("count_params()")
        return sum(array.size for array in self.weights)

    def get_weights(self) -> list[Float32]:
        """Returns copies of the weights as a list of arrays."""
        return [np.array(array, order="C") for array in self.weights]

    def _checked(self, weights: Sequence[ArrayLike]) -> list[Float32]:
        """`weights` as float32 arrays of the shapes that there are; an error says which doesn't fit."""
        if not self.built:
            raise self._not_built("set_weights()")
        return checked_weights(weights, self.weights, self.name)


def checked_weights(weights: Sequence[ArrayLike], current: Sequence[Float32], owner: str) -> list[Float32]:
    """`weights` as float32 arrays of the shapes of `current`; ValueError says which doesn't fit."""
    arrays = [np.asarray(array) for array in weights]
    if len(arrays) != len(current):
        msg = (
            f"{owner!r} has {len(current)} weight arrays, got {len(arrays)}: get_weights() shows their shapes"
        )
        raise ValueError(msg)
    for index, (array, old) in enumerate(zip(arrays, current, strict=True)):
        if array.shape != old.shape:
            msg = f"`weights[{index}]` of {owner!r} must have shape {old.shape}, got {array.shape}"
            raise ValueError(msg)
        if array.dtype.kind not in REAL:
            msg = f"`weights[{index}]` of {owner!r} must hold real numbers, got dtype {array.dtype}"
            raise TypeError(msg)
    try:
        with np.errstate(over="raise"):
            return [np.array(array, np.float32) for array in arrays]
    except FloatingPointError:
        msg = f"`weights` of {owner!r} must lie within float32's range"
        raise ValueError(msg) from None
