"""How losses of symbols pair targets with predictions, and how the losses of a batch are reduced to one number."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from engine import ops
from engine._base.tensor_like import Number, Tensor
from engine._data import target_shapes
from engine._data.index_ranges import IndexRange
from engine._tracing.symbolic import contains_symbolic
from engine._tracing.trace import TracedArray

_Function = TypeVar("_Function", bound=Callable[..., Any])


def returns_tensors(function: _Function) -> _Function:
    """Decorates a loss function: arrays and numbers that it returns have the methods of tensors, as results of losses have."""

    @functools.wraps(function)
    def computed(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        losses = function(y_true, y_pred, *args, **kwargs)
        if isinstance(losses, np.float32):
            return Number(losses)
        return losses.view(Tensor) if type(losses) is np.ndarray else losses

    return computed  # type: ignore[return-value] # it has the same signature


def _as_float(value: Any) -> Any:
    return ops.cast(value, "float32") if str(getattr(value, "dtype", "")) != "float32" else value


def rank_of(value: Any) -> int:
    """Returns the number of axes."""
    return len(value.shape) if hasattr(value, "shape") else np.ndim(value)


def paired(y_true: Any, y_pred: Any, *, broadcast: bool = False) -> tuple[Any, Any]:
    """Returns targets and predictions as real numbers, with the same number of axes if a last one of length 1 is missing.

    Args:
        y_true: targets.
        y_pred: predictions.
        broadcast: whether an axis of length 1 of one of them may stand for the axis of the other, and one number for all targets.

    Raises:
        ValueError: if the shapes differ otherwise.
    """
    if not contains_symbolic((y_true, y_pred)):
        return target_shapes.paired(y_true, y_pred, broadcast=broadcast)
    target, output = _as_float(y_true), _as_float(y_pred)
    if not hasattr(target, "shape"):
        target = np.asarray(target, np.float32)
    difference = rank_of(target) - rank_of(output)
    if difference == 1 and target.shape[-1] == 1:
        if rank_of(output) == 1:
            output = ops.expand_dims(output, -1)
        else:
            target = ops.squeeze(target, -1)
    elif difference == -1 and output.shape[-1] == 1:
        if rank_of(target) == 1:
            target = ops.expand_dims(target, -1)
        else:
            output = ops.squeeze(output, -1)
    common = target_shapes.shape_of_pairs(tuple(target.shape), tuple(output.shape), broadcast=broadcast)
    return _spread(target, common), _spread(output, common)


def _spread(value: Any, shape: Any) -> Any:
    """Returns a value in a shape to which its axes of length 1 are repeated."""
    return value if tuple(value.shape) == shape else ops.broadcast_to(value, shape)


def labels_like(y_true: Any, y_pred: Any, axis: int = -1, ignored: int | None = None) -> Any:
    """Returns class indices, of which those of arrays are checked, without a last axis of length 1.

    Args:
        y_true: class indices (n, ...) or (n, ..., 1).
        y_pred: a number for each class, (n, ..., classes).
        axis: axis of the classes.
        ignored: an index that is no class, but may come.

    Raises:
        ValueError: for any other shape, or if an entry is no class index.
    """
    labels = y_true if hasattr(y_true, "shape") else np.asarray(y_true)
    if rank_of(labels) == rank_of(y_pred) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    samples = list(y_pred.shape)
    del samples[axis]
    if tuple(labels.shape) != tuple(samples):
        msg = f"`y_true` must have shape {tuple(samples)}, one class index per sample, got {tuple(labels.shape)}"
        raise ValueError(msg)
    limits = IndexRange(y_pred.shape[axis], "`y_true` must hold class indices", ignored)
    if isinstance(labels, TracedArray):
        labels.trace.require(labels, limits)
    elif isinstance(labels, np.ndarray):
        limits.check(labels)
    return labels


def mask_like(mask: Any, losses: Any) -> Any:
    """Returns the mask of predictions as float32 with one number for each loss: the share of its timesteps that are kept.

    Args:
        mask: True for each timestep to keep, (n, ...); an array or a symbol.
        losses: of at least one axis, which begin with those of the mask, or the other way round.

    Raises:
        ValueError: for losses of another shape.
    """
    common = min(rank_of(mask), rank_of(losses))
    if tuple(mask.shape)[:common] != tuple(losses.shape)[:common]:
        msg = (
            f"the mask of `y_pred` has one value for each of {tuple(mask.shape)} timesteps, but the losses have the shape "
            f"{tuple(losses.shape)}: return one loss for each timestep or sample"
        )
        raise ValueError(msg)
    weights = ops.cast(mask, "float32")
    if rank_of(weights) > common:
        weights = ops.mean(weights, axis=tuple(range(common, rank_of(weights))))
    while rank_of(weights) < rank_of(losses):
        weights = ops.expand_dims(weights, -1)
    return weights if tuple(weights.shape) == tuple(losses.shape) else ops.broadcast_to(weights, losses.shape)


def reduced(
    losses: Any, sample_weight: Any, reduction: str | None, counted_rows: Any = None, mask: Any = None
) -> Any:
    """Returns the loss of a batch.

    Args:
        losses: symbols, one for each sample or row.
        sample_weight: weights; None is 1.
        reduction: as in `Loss`.
        counted_rows: 1 for each loss that a mean counts, else 0; None counts all.
        mask: of the predictions; None keeps all.
    """
    if mask is not None and rank_of(losses):
        mask_fractions = mask_like(mask, losses)
        losses, counted_rows = (
            losses * mask_fractions,
            mask_fractions if counted_rows is None else counted_rows * mask_fractions,
        )
    weights: Any = None if sample_weight is None else _as_float(sample_weight)
    weights_given: Any = None
    if weights is not None:
        if not hasattr(weights, "shape"):
            weights = np.asarray(weights, np.float32)
        weights_given = weights
        if rank_of(weights) == rank_of(losses) + 1 and weights.shape[-1] == 1:
            if rank_of(losses) == 1:  # as in Keras, which keeps the last axis of weights (n, 1)
                losses = ops.expand_dims(losses, -1)
                counted_rows = None if counted_rows is None else ops.expand_dims(counted_rows, -1)
            else:
                weights = ops.squeeze(weights, -1)
        while rank_of(weights) < rank_of(losses):
            weights = ops.expand_dims(weights, -1)
        losses = losses * weights
    if reduction in (None, "none") or not rank_of(losses):
        return losses
    if reduction == "sum":
        return ops.sum(losses)
    if reduction == "mean_with_sample_weight" and weights is not None:
        if (
            set(weights_given.shape) <= {1} and counted_rows is None
        ):  # as in Keras, one weight for all is added once
            return ops.divide_no_nan(ops.sum(losses), ops.sum(weights_given))
        counted = (
            ops.broadcast_to(weights, losses.shape)
            if tuple(weights.shape) != tuple(losses.shape)
            else weights
        )
        counted = counted if counted_rows is None else counted * counted_rows
        return ops.divide_no_nan(ops.sum(losses), ops.sum(counted))
    if counted_rows is not None:
        return ops.divide_no_nan(ops.sum(losses), ops.sum(counted_rows))
    return ops.mean(losses)
