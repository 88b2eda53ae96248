"""Losses in NumPy: those that scripts bring along, and those that look at a whole batch at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.host_steps import LossStep
from engine._base.spec import registered_or_same, snake_case
from engine._data.given_targets import Form, mask_of_batch, masked_weights, weights_of_batch
from engine._data.target_shapes import aligned
from engine.losses.base import REDUCTIONS, BatchLoss, Loss, registry

Array = NDArray[Any]
Formula = Callable[[Array, Array], Any]

_EXAMPLE = """
    def loss(y_true, y_pred):
        return np.mean((y_pred - y_true) ** 2, axis=-1)
    loss.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]"""


class HostLoss(Loss):
    """A loss that NumPy computes, batch by batch.

    Args:
        compute: losses (n,), one for each row of outputs or for each output, or one for the batch, from targets and
            predictions.
        gradient: their derivative by the predictions, (n, ..., outputs), from the same.
        name: for messages.
        reduction: how to combine the losses of samples, as in `Loss`.
        wants_indices: as in `Loss`; None lets every batch come as it is given.
        aligns: whether targets and predictions come with as many axes, as they do for functions.
        gradient_of_sum: for losses of samples that depend on each other: the derivative, by the predictions, of the sum
            of `factors * losses`, from targets, predictions and factors (n,). Takes the place of `gradient`.
        counts: which samples a mean counts, (n,) of 0 and 1, from targets and losses; None: all.
    """

    def __init__(
        self,
        compute: Formula,
        gradient: Formula,
        name: str,
        reduction: str | None,
        wants_indices: bool | None,
        *,
        aligns: bool,
        gradient_of_sum: Callable[[Array, Array, Array], Array] | None = None,
        counts: Formula | None = None,
    ) -> None:
        super().__init__(name, reduction)
        self.compute, self.gradient, self._wants_indices = compute, gradient, wants_indices
        self._aligns, self._gradient_of_sum, self._counts = aligns, gradient_of_sum, counts
        self.as_given = wants_indices is None

    _needs_host = False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What `compute` gives."""
        return self.compute(y_true, y_pred)

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """The same loss for targets of that form."""
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
        """The loss as the core reads it."""
        target = "sparse" if self._wants_indices else "dense"
        return {"kind": "host", "target": target, "reduction": REDUCTIONS[self.reduction]}

    def _run(self, batch: LossStep, form: Form, factor: float, output_shape: tuple[int, ...]) -> None:
        """Fills in the losses of a host step and, for training, the gradient.

        Args:
            batch: the host step.
            form: in which the targets were given.
            factor: of the loss beside the regularisation.
            output_shape: of one sample.
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
            # The core divides by what all samples count for.
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
        """The losses by row of outputs, and what the gradient of each row is multiplied by.

        Args:
            losses: what `compute` gave.
            weights: (n,), or one for each row.
            counted: 1 for each row, or 0 for one that a mask leaves out; None: all count.
            shape: of the predictions, (n, ..., outputs).
            factor: of the loss.
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
            # One number is not summed over the samples, but for their weights.
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
        """The same as `_shares` for `weights` of `shape`; the core knows none, so that they are in the losses already."""
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
        # What a row's sum is multiplied by; the core divides means by the number of rows that count.
        by_row = {"mean": 1.0 / width, "sum": 1.0, "weighted_mean": counting / total if total else 0.0}[
            reduction
        ]
        scale = within * (by_row * factor / (1.0 if reduction == "sum" else counting or 1.0))
        shares = (losses * within).sum(axis=-1) * by_row
        return shares, scale if losses.ndim else np.full(shape, np.cumsum(scale)[-1])


def no_loss() -> HostLoss:
    """What stands for the loss of a model that has none but what its layers add: 0 for each row of outputs."""
    return HostLoss(
        lambda y_true, y_pred: np.zeros(y_pred.shape[:-1]),
        lambda y_true, y_pred: np.zeros_like(y_pred),
        "no_loss",
        "sum_over_batch_size",
        None,
        aligns=False,
    )


def for_training(identifier: object) -> Loss:
    """The loss that `compile` is given: by name, class, function, object or config dict.

    Raises:
        ValueError: for an unknown name, or a loss of your own without a gradient.
        TypeError: for anything that cannot stand for a loss.
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
    """What the core divides the losses of a batch by, where samples count for `counted`."""
    counts = np.ones(weights.shape) if counted is None else counted
    how = REDUCTIONS[reduction]
    if how == "sum":
        return 1.0
    return float(np.cumsum(counts * weights if how == "weighted_mean" else counts, dtype=float)[-1])


def _gradient(loss: object, name: str) -> Formula:
    gradient: Formula | None = getattr(loss, "gradient", None)
    if gradient is None:
        msg = (
            f"the loss {name!r} has no gradient, and the engine doesn't derive NumPy code by itself: give it "
            "`gradient(y_true, y_pred)`, the derivative of each sample's loss by its predictions, in the shape of "
            f"`y_pred`. Such as{_EXAMPLE}\nor, in a subclass of engine.losses.Loss, methods `call` and `gradient`"
        )
        raise ValueError(msg)
    return gradient
