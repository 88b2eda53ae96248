"""Losses that NumPy computes batch by batch: those of the user, and those of whole batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine._base.registered_objects import is_of_engine
from engine._base.spec import registered_or_same, snake_case
from engine._core_interface.host_steps import LossStep
from engine._data.target_forms import TargetForm, mask_of_batch, masked_weights, weights_of_step
from engine._data.target_shapes import aligned
from engine.losses.loss import REDUCTIONS, BatchLoss, Loss, registry, written_by_user
from engine.losses.traced import TracedLoss

Array = NDArray[Any]
NumPyFormula = Callable[[Array, Array], Any]
"""A function of targets and predictions."""


@runtime_checkable
class Differentiable(Protocol):
    """A loss, a function or an object, with a gradient for training."""

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the gradient of each sample's loss with respect to its predictions, in their shape."""


class HostLoss(Loss):
    """A loss that NumPy computes, batch by batch.

    Args:
        loss: computes the losses in its method `_in_training`: one for each sample, for each row of outputs, for each
            output, or for the batch.
        gradient: function of targets and predictions that returns the gradient of the losses, in the shape of the
            predictions. A `BatchLoss` of this package has `_gradient_of_sum` instead.
        aligns: whether targets are brought to the number of axes of the predictions, as Keras does for functions.
    """

    _must_be_wrapped = False

    def __init__(self, loss: Loss, gradient: NumPyFormula, *, aligns: bool = False) -> None:
        super().__init__(loss.name, loss.reduction)
        self._loss, self._gradient, self._aligns = loss, gradient, aligns
        self._targets_are_indices = loss._targets_are_indices
        self.as_given = loss._targets_are_indices is None
        self._batch_loss = loss if isinstance(loss, BatchLoss) and _has_formula_of_engine(loss) else None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the losses."""
        return self._loss._in_training(y_true, y_pred)

    @property
    def _user_gradient(self) -> Callable[[Any, Any], Any] | None:
        return written_by_user(self._gradient)

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """Returns the same loss for class indices, or for one number per output."""
        resolved = HostLoss(self._loss, self._gradient, aligns=self._aligns)
        resolved._targets_are_indices = indices
        return resolved

    def _lower(self) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile`."""
        target = "sparse" if self._targets_are_indices else "dense"
        return {"kind": "host", "target": target, "reduction": REDUCTIONS[self.reduction]}

    def _run(self, batch: LossStep, form: TargetForm, factor: float, output_shape: tuple[int, ...]) -> None:
        """Fills in the losses of a host step and, for training, the gradient.

        Args:
            batch: the host step.
            form: shape and dtype in which the targets were given.
            factor: weight of the loss of this output.
            output_shape: shape of the predictions of one sample.
        """
        y_pred = batch["y_pred"].reshape(-1, *(output_shape or (1,))).copy()
        pair = form.shaped(batch), y_pred
        y_true, predicted = aligned(*pair) if self._aligns else pair
        losses = np.asarray(self.call(y_true, predicted))
        weights, row_mask = weights_of_step(batch, form, y_pred), mask_of_batch(batch, y_pred)
        losses_and_scale = self._shares if form.weights is None else self._shares_by_output
        row_losses, scale = losses_and_scale(losses, weights, row_mask, y_pred.shape, factor)
        if self._batch_loss is not None and form.weights is None:
            chosen = np.asarray(self._batch_loss._mean_mask(y_true, losses), np.float32)
            of_all = _divisor(weights, row_mask, self.reduction)
            row_mask = chosen if row_mask is None else row_mask * chosen
            of_chosen = _divisor(weights, row_mask, self.reduction)
            # The core divides by the number of all samples, or by the sum of all weights.
            raised = of_all / of_chosen if of_chosen else 0.0
            row_losses, scale = row_losses * chosen * raised, scale * chosen * raised
        batch["losses"][...] = row_losses.reshape(-1)
        if not batch["training"]:
            return
        if self._batch_loss is not None:
            by_predictions = self._batch_loss._gradient_of_sum(y_true, predicted, scale)
            batch["gradient"][...] = by_predictions.reshape(batch["gradient"].shape)
            return
        gradient = np.asarray(self._gradient(y_true, predicted))
        if gradient.shape != predicted.shape:
            msg = (
                f"the gradient of the loss {self.name!r} must have the shape of `y_pred`, {predicted.shape}, got "
                f"{gradient.shape}"
            )
            raise ValueError(msg)
        scale = scale if scale.ndim == y_pred.ndim else scale[..., np.newaxis]
        batch["gradient"][...] = (gradient.reshape(y_pred.shape) * scale).reshape(batch["gradient"].shape)

    def _shares(
        self,
        losses: Array,
        weights: Array,
        row_mask: Array | None,
        shape: tuple[int, ...],
        factor: float,
    ) -> tuple[Array, Array]:
        """Computes the loss of each row of outputs, and the factor of the gradient of each row.

        Args:
            losses: what `call` returned.
            weights: weights of samples (n,), or of rows.
            row_mask: 1 for each row, 0 for rows that are masked; None if there is no mask.
            shape: shape of the predictions, (n, ..., outputs).
            factor: weight of the loss of this output.

        Returns:
            Losses and factors, each in the shape of the predictions without the last axis.
        """
        rows, groups = shape[:-1], math.prod(shape[1:-1])
        plain, summed = row_mask is None and bool((weights == 1).all()), REDUCTIONS[self.reduction] == "sum"
        if row_mask is not None:
            weights = masked_weights(row_mask, weights)
        by_row = np.broadcast_to(weights.reshape(*weights.shape, *[1] * (len(rows) - weights.ndim)), rows)
        divisor = {
            "mean": float(by_row.size if row_mask is None else row_mask.sum()),
            "sum": 1.0,
            "weighted_mean": float(np.cumsum(by_row, dtype=float)[-1]),
        }[REDUCTIONS[self.reduction]]
        scale = by_row.astype(float) * (factor / divisor if divisor else 0.0)
        if losses.ndim == 0:
            # The sum of a loss for the whole batch is that loss itself, unless samples have weights.
            factor_of_row = 1.0 / by_row.size if summed and plain else 1.0
            return np.broadcast_to(losses * factor_of_row, rows), np.full(
                rows, np.cumsum(scale * factor_of_row)[-1]
            )
        if losses.shape in (rows, (*rows, 1)):
            return losses.reshape(rows), scale
        if losses.shape == shape:
            factor_of_row = 1.0 if summed else 1.0 / shape[-1]
            return losses.sum(axis=-1) * factor_of_row, scale * factor_of_row
        if losses.shape in (rows[:1], (*rows[:1], 1)) and weights.ndim == 1:
            by_sample = losses.reshape(-1, *[1] * (len(rows) - 1))
            spread = np.broadcast_to(by_sample / groups if summed else by_sample, rows)
            return spread, scale if summed else scale * groups
        msg = (
            f"the loss {self.name!r} must return one number per sample, ({rows[0]},), one for each weight, for each "
            f"row of outputs or for each output, or one for the batch, got the shape {losses.shape} for predictions of "
            f"{shape} and weights of {weights.shape}"
        )
        raise ValueError(msg)

    def _shares_by_output(
        self,
        losses: Array,
        weights: Array,
        row_mask: Array | None,
        shape: tuple[int, ...],
        factor: float,
    ) -> tuple[Array, Array]:
        """Does the same as `_shares` for `weights` of `shape`. The losses include them, as the core knows no such weights."""
        if losses.shape not in ((), shape):
            msg = (
                f"`sample_weight` has one weight for each output, {shape}, so the loss {self.name!r} must return one "
                f"number for each output, or one for the batch, got the shape {losses.shape}: give one weight for each of "
                "its numbers"
            )
            raise ValueError(msg)
        width, rows = shape[-1], math.prod(shape[:-1])
        within = (weights if row_mask is None else masked_weights(row_mask, weights)).astype(float)
        counting = rows if row_mask is None else float(row_mask.sum())
        reduction, total = REDUCTIONS[self.reduction], float(np.cumsum(within)[-1])
        # The factor of the sum of a row. The core divides means by the number of rows that are not masked.
        by_row = {"mean": 1.0 / width, "sum": 1.0, "weighted_mean": counting / total if total else 0.0}[
            reduction
        ]
        scale = within * (by_row * factor / (1.0 if reduction == "sum" else counting or 1.0))
        row_losses = (losses * within).sum(axis=-1) * by_row
        return row_losses, scale if losses.ndim else np.full(shape, np.cumsum(scale)[-1])


class _FunctionOfUser(Loss):
    """A function of targets and predictions, as a loss. Targets keep the shape and dtype in which they were given."""

    def __init__(self, function: NumPyFormula, name: str) -> None:
        super().__init__(name)
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what the function returns."""
        return self._function(y_true, y_pred)

    def _lower(self) -> dict[str, Any]:
        """Raises NotImplementedError, as the core has no formula for it."""
        raise NotImplementedError


def no_loss() -> HostLoss:
    """Returns the loss of a model that was compiled without one: 0 for each row of outputs."""
    zeros = _FunctionOfUser(lambda y_true, y_pred: np.zeros(y_pred.shape[:-1]), "no_loss")
    return HostLoss(zeros, lambda y_true, y_pred: np.zeros_like(y_pred))


def _has_formula_of_engine(loss: Loss) -> bool:
    """Returns whether `call` is a method of this package, and not of a subclass that a user wrote."""
    return is_of_engine(type(loss).call)


def is_called_itself(loss: Loss) -> bool:
    """Returns whether a user's class overrides `__call__`, so that the loss of a batch is what a call returns."""
    return not is_of_engine(type(loss).__call__)


def loss_for_training(identifier: object) -> Loss:
    """Returns the loss for the argument of `compile`: a name, class, function, object or config dict.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `identifier` is of another type.
    """
    identifier = registered_or_same(identifier, registry.knows)
    try:
        loss = registry.get(identifier)
    except TypeError:
        if not callable(identifier) or isinstance(identifier, (type, Loss)):
            raise
        name = snake_case(getattr(identifier, "__name__", type(identifier).__name__))
        of_user = _FunctionOfUser(identifier, name)
        if not isinstance(identifier, Differentiable):
            return TracedLoss(of_user, aligns=True)
        return HostLoss(of_user, identifier.gradient, aligns=True)
    if not loss._must_be_wrapped or is_called_itself(loss):
        return loss
    return HostLoss(loss, loss.gradient) if isinstance(loss, Differentiable) else TracedLoss(loss)


def _divisor(weights: Array, row_mask: Array | None, reduction: str | None) -> float:
    """Returns the number by which the core divides the losses of a batch; `row_mask` is 0 for masked samples."""
    counts = np.ones(weights.shape) if row_mask is None else row_mask
    how = REDUCTIONS[reduction]
    if how == "sum":
        return 1.0
    return float(np.cumsum(counts * weights if how == "weighted_mean" else counts, dtype=float)[-1])
