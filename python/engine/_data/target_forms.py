"""Targets in the form in which the user gave them, for losses and metrics that are computed in Python.

The core stores targets as class indices or in the shape of the outputs. A `TargetForm` remembers the shape and dtype that the
user gave, and restores them when a loss or a metric written in Python is called with a batch. `checked_samples` makes
forms; the losses of `losses/custom.py` and the metrics of a compiled model read them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import Shape
from engine._core_interface.host_steps import TargetsOfStep


class UserTargets(np.ndarray[Any, np.dtype[Any]]):
    """Targets as the user gave them, in an array that refuses to be broadcast with predictions by mistake.

    Targets and predictions of a model with one output often have the shapes (n,) and (n, 1), of which NumPy makes (n, n).
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        targets = [operand.shape for operand in inputs if isinstance(operand, UserTargets)]
        other_shapes = [np.shape(operand) for operand in inputs if not isinstance(operand, UserTargets)]
        elementwise = method == "__call__" and ufunc.signature is None
        if elementwise and any(
            _broadcast_to_pairs(ours, theirs) for ours in targets for theirs in other_shapes
        ):
            msg = (
                f"`y_true` has shape {targets[0]} and meets {other_shapes[0]}, of which NumPy would make every pair: pass y "
                "in the shape of the outputs, or bring one of them into the shape of the other, such as by "
                "`y_pred[:, 0]` or `y_true.reshape(-1, 1)`"
            )
            raise ValueError(msg)
        inputs = tuple(_plain_array(operand) for operand in inputs)
        if "out" in options:
            options["out"] = tuple(_plain_array(array) for array in options["out"])
        result = getattr(ufunc, method)(*inputs, **options)
        same = isinstance(result, np.ndarray) and result.shape in targets
        return result.view(UserTargets) if same else result


def _plain_array(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, UserTargets) else value


def _broadcast_to_pairs(ours: Shape, theirs: Shape) -> bool:
    """Returns whether one shape is (n,) and the other (n, 1), with n > 1."""
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) == 1 and shorter[0] > 1 and longer == (*shorter, 1)


class TargetForm(NamedTuple):
    """The form in which the user gave targets, which restores them for losses and metrics in Python."""

    shape: Shape = ()
    """The shape of the targets of one sample."""
    dtype: np.dtype[Any] = np.dtype(np.float32)
    original: NDArray[np.float32] | None = None
    """The targets (n, ...), if only a loss of the user's can read their shape. The core has zeros instead. Else None."""
    outputs: Shape = ()
    """The shape of the model's output for one sample."""

    weights: NDArray[np.float32] | None = None
    """Sample weights (n, ..., outputs), if there is one for each output, which only a loss in Python can use. The core has
    none instead. Else None."""

    repeated: bool = False
    """Whether one target was given for all outputs of a row, so that the core has it once for each output."""

    def shaped(self, batch: TargetsOfStep) -> NDArray[Any]:
        """Returns the targets of a host step in the shape in which the user gave them."""
        targets: NDArray[Any] = batch["y_true"]
        if self.original is not None:
            targets = self.original[batch["indices"]]
        if self.repeated:
            targets = targets[..., :1]
        return targets.reshape(-1, *self.shape).view(UserTargets)

    def restored(self, batch: TargetsOfStep) -> NDArray[Any]:
        """Returns the same in the dtype in which the user gave them; as in Keras, 64 bits become 32, and floats float32."""
        return self.shaped(batch).astype(self.restored_dtype)

    @property
    def restored_dtype(self) -> np.dtype[Any]:
        """The dtype that losses and metrics in Python see."""
        if self.dtype.kind == "f":
            return np.dtype(np.float32)
        return np.dtype({"i8": np.int32, "u8": np.uint32}.get(self.dtype.str[1:], self.dtype))


def mask_of_batch(batch: TargetsOfStep, predictions: NDArray[Any]) -> NDArray[np.float32] | None:
    """Returns the mask for the rows of `predictions` (n, ..., outputs): (n, ...), 1 to keep, 0 to skip; None without one."""
    mask: NDArray[np.float32] | None = batch["mask"]
    return None if mask is None else mask.reshape(predictions.shape[:-1])


def masked_weights(mask: NDArray[np.float32], weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Returns `mask` (n, ...) times `weights` (n,), (n, ...) or (n, ..., outputs); None stands for weights of 1."""
    if weights is None:
        return mask
    if weights.ndim > mask.ndim:
        return mask[..., np.newaxis] * weights
    return mask * weights.reshape(*weights.shape, *[1] * (mask.ndim - weights.ndim))


def weights_of_step(batch: TargetsOfStep, form: TargetForm, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the sample weights of a host step: (n,), (n, ...) for each row of `predictions`, or (n, ..., outputs)."""
    if form.weights is not None:
        by_output: NDArray[np.float32] = form.weights[batch["indices"]]
        return by_output
    weights: NDArray[np.float32] = batch["sample_weight"]
    return weights if len(weights) == len(predictions) else weights.reshape(predictions.shape[:-1])
