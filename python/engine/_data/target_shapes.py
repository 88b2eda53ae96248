"""Brings targets and sample weights into the shape of predictions, or says which shape was expected.

Losses and metrics use this when a script calls them with arrays, as in `loss(y_true, y_pred)`. For the targets of `fit`
and `evaluate` see `checked_samples`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base import checks
from engine._base.checks import Shape

# The same number in the dtype of losses.
EPSILON = np.float32(checks.EPSILON)


def like_predictions(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """Returns `y_true` as float32 in the shape of `predictions`. A last axis of length 1 may be missing or too many.

    Raises:
        ValueError: if the shapes differ otherwise.
    """
    targets = np.asarray(y_true, np.float32)
    longer, shorter = sorted((targets.shape, predictions.shape), key=len, reverse=True)
    if longer not in (shorter, (*shorter, 1)):
        msg = f"`y_true` must have the shape of `y_pred`, {predictions.shape}, got {targets.shape}"
        raise ValueError(msg)
    return targets.reshape(predictions.shape)


def paired(
    y_true: ArrayLike, y_pred: ArrayLike, *, broadcast: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns targets and predictions as float32 of one shape.

    As in Keras, a last axis of length 1 that only one of them has is removed, unless the other one is a vector (n,),
    which becomes (n, 1).

    Args:
        y_true: targets.
        y_pred: predictions.
        broadcast: whether an axis of length 1 may stand for the axis of any length that the other one has, and one
            number for all targets.

    Raises:
        ValueError: if the shapes differ otherwise.
    """
    predictions, targets = np.asarray(y_pred, np.float32), np.asarray(y_true, np.float32)
    if targets.ndim == predictions.ndim + 1 and targets.shape[-1] == 1:
        targets, predictions = _with_equal_ranks(targets, predictions)
    elif predictions.ndim == targets.ndim + 1 and predictions.shape[-1] == 1:
        predictions, targets = _with_equal_ranks(predictions, targets)
    common = shape_of_pairs(targets.shape, predictions.shape, broadcast=broadcast)
    targets, predictions = (
        array if array.shape == common else np.broadcast_to(array, common) for array in (targets, predictions)
    )
    return targets, predictions


def shape_of_pairs(targets: Shape, predictions: Shape, *, broadcast: bool = False) -> Shape:
    """Returns the shape in which targets and predictions are compared, number by number.

    Args:
        targets: the shape of the targets. A last axis of length 1 that only one of both has is left out already.
        predictions: the shape of the predictions. An unknown length in it, None, is that of the targets if these have None there.
        broadcast: as for `paired`.

    Raises:
        ValueError: if the shapes differ.
    """
    if targets == predictions or (broadcast and not targets):
        return predictions
    pairs = list(zip(targets, predictions, strict=False))
    if (
        not broadcast
        or len(targets) != len(predictions)
        or any(1 not in pair and len({*pair}) > 1 for pair in pairs)
    ):
        msg = f"`y_true` must have the shape of `y_pred`, {predictions}, got {targets}"
        raise ValueError(msg)
    return tuple(length if other == 1 else other for length, other in pairs)


def _with_equal_ranks(
    longer: NDArray[np.float32], shorter: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns both arrays with the same number of axes; `longer` is (..., 1) and has one more than `shorter`."""
    return (longer, shorter[..., np.newaxis]) if shorter.ndim == 1 else (longer[..., 0], shorter)


def class_indices_like(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.intp]:
    """Returns `y_true`, (n, ...) or (n, ..., 1), as class indices for `predictions` (n, ..., classes).

    Raises:
        ValueError: for any other shape, or if an entry is no class index.
    """
    labels = np.asarray(y_true)
    samples, classes = predictions.shape[:-1], predictions.shape[-1]
    if labels.shape not in (samples, (*samples, 1)):
        msg = f"`y_true` must have shape {samples}, one class index per sample, got {labels.shape}"
        raise ValueError(msg)
    labels = labels.reshape(samples)
    wrong = ~((labels >= 0) & (labels < classes))
    if labels.dtype.kind not in "biu":
        wrong |= labels != np.floor(labels)
    if wrong.any():
        msg = f"`y_true` must hold class indices in [0, {classes}), got {labels[wrong].flat[0]}"
        raise ValueError(msg)
    return labels.astype(np.intp)


def weights_like(sample_weight: ArrayLike | None, values: NDArray[Any]) -> NDArray[np.float64]:
    """Returns `sample_weight`, (n,), (n, 1), (1, n) or (n, ...), in the shape of `values` (n, ...); ones for None.

    If `values` is a single number, one for the whole batch, weights of any shape are returned as they are.

    Raises:
        ValueError: if there is not one weight per sample, or per value.
    """
    if sample_weight is None:
        return np.ones(values.shape)
    weights = np.asarray(sample_weight, np.float64)
    if values.ndim == 0:
        return weights
    if weights.shape in (values.shape, (*values.shape, 1), (1, *values.shape)):
        return weights.reshape(values.shape)
    if weights.size == 1 or (values.ndim > 1 and weights.shape in (values.shape[:1], (len(values), 1))):
        return np.broadcast_to(weights.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    msg = f"`sample_weight` must have shape {values.shape}, got {weights.shape}"
    raise ValueError(msg)


def aligned(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns targets and predictions with the same number of axes, as Keras does before it calls a loss function.

    Only predictions (n, ..., 1) for targets without the last axis are changed. Targets (n,) become (n, 1); if the targets
    have more axes, the predictions lose their last one instead.
    """
    if y_true.ndim != y_pred.ndim - 1 or y_pred.shape[-1] != 1:
        return y_true, y_pred
    return (y_true[:, np.newaxis], y_pred) if y_true.ndim == 1 else (y_true, y_pred[..., 0])
