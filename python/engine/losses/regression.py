"""Losses of numbers: distances of predictions from targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import real
from engine._program import Float32
from engine._targets import EPSILON, paired
from engine.losses.base import FunctionLoss, last_axis, register


def _mean(values: NDArray[np.float32], axis: int = -1) -> Float32:
    means: Float32 = np.mean(values, axis=axis, dtype=np.float32)
    return means


def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean((y_true - y_pred)**2)` per sample.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    return _mean(np.square(target - prediction))


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean(|y_true - y_pred|)` per sample.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    return _mean(np.abs(target - prediction))


def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`100 * mean(|y_true - y_pred| / max(|y_true|, 1e-7))` per sample.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    return _mean(np.abs((target - prediction) / np.maximum(np.abs(target), EPSILON))) * np.float32(100)


def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean((log(1 + y_true) - log(1 + y_pred))**2)` per sample; what is below 1e-7 counts as 1e-7.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    one = np.float32(1)
    return _mean(
        np.square(np.log(np.maximum(prediction, EPSILON) + one) - np.log(np.maximum(target, EPSILON) + one))
    )


def huber(y_true: ArrayLike, y_pred: ArrayLike, delta: float = 1.0) -> Float32:
    """Per sample the mean of `e**2 / 2` where `|e| <= delta`, else of `delta * (|e| - delta / 2)` (Huber, 1964).

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).
        delta: where the parabola becomes a line.

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    error, edge = np.abs(prediction - target), np.float32(delta)
    half = np.float32(0.5)
    return _mean(np.where(error <= edge, half * error * error, edge * error - half * edge * edge))


def log_cosh(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean(log(cosh(y_pred - y_true)))` per sample: a parabola near zero, a line far from it.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    error = np.abs(prediction - target)
    return _mean(error + np.log1p(np.exp(-2 * error)) - np.float32(np.log(2)))


def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> Float32:
    """`-sum(y_true * y_pred) / (|y_true| * |y_pred|)` per sample: -1 for the same direction, 1 for the opposite.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).
        axis: of the vectors.

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    similarity: Float32 = -np.sum(_normalized(target, axis) * _normalized(prediction, axis), axis=axis)
    return similarity


def kl_divergence(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`sum(y_true * log(y_true / y_pred))` per sample, both clipped to [1e-7, 1] (Kullback and Leibler, 1951).

    Args:
        y_true: distributions (n, outputs).
        y_pred: distributions (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = (np.clip(array, EPSILON, np.float32(1)) for array in paired(y_true, y_pred))
    divergence: Float32 = np.sum(target * np.log(target / prediction), axis=-1)
    return divergence


def poisson(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean(y_pred - y_true * log(y_pred + 1e-7))` per sample.

    Args:
        y_true: counts (n, outputs).
        y_pred: expected counts (n, outputs).

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    with np.errstate(invalid="ignore", divide="ignore"):  # a negative rate gives NaN, as in training
        return _mean(prediction - target * np.log(prediction + EPSILON))


def _normalized(x: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    norm = np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True))
    return np.asarray(x / np.maximum(norm, EPSILON), np.float32)


@register("mse", function=mean_squared_error)
class MeanSquaredError(FunctionLoss):
    """`mean((y - p)**2)`."""

    _function = staticmethod(mean_squared_error)


@register("mae", function=mean_absolute_error)
class MeanAbsoluteError(FunctionLoss):
    """`mean(|y - p|)`."""

    _function = staticmethod(mean_absolute_error)


@register("mape", function=mean_absolute_percentage_error)
class MeanAbsolutePercentageError(FunctionLoss):
    """`100 * mean(|y - p| / max(|y|, 1e-7))`."""

    _function = staticmethod(mean_absolute_percentage_error)


@register("msle", function=mean_squared_logarithmic_error)
class MeanSquaredLogarithmicError(FunctionLoss):
    """`mean((log(1 + y) - log(1 + p))**2)`."""

    _function = staticmethod(mean_squared_logarithmic_error)


@register(function=huber)
class Huber(FunctionLoss):
    """A parabola for errors of at most `delta`, a line beyond (Huber, 1964).

    Args:
        delta: where the one becomes the other.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.
    """

    _function = staticmethod(huber)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = real(delta, "delta", 0.0)

    def _parameters(self) -> list[float]:
        """`delta`."""
        return [self.delta]


@register("logcosh", function=log_cosh)
class LogCosh(FunctionLoss):
    """`mean(log(cosh(p - y)))`."""

    _function = staticmethod(log_cosh)


@register(function=cosine_similarity)
class CosineSimilarity(FunctionLoss):
    """Minus the cosine of the angle between y and p.

    Args:
        axis: of the vectors; for training the last.
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.
    """

    _function = staticmethod(cosine_similarity)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = last_axis(axis)

    def _parameters(self) -> list[float]:
        """What the cosine is multiplied by."""
        return [-1.0]


@register("kld", "kullback_leibler_divergence", function=kl_divergence)
class KLDivergence(FunctionLoss):
    """`sum(y * log(y / p))`, both clipped to [1e-7, 1]."""

    _function = staticmethod(kl_divergence)
    _wants_fractions = True


@register(function=poisson)
class Poisson(FunctionLoss):
    """`mean(p - y * log(p + 1e-7))`, for counts."""

    _function = staticmethod(poisson)
