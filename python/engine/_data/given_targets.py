"""Targets in the form in which the user gave them, for losses and metrics that are computed in Python.

The core stores targets as class indices or in the shape of the outputs. A `Form` remembers the shape and dtype that the
user gave, and restores them when a loss or a metric written in Python is called with a batch. `checked_samples` makes
forms; the losses of `losses/custom.py` and the metrics of a compiled model read them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._base.host_steps import TargetsOfStep


class GivenTargets(np.ndarray[Any, np.dtype[Any]]):
    """Targets as they were given, which don't meet predictions in an outer product by mistake.

    NumPy makes (n, n) of numbers (n,) and (n, 1), the shapes that targets and predictions of one number often have.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        targets = [given.shape for given in inputs if isinstance(given, GivenTargets)]
        others = [np.shape(given) for given in inputs if not isinstance(given, GivenTargets)]
        crosses = method == "__call__" and ufunc.signature is None
        if crosses and any(_crossed(ours, theirs) for ours in targets for theirs in others):
            msg = (
                f"`y_true` has shape {targets[0]} and meets {others[0]}, of which NumPy would make every pair: pass y "
                "in the shape of the outputs, or bring one of them into the shape of the other, such as by "
                "`y_pred[:, 0]` or `y_true.reshape(-1, 1)`"
            )
            raise ValueError(msg)
        inputs = tuple(_plain(given) for given in inputs)
        if "out" in options:
            options["out"] = tuple(_plain(given) for given in options["out"])
        result = getattr(ufunc, method)(*inputs, **options)
        same = isinstance(result, np.ndarray) and result.shape in targets
        return result.view(GivenTargets) if same else result


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, GivenTargets) else value


def _crossed(ours: Shape, theirs: Shape) -> bool:
    """Whether the shapes are (n,) and (n, 1), n being more than 1."""
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) == 1 and shorter[0] > 1 and longer == (*shorter, 1)


class Form(NamedTuple):
    """How targets were given."""

    shape: Shape = ()
    """Of one sample's."""
    dtype: np.dtype[Any] = np.dtype(np.float32)
    kept: NDArray[np.float32] | None = None
    """The targets (n, ...), where their shape is one that only a loss of the user's can read; the core has zeros then."""
    outputs: Shape = ()
    """The shape of one of the model's outputs for them."""

    weights: NDArray[np.float32] | None = None
    """Sample weights (n, ..., outputs), where there is one for each output, which only a loss in NumPy can use; the core
    has none then."""

    def part(self, index: slice | NDArray[np.integer]) -> Form:
        """The same of some samples."""
        kept, weights = (None if array is None else array[index] for array in (self.kept, self.weights))
        return self._replace(kept=kept, weights=weights)

    def shaped(self, batch: TargetsOfStep) -> NDArray[Any]:
        """The targets of a host step in the shape in which they were given."""
        targets: NDArray[Any] = batch["y_true"]
        if self.kept is not None:
            targets = self.kept[batch["indices"]]
        return targets.reshape(-1, *self.shape).view(GivenTargets)

    def restored(self, batch: TargetsOfStep) -> NDArray[Any]:
        """The same with whole numbers as such; what has 64 bits gets 32, as in Keras."""
        dtype = {"i8": np.int32, "u8": np.uint32}.get(self.dtype.str[1:], self.dtype)
        return self.shaped(batch).astype(np.float32 if self.dtype.kind == "f" else dtype)


def counted_of(batch: TargetsOfStep, predictions: NDArray[Any]) -> NDArray[np.float32] | None:
    """What the rows of `predictions` (n, ..., outputs) count for as far as masks go, (n, ...) of 0 and 1; None: all."""
    mask: NDArray[np.float32] | None = batch["mask"]
    return None if mask is None else mask.reshape(predictions.shape[:-1])


def weighed(counted: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """`counted` (n, ...) times `weights` (n,), (n, ...) or (n, ..., outputs), where there are some."""
    if weights is None:
        return counted
    if weights.ndim > counted.ndim:
        return counted[..., np.newaxis] * weights
    return counted * weights.reshape(*weights.shape, *[1] * (counted.ndim - weights.ndim))


def weights_of(batch: TargetsOfStep, form: Form, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """The weights of a host step: (n,), or (n, ...) for each row of `predictions` or for each output."""
    if form.weights is not None:
        by_output: NDArray[np.float32] = form.weights[batch["indices"]]
        return by_output
    weights: NDArray[np.float32] = batch["sample_weight"]
    return weights if len(weights) == len(predictions) else weights.reshape(predictions.shape[:-1])
