"""Hinge losses, which are 0 for predictions on the right side of the margin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine import ops
from engine._core_interface.cpp import Float32
from engine._tracing.symbolic import contains_symbolic
from engine.losses import reductions
from engine.losses.loss import FunctionLoss, evaluate_rows, formula, mean_by_rows, register

__all__ = ["CategoricalHinge", "Hinge", "SquaredHinge", "categorical_hinge", "hinge", "squared_hinge"]


@reductions.returns_tensors
def hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the hinge loss per sample: `mean(max(1 - y_true * y_pred, 0))`.

    Args:
        y_true: targets -1 or 1, (n, outputs). If all are 0 or 1, 0 is converted to -1.
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return _mean_hinge("hinge", y_true, y_pred)


@reductions.returns_tensors
def squared_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the squared hinge loss per sample: `mean(max(1 - y_true * y_pred, 0)**2)`.

    Args:
        y_true: targets -1 or 1, (n, outputs). If all are 0 or 1, 0 is converted to -1.
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return _mean_hinge("squared_hinge", y_true, y_pred)


@reductions.returns_tensors
def categorical_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the categorical hinge loss per sample.

    The loss is `max(max((1 - y_true) * y_pred) - sum(y_true * y_pred) + 1, 0)`.

    Args:
        y_true: one-hot labels (n, classes).
        y_pred: predictions (n, classes).

    Returns:
        float32 (n,).
    """
    return evaluate_rows(formula("categorical_hinge"), *reductions.paired(y_true, y_pred))


def _mean_hinge(kind: str, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    target, prediction = reductions.paired(y_true, y_pred, broadcast=True)
    return mean_by_rows(formula(kind), _signs(target), prediction)


def _signs(target: Any) -> Any:
    """Returns targets as -1 and 1, if all of them are 0 or 1."""
    if not contains_symbolic(target):
        return target * 2.0 - 1.0 if np.isin(target, (0, 1)).all() else target
    binary = ops.all(ops.logical_or(ops.equal(target, 0.0), ops.equal(target, 1.0)))
    return ops.where(binary, target * 2.0 - 1.0, target)


@register(function=hinge)
class Hinge(FunctionLoss):
    """Hinge loss, `mean(max(1 - y * p, 0))`, for targets -1 and 1, or 0 and 1."""

    _kind = "hinge"
    _broadcasts = True
    _wants_signs = True


@register(function=squared_hinge)
class SquaredHinge(FunctionLoss):
    """Squared hinge loss, `mean(max(1 - y * p, 0)**2)`, for targets -1 and 1, or 0 and 1."""

    _kind = "squared_hinge"
    _broadcasts = True
    _wants_signs = True


@register(function=categorical_hinge)
class CategoricalHinge(FunctionLoss):
    """Categorical hinge loss for one-hot targets.

    `max(largest p of another class - p of the true class + 1, 0)`.
    """

    _kind = "categorical_hinge"
    _wants_classes = True
    _wants_fractions = True
