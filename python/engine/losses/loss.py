"""The base classes of losses, and how formulas of the core are evaluated on arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import ops
from engine._base.checks import LOWEST, float32_only, integer, require
from engine._base.registered_objects import is_of_engine
from engine._base.spec import Registry, Spec, snake_case
from engine._base.tensor_like import Number, Tensor, mask_of
from engine._core_interface.cpp import Float32, row_values
from engine._data.target_shapes import weights_like
from engine._tracing.core_formulas import recorded_loss
from engine._tracing.errors import CannotRecordError
from engine._tracing.symbolic import apply, contains_symbolic, is_symbolic
from engine._tracing.trace import TracedArray
from engine.losses import reductions

REDUCTIONS: dict[str | None, str] = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "weighted_mean",
    "sum": "sum",
    "none": "mean",
    None: "mean",
}
"""Keras' names of reductions, and the core's. Models use the mean for losses without a reduction."""


Formula = Mapping[str, Any]
"""A loss, or a metric that is a mean over rows, with its constants, as the core reads it."""

_CHUNK = 1024
"""Outputs per row when a mean of many outputs is evaluated: float32 sums of longer rows lose digits."""


def last_axis(axis: object) -> int:
    """Returns `axis` as an int. Whether it is the last axis is checked once the shape of the outputs is known."""
    return integer(axis, "axis", LOWEST)


def formula(
    kind: str, *parameters: float, from_logits: bool = False, label_smoothing: float = 0.0
) -> dict[str, Any]:
    """Returns a loss as the core reads it.

    Args:
        kind: the core's name of the loss.
        *parameters: its constants, in the order of the core.
        from_logits: whether predictions are logits.
        label_smoothing: fraction of each label that is spread evenly.
    """
    return {
        "kind": kind,
        "from_logits": bool(from_logits),
        "label_smoothing": float(label_smoothing),
        "parameters": [float(parameter) for parameter in parameters],
    }


def evaluate_rows(
    formula: Formula,
    targets: NDArray[Any],
    predictions: Float32,
    axis: int = -1,
) -> Float32:
    """Evaluates a formula of the core for each row of outputs, or records it for symbols.

    Args:
        formula: the loss or metric, as the core reads it.
        targets: float32 in the shape of `predictions`, or class indices in this shape without `axis`.
        predictions: float32 (n, ..., outputs).
        axis: axis of the outputs.

    Returns:
        float32 in the shape of `predictions` without `axis`.
    """
    if contains_symbolic((targets, predictions)):
        symbol: Float32 = recorded_loss(formula, targets, predictions, axis)
        return symbol
    sparse = targets.ndim < predictions.ndim
    rows = np.moveaxis(predictions, axis, -1)
    if not rows.size:
        return np.full(rows.shape[:-1], np.nan, np.float32)
    flat = np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])
    if sparse:
        truth: NDArray[Any] = np.ascontiguousarray(targets, np.int32).reshape(-1)
    else:
        truth = np.ascontiguousarray(np.moveaxis(targets, axis, -1), np.float32).reshape(flat.shape)
    return row_values(formula, flat, truth).reshape(rows.shape[:-1])[()]


def mean_by_rows(formula: Formula, targets: Float32, predictions: Float32, axis: int = -1) -> Float32:
    """Evaluates a formula that is a mean over outputs. Long rows are evaluated in parts.

    The arguments are those of `evaluate_rows`; targets have the shape of `predictions`.
    """
    if contains_symbolic((targets, predictions)):
        return evaluate_rows(formula, targets, predictions, axis)
    targets, predictions = np.moveaxis(targets, axis, -1), np.moveaxis(predictions, axis, -1)
    width = predictions.shape[-1]
    if width <= _CHUNK:
        return evaluate_rows(formula, targets, predictions)
    total = np.zeros(predictions.shape[:-1])
    for begin in range(0, width, _CHUNK):
        part = slice(begin, min(begin + _CHUNK, width))
        means = evaluate_rows(formula, targets[..., part], predictions[..., part])
        total += means.astype(np.float64) * (part.stop - part.start)
    return np.asarray(total / width, np.float32)[()]


def written_by_user(gradient: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any] | None:
    """Returns a gradient that a user wrote, and None instead of one of this package."""
    return None if gradient is None or is_of_engine(gradient) else gradient


def _array_of(value: Any) -> Any:
    """Returns lists of numbers as an array, float32 where they are no integers, and anything else as it is."""
    if not isinstance(value, (list, tuple)) or contains_symbolic(value):
        return value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


class Loss(Spec):
    """Base class of all losses. Custom losses override `call`.

    `call` is run once with symbols and recorded, so that the core computes and differentiates it. If it needs numbers, such as
    for a branch on values, training needs a method `gradient` as well, and Python computes the loss of every batch. A class that
    overrides `__call__` reduces the losses itself: what a call returns is the loss of a batch.

    Args:
        name: name of the loss; default the name of the class.
        reduction: how the losses of samples are combined. "sum_over_batch_size" and "mean" divide the sum of
            `weight * loss` by the number of samples, "mean_with_sample_weight" divides it by the sum of the
            weights, "sum" returns the sum, and "none" or None returns one loss per sample.
        dtype: None or "float32".

    Example:
        >>> import numpy as np
        >>> from engine import losses
        >>> class Quartic(losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return np.mean((y_pred - y_true) ** 4, axis=-1)
        >>> Quartic()(np.zeros((2, 1)), np.ones((2, 1)))
        1.0
    """

    _unsaved_arguments: ClassVar[tuple[str, ...]] = ("dtype",)
    _targets_are_indices: bool | None = None
    """Whether targets are class indices (n,) rather than one number per output; None if both are possible."""
    _wants_classes: ClassVar[bool] = False
    """Whether the outputs are scores of mutually exclusive classes."""
    _wants_fractions: ClassVar[bool] = False
    """Whether targets must lie in [0, 1]."""
    _wants_signs: ClassVar[bool] = False
    """Whether targets must be -1 and 1, or 0 and 1."""
    _broadcasts: ClassVar[bool] = False
    """Whether one target may stand for all outputs of a row, since outputs are compared one by one."""
    _ignored_class: int | None = None
    """Class index of the samples that are ignored."""

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: object = None,
    ) -> None:
        require(str, name, "name", "a string")
        self.name = name or snake_case(type(self).__name__)
        if reduction not in REDUCTIONS:
            msg = f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}"
            raise ValueError(msg)
        self.reduction = reduction
        self.dtype = float32_only(dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, (n,). `y_true` and `y_pred` are float32 (n, outputs)."""
        msg = (
            f"{type(self).__name__} has no `call`: give it `def call(self, y_true, y_pred)`, which returns the "
            "loss of each sample"
        )
        raise NotImplementedError(msg)

    def _in_training(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the losses for training, of a loss that NumPy computes: what `call` returns, unless a class says else."""
        return self.call(y_true, y_pred)

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Returns the loss of a batch, reduced as `reduction` says.

        Args:
            y_true: targets (n, outputs), or class indices (n,) for sparse losses.
            y_pred: predictions (n, outputs). If they are outputs of a layer or a model with a mask, a mean is that over the
                timesteps that are kept.
            sample_weight: weights (n,), or (n, ...) if there is a loss for each timestep; default 1. A loss with one
                value for the batch takes any shape.

        Returns:
            A Python float, or a recorded array while a gradient tape is recording; without reduction a float32 array (n, ...), or (n, 1) if the weights are (n, 1).
        """
        y_true, y_pred, mask = _array_of(y_true), _array_of(y_pred), mask_of(y_pred)
        losses_recorded = self._recorded(y_true, y_pred)
        if contains_symbolic(losses_recorded):
            return reductions.reduced(
                losses_recorded,
                sample_weight,
                self.reduction,
                self._counted_rows(y_true, losses_recorded),
                mask,
            )
        losses = np.asarray(losses_recorded, np.float32)
        weights = weights_like(sample_weight, losses)
        mean_mask, all_count = self._mean_mask(y_true, losses), mask is None and self._ignored_class is None
        if mask is not None and losses.ndim:
            mask_fractions = np.asarray(reductions.mask_like(mask, losses))
            losses, mean_mask = losses * mask_fractions, mean_mask * mask_fractions
        weighted = losses.astype(np.float64) * weights
        if REDUCTIONS[self.reduction] == "sum":
            return Number(np.sum(weighted))
        if self.reduction in ("none", None):
            # Keras keeps the last axis of weights (n, 1).
            column = np.asarray(sample_weight).shape == (*losses.shape, 1) and losses.ndim == 1
            return weighted.astype(np.float32).reshape((*weighted.shape, *[1] * column)).view(Tensor)
        if self.reduction != "mean_with_sample_weight":
            divisor = np.sum(np.broadcast_to(mean_mask, weighted.shape))
        elif sample_weight is not None and np.size(sample_weight) == 1 and all_count:
            divisor = np.float64(np.sum(np.asarray(sample_weight)))  # as in Keras, one for all is added once
        else:
            divisor = np.sum(np.broadcast_to(mean_mask, weighted.shape) * weights)
        return Number(np.sum(weighted) / divisor if divisor else 0.0)

    @property
    def _user_gradient(self) -> Callable[[Any, Any], Any] | None:
        """The gradient of each loss with respect to its predictions, if a user wrote one. Tapes derive the classes' here."""
        return written_by_user(getattr(self, "gradient", None))

    def _recorded(self, y_true: Any, y_pred: Any) -> Any:
        """Returns what `call` returns; for predictions that a tape records, with the gradient that a user wrote.

        Raises:
            TypeError: if this gradient can't be recorded.
            ValueError: if it doesn't have the shape of the predictions.
        """
        gradient = self._user_gradient
        recorded = isinstance(y_pred, (TracedArray, np.ndarray)) and is_symbolic(y_pred)
        if gradient is None or not recorded:
            return self.call(y_true, y_pred)

        def called(predicted: Any) -> tuple[Any, Callable[[Any], Any]]:
            def rule(upstream: Any) -> Any:
                slopes, shape = gradient(y_true, predicted), tuple(predicted.shape)
                if tuple(np.shape(slopes)) != shape:
                    msg = (
                        f"the gradient of the loss {self.name!r} must have the shape of `y_pred`, {shape}, got "
                        f"{tuple(np.shape(slopes))}"
                    )
                    raise ValueError(msg)
                axes = [1] * (len(shape) - len(upstream.shape))  # of a row of outputs with one loss
                return slopes * ops.reshape(upstream, (*upstream.shape, *axes))

            return self.call(y_true, predicted), rule

        try:
            return apply("custom_gradient", (called, (y_pred,), {}), {})
        except CannotRecordError as error:
            if isinstance(error.__cause__, ValueError):
                raise error.__cause__ from None
            msg = f"a gradient tape can't record the loss {self.name!r}, whose `gradient` is written by hand: {error}"
            raise TypeError(msg) from error

    def _counted_rows(self, y_true: Any, losses: Any) -> Any:
        """Returns 1 for each loss that a mean counts, else 0, for symbols; None counts all."""
        if self._ignored_class is None:
            return None
        return ops.cast(ops.not_equal(ops.reshape(y_true, losses.shape), self._ignored_class), "float32")

    def _mean_mask(self, y_true: ArrayLike, losses: Float32) -> NDArray[np.float64]:
        """Returns 1 for each sample that a mean counts, else 0, (n,)."""
        if self._ignored_class is None:
            return np.ones(losses.shape)
        return np.asarray(np.reshape(y_true, losses.shape) != self._ignored_class, np.float64)

    @property
    def _must_be_wrapped(self) -> bool:
        """Whether the core doesn't know the loss, so that training wraps it in a `HostLoss`, by which NumPy computes it."""
        return True

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """Returns the loss to compute, given whether targets are class indices, and the number of outputs."""
        return self

    @abstractmethod
    def _lower(self) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile`."""


class FunctionLoss(Loss):
    """A loss that the core computes: it belongs to a function of this package, whose options are its arguments.

    Args:
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _function: ClassVar[Callable[..., Float32]]
    """The function of targets, predictions and the options of the class, which `register` sets."""
    _kind: ClassVar[str]
    """The core's name of the loss."""
    _targets_are_indices = False

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    @property
    def _must_be_wrapped(self) -> bool:
        """Whether a subclass of the user has a formula of its own."""
        return type(self).call is not FunctionLoss.call

    def call(self, y_true: Any, y_pred: Any) -> Float32:
        """Returns the loss of each sample."""
        return type(self)._function(y_true, y_pred, **self._options())

    def _lower(self) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile`."""
        ignored = {} if self._ignored_class is None else {"ignored": self._ignored_class}
        return {**self._formula(), "reduction": REDUCTIONS[self.reduction], **ignored}

    def _formula(self) -> dict[str, Any]:
        """Returns the formula of one row with its constants."""
        return formula(self._kind)

    def _options(self) -> dict[str, Any]:
        """Returns the arguments of the function after targets and predictions."""
        return {
            option: value
            for option, value in self.get_config().items()
            if option not in ("name", "reduction")
        }


class BatchLoss(Loss):
    """A loss that NumPy computes for a whole batch at once, because the loss of a sample depends on other samples.

    Args:
        name: name of the loss, as in `Loss`.
        reduction: how to combine the losses of samples, as in `Loss`.
        dtype: None or "float32".
    """

    @abstractmethod
    def _gradient_of_sum(self, y_true: Any, y_pred: Any, factors: NDArray[Any]) -> NDArray[Any]:
        """Returns the gradient of `sum(factors * losses)` with respect to `y_pred`, in its shape; `factors` is (n,)."""

    def gradient(self, y_true: Any, y_pred: Any) -> NDArray[Any]:
        """Returns the gradient of the sum of all losses with respect to the predictions, in the shape of `y_pred`."""
        return self._gradient_of_sum(y_true, y_pred, np.ones(len(y_pred)))

    def _lower(self) -> dict[str, Any]:
        """Raises NotImplementedError, as the core has no formula for it."""
        raise NotImplementedError


registry: Registry[Loss] = Registry("loss", Loss)
L = TypeVar("L", bound=Loss)


def register(*aliases: str, function: Callable[..., Float32] | None = None) -> Callable[[type[L]], type[L]]:
    """Decorates a class of losses to be found by its name, by `aliases` and by its `function`, which it computes."""

    def add(cls: type[L]) -> type[L]:
        if function is not None:
            vars_of_class: Any = cls
            vars_of_class._function = staticmethod(function)
        registry.register(*aliases, function=function)(cls)
        return cls

    return add
