"""Losses that NumPy computes batch by batch: those of the user, and those of whole batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine._base.host_steps import LossStep
from engine._base.spec import registered_or_same, snake_case
from engine._data.given_targets import Form, mask_of_batch, masked_weights, weights_of_batch
from engine._data.target_shapes import aligned
from engine.losses.loss import REDUCTIONS, BatchLoss, Loss, registry

Array = NDArray[Any]
NumPyFormula = Callable[[Array, Array], Any]
"""A function of targets and predictions."""

_EXAMPLE = """
    def loss(y_true, y_pred):
        return np.mean((y_pred - y_true) ** 2, axis=-1)
    loss.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]"""


@runtime_checkable
class Differentiable(Protocol):
    """A loss, a function or an object, with a gradient for training."""

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the gradient of each sample's loss with respect to its predictions, in their shape."""


class HostLoss(Loss):
    """A loss that NumPy computes, batch by batch.

    Args:
        compute: function of targets and predictions that returns the losses: one for each sample, for each row of
            outputs, for each output, or for the batch.
        gradient: function of the same that returns their gradient, in the shape of the predictions.
        name: name of the loss, for messages.
        reduction: how to combine the losses of samples, as in `Loss`.
        wants_indices: as in `Loss`; None passes targets on in the shape and dtype in which they were given.
        aligns: whether targets are brought to the number of axes of the predictions, as Keras does for functions.
        gradient_of_sum: function of targets, predictions and factors (n,) that returns the gradient of
            `sum(factors * losses)`. It replaces `gradient` if the loss of a sample depends on other samples.
        counts: function of targets and losses that returns 1 for each sample that a mean counts, else 0, (n,); None
            counts all.
    """

    def __init__(
        self,
        compute: NumPyFormula,
        gradient: NumPyFormula,
        name: str,
        reduction: str | None,
        wants_indices: bool | None,
        *,
        aligns: bool,
        gradient_of_sum: Callable[[Array, Array, Array], Array] | None = None,
        counts: NumPyFormula | None = None,
    ) -> None:
        super().__init__(name, reduction)
        self.compute, self.gradient, self._wants_indices = compute, gradient, wants_indices
        self._aligns, self._gradient_of_sum, self._counts = aligns, gradient_of_sum, counts
        self.as_given = wants_indices is None

    _needs_host = False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what `compute` returns."""
        return self.compute(y_true, y_pred)

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """Returns the same loss for class indices, or for one number per output."""
        loss = HostLoss(
            self.compute,
            self.gradient,
            self.name,
            self.reduction,
            indices,
            aligns=self._aligns,
            gradient_of_sum=self._gradient_of_sum,
            counts=self._counts,
        )
        loss.as_given = self.as_given
        return loss

    def _lower(self) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile`."""
        target = "sparse" if self._wants_indices else "dense"
        return {"kind": "host", "target": target, "reduction": REDUCTIONS[self.reduction]}

    def _run(self, batch: LossStep, form: Form, factor: float, output_shape: tuple[int, ...]) -> None:
        """Fills in the losses of a host step and, for training, the gradient.

        Args:
            batch: the host step.
            form: shape and dtype in which the targets were given.
            factor: weight of the loss of this output.
            output_shape: shape of the predictions of one sample.
        """
        y_pred = batch["y_pred"].reshape(-1, *(output_shape or (1,))).copy()
        given = form.shaped(batch), y_pred
        y_true, predicted = aligned(*given) if self._aligns else given
        losses = np.asarray(self.compute(y_true, predicted))
        weights, counted = weights_of_batch(batch, form, y_pred), mask_of_batch(batch, y_pred)
        share = self._shares if form.weights is None else self._shares_by_output
        shares, scale = share(losses, weights, counted, y_pred.shape, factor)
        if self._counts is not None and form.weights is None:
            chosen = np.asarray(self._counts(y_true, losses), np.float32)
            of_all = _divisor(weights, counted, self.reduction)
            counted = chosen if counted is None else counted * chosen
            of_counted = _divisor(weights, counted, self.reduction)
            # The core divides by the number of all samples, or by the sum of all weights.
            raised = of_all / of_counted if of_counted else 0.0
            shares, scale = shares * chosen * raised, scale * chosen * raised
        batch["losses"][...] = shares.reshape(-1)
        if not batch["training"]:
            return
        if self._gradient_of_sum is not None:
            by_predictions = self._gradient_of_sum(y_true, predicted, scale)
            batch["gradient"][...] = by_predictions.reshape(batch["gradient"].shape)
            return
        gradient = np.asarray(self.gradient(y_true, predicted))
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
        counted: Array | None,
        shape: tuple[int, ...],
        factor: float,
    ) -> tuple[Array, Array]:
        """Computes the loss of each row of outputs, and the factor of the gradient of each row.

        Args:
            losses: what `compute` returned.
            weights: weights of samples (n,), or of rows.
            counted: 1 for each row, 0 for rows that are masked; None if there is no mask.
            shape: shape of the predictions, (n, ..., outputs).
            factor: weight of the loss of this output.

        Returns:
            Losses and factors, each in the shape of the predictions without the last axis.
        """
        rows, groups = shape[:-1], math.prod(shape[1:-1])
        plain, summed = counted is None and bool((weights == 1).all()), REDUCTIONS[self.reduction] == "sum"
        if counted is not None:
            weights = masked_weights(counted, weights)
        by_row = np.broadcast_to(weights.reshape(*weights.shape, *[1] * (len(rows) - weights.ndim)), rows)
        divisor = {
            "mean": float(by_row.size if counted is None else counted.sum()),
            "sum": 1.0,
            "weighted_mean": float(np.cumsum(by_row, dtype=float)[-1]),
        }[REDUCTIONS[self.reduction]]
        scale = by_row.astype(float) * (factor / divisor if divisor else 0.0)
        if losses.ndim == 0:
            # The sum of a loss for the whole batch is that loss itself, unless samples have weights.
            share = 1.0 / by_row.size if summed and plain else 1.0
            return np.broadcast_to(losses * share, rows), np.full(rows, np.cumsum(scale * share)[-1])
        if losses.shape in (rows, (*rows, 1)):
            return losses.reshape(rows), scale
        if losses.shape == shape:
            share = 1.0 if summed else 1.0 / shape[-1]
            return losses.sum(axis=-1) * share, scale * share
        if losses.shape in (rows[:1], (*rows[:1], 1)) and weights.ndim == 1:
            each = losses.reshape(-1, *[1] * (len(rows) - 1))
            spread = np.broadcast_to(each / groups if summed else each, rows)
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
        counted: Array | None,
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
        within = (weights if counted is None else masked_weights(counted, weights)).astype(float)
        counting = rows if counted is None else float(counted.sum())
        reduction, total = REDUCTIONS[self.reduction], float(np.cumsum(within)[-1])
        # The factor of the sum of a row. The core divides means by the number of rows that are not masked.
        by_row = {"mean": 1.0 / width, "sum": 1.0, "weighted_mean": counting / total if total else 0.0}[
            reduction
        ]
        scale = within * (by_row * factor / (1.0 if reduction == "sum" else counting or 1.0))
        shares = (losses * within).sum(axis=-1) * by_row
        return shares, scale if losses.ndim else np.full(shape, np.cumsum(scale)[-1])


def no_loss() -> HostLoss:
    """Returns the loss of a model that was compiled without one: 0 for each row of outputs."""
    return HostLoss(
        lambda y_true, y_pred: np.zeros(y_pred.shape[:-1]),
        lambda y_true, y_pred: np.zeros_like(y_pred),
        "no_loss",
        "sum_over_batch_size",
        None,
        aligns=False,
    )


def for_training(identifier: object) -> Loss:
    """Returns the loss for the argument of `compile`: a name, class, function, object or config dict.

    Raises:
        ValueError: if the name is unknown, or if a loss of the user has no gradient.
        TypeError: if `identifier` is of another type.
    """
    identifier = registered_or_same(identifier)
    try:
        loss = registry.get(identifier)
    except TypeError:
        if not callable(identifier) or isinstance(identifier, (type, Loss)):
            raise
        name = snake_case(getattr(identifier, "__name__", type(identifier).__name__))
        return HostLoss(
            identifier, _gradient(identifier, name), name, "sum_over_batch_size", None, aligns=True
        )
    if not loss._needs_host:
        return loss
    if isinstance(loss, BatchLoss) and type(loss).call.__module__.startswith("engine."):
        return HostLoss(
            loss.call,
            loss.gradient,
            loss.name,
            loss.reduction,
            loss._wants_indices,
            aligns=False,
            gradient_of_sum=loss._gradient_of_sum,
            counts=loss._counted,
        )
    gradient = _gradient(loss, loss.name)
    return HostLoss(loss._in_training, gradient, loss.name, loss.reduction, loss._wants_indices, aligns=False)


def _divisor(weights: Array, counted: Array | None, reduction: str | None) -> float:
    """Returns the number by which the core divides the losses of a batch; `counted` is 0 for masked samples."""
    counts = np.ones(weights.shape) if counted is None else counted
    how = REDUCTIONS[reduction]
    if how == "sum":
        return 1.0
    return float(np.cumsum(counts * weights if how == "weighted_mean" else counts, dtype=float)[-1])


def _gradient(loss: object, name: str) -> NumPyFormula:
    """Returns the gradient of a loss of the user; ValueError if it has none."""
    if not isinstance(loss, Differentiable):
        msg = (
            f"the loss {name!r} has no gradient, and the engine doesn't derive NumPy code by itself: give it "
            "`gradient(y_true, y_pred)`, the derivative of each sample's loss by its predictions, in the shape of "
            f"`y_pred`. Such as{_EXAMPLE}\nor, in a subclass of engine.losses.Loss, methods `call` and `gradient`"
        )
        raise ValueError(msg)
    return loss.gradient
