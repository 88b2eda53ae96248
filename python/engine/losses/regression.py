"""Regression losses: distances between predictions and targets."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from engine._base.checks import real
from engine._core_interface.cpp import Float32
from engine.losses import reductions
from engine.losses.loss import FunctionLoss, evaluate_rows, formula, last_axis, mean_by_rows, register

__all__ = [
    "CosineSimilarity",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "cosine_similarity",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
]


@reductions.returns_tensors
def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the mean squared error per sample: `mean((y_true - y_pred)**2)`.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(formula("mean_squared_error"), *reductions.paired(y_true, y_pred, broadcast=True))


@reductions.returns_tensors
def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the mean absolute error per sample: `mean(|y_true - y_pred|)`.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(formula("mean_absolute_error"), *reductions.paired(y_true, y_pred, broadcast=True))


@reductions.returns_tensors
def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the mean absolute percentage error per sample.

    The loss is `100 * mean(|y_true - y_pred| / max(|y_true|, 1e-7))`.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(
        formula("mean_absolute_percentage_error"), *reductions.paired(y_true, y_pred, broadcast=True)
    )


@reductions.returns_tensors
def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the mean squared logarithmic error per sample.

    The loss is `mean((log(1 + y_true) - log(1 + y_pred))**2)`; values below 1e-7 are replaced by 1e-7.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(
        formula("mean_squared_logarithmic_error"), *reductions.paired(y_true, y_pred, broadcast=True)
    )


@reductions.returns_tensors
def huber(y_true: ArrayLike, y_pred: ArrayLike, delta: float = 1.0) -> Float32:
    """Returns the Huber loss per sample (Huber, 1964).

    The loss is the mean of `e**2 / 2` where `|e| <= delta`, and of `delta * (|e| - delta / 2)` elsewhere.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).
        delta: absolute error at which the loss changes from quadratic to linear.

    Returns:
        float32 (n,).
    """
    return mean_by_rows(formula("huber", delta), *reductions.paired(y_true, y_pred, broadcast=True))


@reductions.returns_tensors
def log_cosh(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the log-cosh loss per sample: `mean(log(cosh(y_pred - y_true)))`.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(formula("log_cosh"), *reductions.paired(y_true, y_pred, broadcast=True))


@reductions.returns_tensors
def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> Float32:
    """Returns the negative cosine similarity per sample: -1 for the same direction, 1 for the opposite.

    The loss is `-sum(y_true * y_pred) / (|y_true| * |y_pred|)`.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).
        axis: axis of the vectors.

    Returns:
        float32 (n,).
    """
    return evaluate_rows(formula("cosine_similarity", -1.0), *reductions.paired(y_true, y_pred), axis=axis)


@reductions.returns_tensors
def kl_divergence(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the Kullback-Leibler divergence per sample (Kullback and Leibler, 1951).

    The loss is `sum(y_true * log(y_true / y_pred))`, with both clipped to [1e-7, 1].

    Args:
        y_true: distributions (n, outputs).
        y_pred: distributions (n, outputs).

    Returns:
        float32 (n,).
    """
    return evaluate_rows(formula("kl_divergence"), *reductions.paired(y_true, y_pred, broadcast=True))


@reductions.returns_tensors
def poisson(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns the Poisson loss per sample: `mean(y_pred - y_true * log(y_pred + 1e-7))`.

    Args:
        y_true: counts (n, outputs).
        y_pred: expected counts (n, outputs).

    Returns:
        float32 (n,).
    """
    return mean_by_rows(formula("poisson"), *reductions.paired(y_true, y_pred, broadcast=True))


@register("mse", function=mean_squared_error)
class MeanSquaredError(FunctionLoss):
    """Mean squared error, `mean((y - p)**2)`."""

    _kind = "mean_squared_error"
    _broadcasts = True


@register("mae", function=mean_absolute_error)
class MeanAbsoluteError(FunctionLoss):
    """Mean absolute error, `mean(|y - p|)`."""

    _kind = "mean_absolute_error"
    _broadcasts = True


@register("mape", function=mean_absolute_percentage_error)
class MeanAbsolutePercentageError(FunctionLoss):
    """Mean absolute percentage error, `100 * mean(|y - p| / max(|y|, 1e-7))`."""

    _kind = "mean_absolute_percentage_error"
    _broadcasts = True


@register("msle", function=mean_squared_logarithmic_error)
class MeanSquaredLogarithmicError(FunctionLoss):
    """Mean squared logarithmic error, `mean((log(1 + y) - log(1 + p))**2)`."""

    _kind = "mean_squared_logarithmic_error"
    _broadcasts = True


@register(function=huber)
class Huber(FunctionLoss):
    """Huber loss: quadratic for errors up to `delta`, linear for larger ones (Huber, 1964).

    Args:
        delta: absolute error at which the loss changes from quadratic to linear.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _kind = "huber"
    _broadcasts = True

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = real(delta, "delta", 0.0)

    def _formula(self) -> dict[str, Any]:
        return formula(self._kind, self.delta)


@register("logcosh", function=log_cosh)
class LogCosh(FunctionLoss):
    """Logarithm of the hyperbolic cosine of the error, `mean(log(cosh(p - y)))`."""

    _kind = "log_cosh"
    _broadcasts = True


@register("cosine_proximity", function=cosine_similarity)
class CosineSimilarity(FunctionLoss):
    """Negative cosine of the angle between targets and predictions.

    Args:
        axis: axis of the vectors. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _kind = "cosine_similarity"

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = last_axis(axis)

    def _formula(self) -> dict[str, Any]:
        return formula(self._kind, -1.0)


@register("kld", "kullback_leibler_divergence", function=kl_divergence)
class KLDivergence(FunctionLoss):
    """Kullback-Leibler divergence, `sum(y * log(y / p))`, with y and p clipped to [1e-7, 1]."""

    _kind = "kl_divergence"
    _broadcasts = True
    _wants_fractions = True


@register(function=poisson)
class Poisson(FunctionLoss):
    """Poisson loss for counts, `mean(p - y * log(p + 1e-7))`."""

    _kind = "poisson"
    _broadcasts = True
