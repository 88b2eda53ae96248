"""Hinges: losses that are zero once a prediction is far enough on its target's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from engine._base.cpp import Float32
from engine._data.target_shapes import paired
from engine.losses.base import FunctionLoss, register


def hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the hinge loss per sample: `mean(max(1 - y_true * y_pred, 0))`.

    Args:
        y_true: targets -1 or 1, (n, outputs). If all are 0 or 1, 0 is converted to -1.
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    means: Float32 = np.mean(_margins(y_true, y_pred), axis=-1, dtype=np.float32)
    return means


def squared_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the squared hinge loss per sample: `mean(max(1 - y_true * y_pred, 0)**2)`.

    Args:
        y_true: targets -1 or 1, (n, outputs). If all are 0 or 1, 0 is converted to -1.
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    means: Float32 = np.mean(np.square(_margins(y_true, y_pred)), axis=-1, dtype=np.float32)
    return means


def categorical_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the categorical hinge loss per sample.

    The loss is `max(max((1 - y_true) * y_pred) - sum(y_true * y_pred) + 1, 0)`.

    Args:
        y_true: one-hot labels (n, classes).
        y_pred: predictions (n, classes).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    own = np.sum(target * prediction, axis=-1)
    rival = np.max((1 - target) * prediction, axis=-1)
    losses: Float32 = np.maximum(rival - own + np.float32(1), np.float32(0))
    return losses


def _margins(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    target, prediction = paired(y_true, y_pred)
    if np.all((target == 0) | (target == 1)):
        target = 2 * target - 1
    margins: Float32 = np.maximum(1 - target * prediction, np.float32(0))
    return margins


@register(function=hinge)
class Hinge(FunctionLoss):
    """Hinge loss, `mean(max(1 - y * p, 0))`, for targets -1 and 1, or 0 and 1."""

    _function = staticmethod(hinge)
    _wants_signs = True


@register(function=squared_hinge)
class SquaredHinge(FunctionLoss):
    """Squared hinge loss, `mean(max(1 - y * p, 0)**2)`, for targets -1 and 1, or 0 and 1."""

    _function = staticmethod(squared_hinge)
    _wants_signs = True


@register(function=categorical_hinge)
class CategoricalHinge(FunctionLoss):
    """Categorical hinge loss for one-hot targets.

    `max(largest p of another class - p of the true class + 1, 0)`.
    """

    _function = staticmethod(categorical_hinge)
    _wants_classes = True
    _wants_fractions = True
