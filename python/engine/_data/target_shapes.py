"""Targets of losses and metrics that are called by hand: brought into the shape of the predictions, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base import checks

# As losses compute with it.
EPSILON = np.float32(checks.EPSILON)


def like_predictions(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.float32]:
    """`y_true` as float32 in the shape of `predictions`; an axis of length 1 at the end may be missing.

    Raises:
        ValueError: if the shapes differ otherwise.
    """
    targets = np.asarray(y_true, np.float32)
    longer, shorter = sorted((targets.shape, predictions.shape), key=len, reverse=True)
    if longer not in (shorter, (*shorter, 1)):
        msg = f"`y_true` must have the shape of `y_pred`, {predictions.shape}, got {targets.shape}"
        raise ValueError(msg)
    return targets.reshape(predictions.shape)


def paired(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets and predictions as float32 of one shape, the longer of the two.

    Raises:
        ValueError: if they differ by more than an axis of length 1 at the end.
    """
    predictions, targets = np.asarray(y_pred, np.float32), np.asarray(y_true, np.float32)
    if targets.ndim > predictions.ndim:
        predictions = predictions[..., np.newaxis]
    return like_predictions(targets, predictions), predictions


def class_indices_like(y_true: ArrayLike, predictions: NDArray[Any]) -> NDArray[np.intp]:
    """`y_true` (n, ...) or (n, ..., 1) as class indices for `predictions` (n, ..., classes).

    Raises:
        ValueError: if the shape is another, or an entry is no index of a class.
    """
    labels = np.asarray(y_true)
    samples, classes = predictions.shape[:-1], predictions.shape[-1]
    if labels.shape not in (samples, (*samples, 1)):
        msg = f"`y_true` must have shape {samples}, one class index per sample, got {labels.shape}"
        raise ValueError(msg)
    labels = labels.reshape(samples)
    wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        msg = f"`y_true` must hold class indices in [0, {classes}), got {labels[wrong].flat[0]}"
        raise ValueError(msg)
    return labels.astype(np.intp)


def weights_like(sample_weight: ArrayLike | None, values: NDArray[Any]) -> NDArray[np.float64]:
    """`sample_weight` (n,), (n, 1) or (n, ...) in the shape of `values` (n, ...); ones for None.

    One value for a whole batch takes weights of any shape, as they are.

    Raises:
        ValueError: if there is not one weight per sample, or per value.
    """
    if sample_weight is None:
        return np.ones(values.shape)
    weights = np.asarray(sample_weight, np.float64)
    if values.ndim == 0:
        return weights
    if weights.shape in (values.shape, (*values.shape, 1)):
        return weights.reshape(values.shape)
    if weights.size == 1 or (values.ndim > 1 and weights.shape in (values.shape[:1], (len(values), 1))):
        return np.broadcast_to(weights.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
    msg = f"`sample_weight` must have shape {values.shape}, got {weights.shape}"
    raise ValueError(msg)


def aligned(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and predictions (n, ..., 1) with as many axes, as Keras brings them there for functions.

    Targets (n,) become (n, 1); to those with more axes the predictions are fitted, which lose their last.
    """
    if y_true.ndim != y_pred.ndim - 1 or y_pred.shape[-1] != 1:
        return y_true, y_pred
    return (y_true[:, np.newaxis], y_pred) if y_true.ndim == 1 else (y_true, y_pred[..., 0])
