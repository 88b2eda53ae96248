"""Losses in NumPy: those that scripts bring along, and those that look at a whole batch at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import integer, real
from engine._spec import meant, snake_case
from engine._targets import EPSILON, counted_of, paired, targets_of, weighed, weights_of
from engine.losses.base import REDUCTIONS, FunctionLoss, Loss, register, registry
from engine.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from engine.losses.focal import dice, tversky

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
        reduction: as in `Loss`.
        wants_indices: as in `Loss`.
    """

    def __init__(
        self,
        compute: Formula,
        gradient: Formula,
        name: str,
        reduction: str | None,
        wants_indices: bool | None,
    ) -> None:
        super().__init__(name, reduction)
        self.compute, self.gradient, self.wants_indices = compute, gradient, wants_indices

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What `compute` gives."""
        return self.compute(y_true, y_pred)

    def resolve(self, indices: bool, outputs: int) -> Loss:
        """The same loss for targets of that form."""
        return HostLoss(self.compute, self.gradient, self.name, self.reduction, indices)

    def lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""
        target = "sparse" if self.wants_indices else "dense"
        return {"kind": "host", "target": target, "reduction": REDUCTIONS[self.reduction]}

    def run(self, batch: Mapping[str, Array], factor: float, output_shape: tuple[int, ...]) -> None:
        """Fill in the losses of `batch` and, for training, the gradient.

        Args:
            batch: what the core calls a host step with.
            factor: of the loss beside the regularisation.
            output_shape: of one sample.
        """
        y_pred = batch["y_pred"].reshape(-1, *(output_shape or (1,))).copy()
        y_true = targets_of(batch, y_pred)
        losses = np.asarray(self.compute(y_true, y_pred))
        weights, counted = weights_of(batch, y_pred), counted_of(batch, y_pred)
        shares, scale = self._shares(losses, weights, counted, y_pred.shape, factor)
        batch["losses"][...] = shares.reshape(-1)
        if not batch["training"]:
            return
        gradient = np.asarray(self.gradient(y_true, y_pred))
        if gradient.shape != y_pred.shape:
            msg = (
                f"the gradient of the loss {self.name!r} must have the shape of `y_pred`, {y_pred.shape}, got "
                f"{gradient.shape}"
            )
            raise ValueError(msg)
        batch["gradient"][...] = (gradient * scale[..., np.newaxis]).reshape(batch["gradient"].shape)

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
            weights = weighed(counted, weights)
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


def for_training(identifier: object) -> Loss:
    """The loss that `compile` is given: by name, class, function, object or config dict.

    Raises:
        ValueError: for an unknown name, or a loss of your own without a gradient.
        TypeError: for anything that cannot stand for a loss.
    """
    identifier = meant(identifier)
    if callable(identifier) and not isinstance(identifier, (type, Loss)):
        try:
            return registry.get(identifier)
        except TypeError:
            name = snake_case(getattr(identifier, "__name__", type(identifier).__name__))
            return HostLoss(identifier, _gradient(identifier, name), name, "sum_over_batch_size", None)
    loss = registry.get(identifier)
    own = type(loss).call is not FunctionLoss.call
    if isinstance(loss, (HostLoss, _Crossentropy)) or not own:
        return loss.on_host() if isinstance(loss, _Overlap) and loss.axis is None else loss
    return HostLoss(loss.call, _gradient(loss, loss.name), loss.name, loss.reduction, loss.wants_indices)


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


@register("ce")
class _Crossentropy(Loss):
    """The crossentropy that suits labels and outputs, as Keras picks it for "crossentropy"."""

    def resolve(self, indices: bool, outputs: int) -> Loss:
        if outputs == 1:
            return BinaryCrossentropy()
        return SparseCategoricalCrossentropy() if indices else CategoricalCrossentropy()


class _Overlap(FunctionLoss, ABC):
    """What Dice and Tversky have in common: over a whole batch, their sums tie the samples together."""

    wants_fractions = True
    axis: int | None

    @abstractmethod
    def factors(self) -> tuple[float, float, float]:
        """alpha, beta and epsilon of Tversky's formula."""

    def parameters(self) -> list[float]:
        """alpha, beta and epsilon."""
        return list(self.factors())

    def on_host(self) -> HostLoss:
        """The same loss for NumPy."""
        return HostLoss(self.call, self.gradient, self.name, self.reduction, False)

    def lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""
        return {**super().lower(), "kind": "tversky"}

    def gradient(self, y_true: ArrayLike, y_pred: ArrayLike) -> Array:
        """Derivative by the predictions of the one loss of a batch; sums run in order, so that bits stay."""
        y, p = (array.astype(float) for array in paired(y_true, y_pred))
        alpha, beta, epsilon = self.factors()
        both, alone, beyond = (np.cumsum(a)[-1] for a in (y * p, y * (1 - p), p * (1 - y)))
        total = both + alpha * alone + beta * beyond + epsilon
        gradient: Array = (y * (1 - alpha) + (1 - y) * beta) * (both / (total * total)) - y / total
        return gradient


@register(function=dice)
class Dice(_Overlap):
    """`1 - 2 * sum(y * p) / (sum(y) + sum(p))`.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        axis: of the sums: -1 for a loss per sample, None for one over the batch.
        dtype: as in `Loss`.
    """

    function = staticmethod(dice)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = None if axis is None else integer(axis, "axis", -(2**31))

    def factors(self) -> tuple[float, float, float]:
        """Those that make it a Tversky loss."""
        return 0.5, 0.5, float(EPSILON) / 2


@register(function=tversky)
class Tversky(_Overlap):
    """`1 - both / (both + alpha * sum(y * (1 - p)) + beta * sum(p * (1 - y)))`, with `both = sum(y * p)`.

    Args:
        alpha: weight of what should be there and isn't.
        beta: weight of what is there and shouldn't be.
        reduction: as in `Loss`.
        name: as in `Loss`.
        axis: of the sums: -1 for a loss per sample, None for one over the batch.
        dtype: as in `Loss`.
    """

    function = staticmethod(tversky)

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha, self.beta = real(alpha, "alpha"), real(beta, "beta")
        self.axis = None if axis is None else integer(axis, "axis", -(2**31))

    def factors(self) -> tuple[float, float, float]:
        """`alpha`, `beta` and Keras' epsilon."""
        return self.alpha, self.beta, float(EPSILON)
