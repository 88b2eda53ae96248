"""The losses as formulas of `engine.ops`: what the loss functions record when they are called with symbols."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from engine import ops
from engine._base.tensor_like import Number, Tensor
from engine._data.index_ranges import IndexRange
from engine._data.target_shapes import EPSILON
from engine._tracing.symbolic import contains_symbolic
from engine._tracing.trace import TracedArray

_Function = TypeVar("_Function", bound=Callable[..., Any])
_SMALLEST = float(EPSILON)


def recordable(formula: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Decorates a loss function of arrays, which computes `formula` if targets or predictions are symbols.

    Arrays and numbers that it returns have the methods of tensors, as results of losses have.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def computed_or_recorded(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
            if contains_symbolic((y_true, y_pred)):
                return formula(y_true, y_pred, *args, **kwargs)
            losses = function(y_true, y_pred, *args, **kwargs)
            if isinstance(losses, np.float32):
                return Number(losses)
            return losses.view(Tensor) if type(losses) is np.ndarray else losses

        return computed_or_recorded  # type: ignore[return-value] # it has the same signature

    return decorate


def symbols(y_true: Any, y_pred: Any) -> bool:
    """Returns whether one of the two is a symbol."""
    return contains_symbolic((y_true, y_pred))


def _as_float(value: Any) -> Any:
    return ops.cast(value, "float32") if str(getattr(value, "dtype", "")) != "float32" else value


def rank_of(value: Any) -> int:
    """Returns the number of axes."""
    return len(value.shape) if hasattr(value, "shape") else np.ndim(value)


def paired_symbols(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Returns targets and predictions as real numbers, with the same number of axes if a last one of length 1 is missing."""
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
    if (
        isinstance(target, TracedArray | np.ndarray)
        and isinstance(output, TracedArray)
        and tuple(target.shape) not in ((), tuple(output.shape))
    ):
        msg = f"`y_true` must have the shape of `y_pred`, {output.shape}, got {tuple(target.shape)}"
        raise ValueError(msg)
    return target, output


def squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of the squares of the differences."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(ops.square(target - output), axis=-1)


def absolute_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of the differences without their sign."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(ops.abs(target - output), axis=-1)


def absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """Returns the absolute error in percent of the targets."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(ops.abs((target - output) / ops.maximum(ops.abs(target), _SMALLEST)), axis=-1) * 100.0


def squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of the squares of the differences of logarithms."""
    target, output = paired_symbols(y_true, y_pred)
    first, second = (ops.log(ops.maximum(array, _SMALLEST) + 1.0) for array in (target, output))
    return ops.mean(ops.square(first - second), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Squares of small differences, and multiples of large ones."""
    target, output = paired_symbols(y_true, y_pred)
    error = ops.abs(target - output)
    return ops.mean(
        ops.where(error <= delta, error * error * 0.5, error * delta - 0.5 * delta * delta), axis=-1
    )


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """The mean of the logarithms of the hyperbolic cosines of the differences."""
    target, output = paired_symbols(y_true, y_pred)
    error = output - target
    return ops.mean(error + ops.softplus(error * -2.0) - float(np.log(2.0)), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The negative cosine of the angle between targets and predictions."""
    target, output = paired_symbols(y_true, y_pred)
    return -ops.sum(ops.normalize(target, axis=axis) * ops.normalize(output, axis=axis), axis=axis)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """The Kullback-Leibler divergence of two distributions."""
    target, output = (ops.clip(array, _SMALLEST, 1.0) for array in paired_symbols(y_true, y_pred))
    return ops.sum(target * ops.log(target / output), axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Any:
    """The mean of `y_pred - y_true * log(y_pred)`."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(output - target * ops.log(output + _SMALLEST), axis=-1)


def _signs(target: Any) -> Any:
    """Returns targets as -1 and 1, if all of them are 0 or 1."""
    if isinstance(target, np.ndarray):
        return target * 2.0 - 1.0 if np.isin(target, (0, 1)).all() else target
    binary = ops.all(ops.logical_or(ops.equal(target, 0.0), ops.equal(target, 1.0)))
    return ops.where(binary, target * 2.0 - 1.0, target)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of what is missing to the margin."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(ops.maximum(1.0 - _signs(target) * output, 0.0), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of the squares of what is missing to the margin."""
    target, output = paired_symbols(y_true, y_pred)
    return ops.mean(ops.square(ops.maximum(1.0 - _signs(target) * output, 0.0)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """Returns by how much the score of the class misses a margin of 1 above all other scores."""
    target, output = paired_symbols(y_true, y_pred)
    of_class, other = ops.sum(target * output, axis=-1), ops.max((1.0 - target) * output, axis=-1)
    return ops.maximum(other - of_class + 1.0, 0.0)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """The mean of the crossentropies of single outputs."""
    target, output = paired_symbols(y_true, y_pred)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return ops.mean(ops.binary_crossentropy(target, output, from_logits=from_logits), axis=axis)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """The crossentropy of distributions over classes."""
    target, output = paired_symbols(y_true, y_pred)
    target = _smoothed(target, label_smoothing)
    return ops.categorical_crossentropy(target, output, from_logits=from_logits, axis=axis)


def _smoothed(target: Any, label_smoothing: float) -> Any:
    if not label_smoothing:
        return target
    return target * (1.0 - label_smoothing) + label_smoothing / target.shape[-1]


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """The crossentropy of class indices."""
    labels = y_true if hasattr(y_true, "shape") else np.asarray(y_true)
    if rank_of(labels) == rank_of(y_pred) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    limits = IndexRange(y_pred.shape[axis], "`y_true` must hold class indices", ignore_class)
    if isinstance(labels, TracedArray):
        labels.trace.require(labels, limits)
    elif isinstance(labels, np.ndarray):
        limits.check(labels)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=from_logits, axis=axis)
    counted = ops.not_equal(labels, ignore_class)
    labels_or_zero = ops.where(counted, labels, 0)
    losses = ops.sparse_categorical_crossentropy(labels_or_zero, y_pred, from_logits=from_logits, axis=axis)
    return ops.where(counted, losses, 0.0)


def generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """`(1 - p**q) / q` for the probability p of the class."""
    labels = y_true if hasattr(y_true, "shape") else np.asarray(y_true)
    if rank_of(labels) == rank_of(y_pred) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    share_of_class = ops.squeeze(ops.take_along_axis(y_pred, ops.expand_dims(labels, -1), axis=-1), -1)
    return (1.0 - ops.power(share_of_class, q)) / q


def binary_focal_crossentropy(  # noqa: PLR0917 # Keras' signature
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Crossentropies of single outputs, smaller for those that are right."""
    target, output = paired_symbols(y_true, y_pred)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    probability = ops.sigmoid(output) if from_logits else output
    right = target * probability + (1.0 - target) * (1.0 - probability)
    losses = ops.power(1.0 - right, gamma) * ops.binary_crossentropy(target, output, from_logits=from_logits)
    if apply_class_balancing:
        losses = (target * alpha + (1.0 - target) * (1.0 - alpha)) * losses
    return ops.mean(losses, axis=axis)


def categorical_focal_crossentropy(  # noqa: PLR0917 # Keras' signature
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """The crossentropy of classes, smaller for those that are right."""
    target, output = paired_symbols(y_true, y_pred)
    target = _smoothed(target, label_smoothing)
    if from_logits:
        output = ops.softmax(output, axis=axis)
    probability = ops.clip(output / ops.sum(output, axis=axis, keepdims=True), _SMALLEST, 1.0 - _SMALLEST)
    return ops.sum(-(target * ops.log(probability)) * ops.power(1.0 - probability, gamma) * alpha, axis=axis)


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 minus twice what both have in common, as a part of both."""
    target, output = paired_symbols(y_true, y_pred)
    overlap = ops.sum(target * output, axis=axis)
    all_ = ops.sum(target, axis=axis) + ops.sum(output, axis=axis)
    return 1.0 - overlap * 2.0 / (all_ + _SMALLEST)


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Any:
    """Returns the Dice loss with weights `alpha` and `beta` of the two kinds of mistakes."""
    target, output = paired_symbols(y_true, y_pred)
    overlap = ops.sum(target * output, axis=axis)
    missed, wrong = ops.sum((1.0 - output) * target, axis=axis), ops.sum(output * (1.0 - target), axis=axis)
    return 1.0 - overlap / (overlap + missed * alpha + wrong * beta + _SMALLEST)


def circle(  # noqa: PLR0917 # Keras' signature
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """Distances within a class and to other classes."""
    labels = ops.reshape(y_true, (-1,))
    reference_labels = labels if ref_labels is None else ops.reshape(ref_labels, (-1,))
    references = y_pred if ref_embeddings is None else ref_embeddings
    distances = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(references)), 0.0)
    alike = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(reference_labels, 0))
    other = ops.logical_not(alike)
    if remove_diagonal:
        rows, columns = y_pred.shape[0], references.shape[0]
        same = ops.equal(ops.expand_dims(ops.arange(rows), 1), ops.expand_dims(ops.arange(columns), 0))
        alike = ops.logical_and(alike, ops.logical_not(same))
    none = -1e30
    near = (distances + margin) * (distances - margin)
    far = (1.0 + margin - distances) * (1.0 - margin - distances)
    of_alike = ops.logsumexp(ops.where(alike, near * gamma, none), axis=1)
    of_other = ops.logsumexp(ops.where(other, far * gamma, none), axis=1)
    total = of_alike + of_other
    return ops.where(total < none / 2.0, 0.0, ops.softplus(ops.maximum(total, none / 2.0)))


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
