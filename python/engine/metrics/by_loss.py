"""Means of the formulas that losses have, and what else measures the distance of numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np

from engine import losses
from engine._checks import LOWEST, choice, flag, integer, real
from engine._program import Float32
from engine.losses.base import FunctionLoss, last_axis
from engine.metrics.base import CoreMetric, MeanOfRows, register
from engine.metrics.variables import Part, State


class LossMetric(MeanOfRows):
    """The mean of a loss over samples.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
    """

    _loss: ClassVar[type[FunctionLoss]]
    """The loss, which gets the metric's options."""
    _direction = "down"

    def _lower(self) -> dict[str, Any]:
        """The metric as the core reads it."""
        options = {name: value for name, value in self.get_config().items() if name not in {"name", "dtype"}}
        return self._loss(**options)._lower()


@register("mse", function=losses.mean_squared_error)
class MeanSquaredError(LossMetric):
    """`mean((y - p)**2)`."""

    _loss = losses.MeanSquaredError


@register("rmse")
class RootMeanSquaredError(MeanSquaredError):
    """`sqrt(mean((y - p)**2))`, the mean being over all samples."""

    _respects_mask = False

    def _compute(self, state: State) -> float:
        """The root of the mean."""
        return math.sqrt(super()._compute(state))


@register("mae", function=losses.mean_absolute_error)
class MeanAbsoluteError(LossMetric):
    """`mean(|y - p|)`."""

    _loss = losses.MeanAbsoluteError


@register("mape", function=losses.mean_absolute_percentage_error)
class MeanAbsolutePercentageError(LossMetric):
    """`100 * mean(|y - p| / max(|y|, 1e-7))`."""

    _loss = losses.MeanAbsolutePercentageError


@register("msle", function=losses.mean_squared_logarithmic_error)
class MeanSquaredLogarithmicError(LossMetric):
    """`mean((log(1 + y) - log(1 + p))**2)`."""

    _loss = losses.MeanSquaredLogarithmicError


@register("logcosh", function=losses.log_cosh)
class LogCoshError(LossMetric):
    """`mean(log(cosh(p - y)))`.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
    """

    _loss = losses.LogCosh

    def __init__(self, name: str | None = "logcosh", dtype: object = None) -> None:
        super().__init__(name, dtype)


@register(function=losses.cosine_similarity)
class CosineSimilarity(LossMetric):
    """The cosine of the angle between y and p; the loss is minus this.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
        axis: of the vectors, the last.
    """

    _loss = losses.CosineSimilarity
    _unsaved_arguments = ("axis",)
    _direction = "up"

    def __init__(self, name: str | None = None, dtype: object = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = last_axis(axis)

    def _lower(self) -> dict[str, Any]:
        """The metric as the core reads it."""
        return {**losses.CosineSimilarity(self.axis)._lower(), "parameters": [1.0]}


@register(function=losses.hinge)
class Hinge(LossMetric):
    """`mean(max(1 - y * p, 0))`, for y of -1 and 1, or 0 and 1."""

    _loss = losses.Hinge


@register(function=losses.squared_hinge)
class SquaredHinge(LossMetric):
    """`mean(max(1 - y * p, 0)**2)`, for y of -1 and 1, or 0 and 1."""

    _loss = losses.SquaredHinge


@register(function=losses.categorical_hinge)
class CategoricalHinge(LossMetric):
    """`max(largest p of another class - p of the own class + 1, 0)`, for one-hot y."""

    _loss = losses.CategoricalHinge


@register("kld", "kullback_leibler_divergence", function=losses.kl_divergence)
class KLDivergence(LossMetric):
    """`sum(y * log(y / p))`, both clipped to [1e-7, 1]."""

    _loss = losses.KLDivergence


@register(function=losses.poisson)
class Poisson(LossMetric):
    """`mean(p - y * log(p + 1e-7))`, for counts."""

    _loss = losses.Poisson


@register("bce", function=losses.binary_crossentropy)
class BinaryCrossentropy(LossMetric):
    """`-mean(y * log(p) + (1 - y) * log(1 - p))`.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
        from_logits: whether predictions still have to go through a sigmoid.
        label_smoothing: in [0, 1]: `y * (1 - s) + s / 2` takes the place of y.
    """

    _loss = losses.BinaryCrossentropy

    def __init__(
        self,
        name: str | None = None,
        dtype: object = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = flag(from_logits, "from_logits")
        self.label_smoothing = real(label_smoothing, "label_smoothing", 0.0, 1.0)


@register("cce", function=losses.categorical_crossentropy)
class CategoricalCrossentropy(LossMetric):
    """`-sum(y * log(p))`, for one-hot y.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
        from_logits: whether predictions still have to go through a softmax.
        label_smoothing: in [0, 1]: `y * (1 - s) + s / classes` takes the place of y.
        axis: of the classes, the last.
    """

    _loss = losses.CategoricalCrossentropy

    def __init__(
        self,
        name: str | None = None,
        dtype: object = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = flag(from_logits, "from_logits")
        self.label_smoothing = real(label_smoothing, "label_smoothing", 0.0, 1.0)
        self.axis = last_axis(axis)


@register("scce", function=losses.sparse_categorical_crossentropy)
class SparseCategoricalCrossentropy(LossMetric):
    """`-log(p[label])`, for class indices.

    Args:
        name: the key in logs and histories.
        dtype: None or "float32".
        from_logits: whether predictions still have to go through a softmax.
        ignore_class: index whose samples have the loss 0, and count for nothing where there are weights.
        axis: of the classes, the last.
    """

    _loss = losses.SparseCategoricalCrossentropy
    _wants_indices = True

    def __init__(
        self,
        name: str | None = None,
        dtype: object = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = flag(from_logits, "from_logits")
        self.ignore_class = None if ignore_class is None else integer(ignore_class, "ignore_class", LOWEST)
        self._ignored_class = self.ignore_class
        self.axis = last_axis(axis)


# Of an output, in the order of the core's.
_SUMS = ("sum", "squared_sum", "residual", "count")


@register("r2")
class R2Score(CoreMetric):
    """The coefficient of determination, `1 - sum((y - p)**2) / sum((y - mean(y))**2)`.

    Args:
        class_aggregation: of several outputs: "uniform_average", "variance_weighted_average", or None for an array.
        num_regressors: independent predictors, for the adjusted score; 0 for the standard one.
        name: the key in logs and histories.
        dtype: None or "float32".
    """

    _wants_rows = True
    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: object = None,
    ) -> None:
        super().__init__(name, dtype)
        known = ("uniform_average", "variance_weighted_average")
        self.class_aggregation = (
            None if class_aggregation is None else choice(class_aggregation, "class_aggregation", known)
        )
        self.num_regressors = integer(num_regressors, "num_regressors", 0)

    num_samples, squared_sum, sum, count = Part(), Part(), Part(), Part()
    total_mse = Part("residual")
    _state_size = 1

    def _lower(self) -> dict[str, Any]:
        """The metric as the core reads it."""
        return {"kind": "moments"}

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        columns = self._columns(predictions, targets, weights)
        rows = sum(float(column[-1]) for column in columns)
        state = np.array([*np.concatenate([column[:-1] for column in columns]), rows])
        self._take(state if self._state is None else self._state + state, predictions.shape[1])

    def _read(self, state: State) -> dict[str, Any]:
        """Rows times outputs, and sums by output."""
        sums = dict(zip(_SUMS, state[:-1].reshape(-1, len(_SUMS)).T, strict=True))
        return {"num_samples": state[-1], "squared_sum": sums.pop("squared_sum"), **sums}

    def _write(self, state: State, name: str, value: Any) -> None:
        """Set one of them."""
        if name == "num_samples":
            state[-1] = value
        else:
            state[:-1].reshape(-1, len(_SUMS))[:, _SUMS.index(name)] = value

    def _compute(self, state: State) -> Any:
        """The score from sums of w y, w y**2, w (y - p)**2 and w by output."""
        total, squares, residual, weight = state[:-1].reshape(-1, len(_SUMS)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            variation = squares - total * total / weight
            scores = 1 - residual / variation
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            score: Any = float(scores.mean())
        elif self.class_aggregation == "variance_weighted_average":
            score = float((variation * scores).sum() / variation.sum())
        else:
            score = scores
        return self._adjusted(score, float(state[-1]))

    def _adjusted(self, score: Any, samples: float) -> Any:
        if self.num_regressors == 0:
            return score
        if self.num_regressors >= samples - 1:
            message = (
                f"`num_regressors={self.num_regressors}` leaves no freedom to {samples:g} numbers: the standard "
                "R2 score takes the place of the adjusted one"
            )
            warnings.warn(message, stacklevel=4)
            return score
        return 1 - (1 - score) * (samples - 1) / (samples - self.num_regressors - 1)
