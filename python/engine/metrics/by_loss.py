"""Metrics that are means of losses, and the R2 score."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, ClassVar

import numpy as np

from engine import losses
from engine._base.checks import LOWEST, choice, flag, integer, real
from engine._base.spec import argument_names
from engine._core_interface.cpp import Float32
from engine.losses.loss import FunctionLoss, last_axis
from engine.metrics.metric import CoreMetric, MeanOfRows, register
from engine.metrics.variables import Array, Result, State, StateField


class LossMetric(MeanOfRows):
    """The mean of a loss over samples.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _loss: ClassVar[type[FunctionLoss]]
    """The class of the loss, which has the same options."""
    _direction = "down"
    _vectors = "mean"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if hasattr(cls, "_loss"):
            cls._broadcasts = cls._loss._broadcasts

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        options = tuple((name, getattr(self, name)) for name in _options_of(type(self)))
        return dict(_lowered(self._loss, options))  # type: ignore[arg-type] # a class is hashable


@functools.cache
def _options_of(kind: type[LossMetric]) -> tuple[str, ...]:
    """Returns the names of the arguments of a metric that its loss has as well."""
    left_out = {"name", "dtype", *kind._unsaved_arguments}
    return tuple(name for name in argument_names(kind) if name not in left_out)


@functools.lru_cache(maxsize=128)
def _lowered(loss: type[FunctionLoss], options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Returns a loss with these options as the core reads it."""
    return loss(**dict(options))._lower()


@register("mse", function=losses.mean_squared_error)
class MeanSquaredError(LossMetric):
    """Mean squared error, `mean((y - p)**2)`."""

    _loss = losses.MeanSquaredError


@register("rmse")
class RootMeanSquaredError(MeanSquaredError):
    """Root mean squared error over all samples, `sqrt(mean((y - p)**2))`."""

    _respects_mask = False
    _vectors = "samples"

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        # As in Keras, each squared error is weighted, not their mean over a row.
        self._add_single_outputs(predictions, targets, weights / np.float32(predictions.shape[1]))

    def _compute(self, state: State) -> float:
        """Returns the root of the mean."""
        return math.sqrt(super()._compute(state))


@register("mae", function=losses.mean_absolute_error)
class MeanAbsoluteError(LossMetric):
    """Mean absolute error, `mean(|y - p|)`."""

    _loss = losses.MeanAbsoluteError


@register("mape", function=losses.mean_absolute_percentage_error)
class MeanAbsolutePercentageError(LossMetric):
    """Mean absolute percentage error, `100 * mean(|y - p| / max(|y|, 1e-7))`."""

    _loss = losses.MeanAbsolutePercentageError


@register("msle", function=losses.mean_squared_logarithmic_error)
class MeanSquaredLogarithmicError(LossMetric):
    """Mean squared logarithmic error, `mean((log(1 + y) - log(1 + p))**2)`."""

    _loss = losses.MeanSquaredLogarithmicError


@register("logcosh", function=losses.log_cosh)
class LogCoshError(LossMetric):
    """Logarithm of the hyperbolic cosine of the error, `mean(log(cosh(p - y)))`.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _loss = losses.LogCosh

    def __init__(self, name: str | None = "logcosh", dtype: object = None) -> None:
        super().__init__(name, dtype)


@register("cosine_proximity", "cosine", function=losses.cosine_similarity)
class CosineSimilarity(LossMetric):
    """Cosine of the angle between targets and predictions. The loss of this name is its negative.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        axis: axis of the vectors. It must be the last.
    """

    _loss = losses.CosineSimilarity
    _vectors = "outputs"
    _unsaved_arguments = ("axis",)
    _direction = "up"

    def __init__(self, name: str | None = None, dtype: object = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = last_axis(axis)

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {**losses.CosineSimilarity(self.axis)._lower(), "parameters": [1.0]}


@register(function=losses.hinge)
class Hinge(LossMetric):
    """Hinge loss, `mean(max(1 - y * p, 0))`, for targets -1 and 1, or 0 and 1."""

    _loss = losses.Hinge


@register(function=losses.squared_hinge)
class SquaredHinge(LossMetric):
    """Squared hinge loss, `mean(max(1 - y * p, 0)**2)`, for targets -1 and 1, or 0 and 1."""

    _loss = losses.SquaredHinge


@register(function=losses.categorical_hinge)
class CategoricalHinge(LossMetric):
    """Categorical hinge loss for one-hot targets.

    `max(largest p of another class - p of the true class + 1, 0)`.
    """

    _loss = losses.CategoricalHinge
    _vectors = "outputs"


@register("kld", "kullback_leibler_divergence", function=losses.kl_divergence)
class KLDivergence(LossMetric):
    """Kullback-Leibler divergence, `sum(y * log(y / p))`, with y and p clipped to [1e-7, 1]."""

    _loss = losses.KLDivergence
    _vectors = "outputs"


@register(function=losses.poisson)
class Poisson(LossMetric):
    """Poisson loss for counts, `mean(p - y * log(p + 1e-7))`."""

    _loss = losses.Poisson


@register("bce", function=losses.binary_crossentropy)
class BinaryCrossentropy(LossMetric):
    """Binary crossentropy, `-mean(y * log(p) + (1 - y) * log(1 - p))`.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        from_logits: whether predictions are logits, to which sigmoid is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / 2`.
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
    """Crossentropy for one-hot labels, `-sum(y * log(p))`.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        from_logits: whether predictions are logits, to which softmax is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / classes`.
        axis: axis of the classes. It must be the last.
    """

    _loss = losses.CategoricalCrossentropy
    _vectors = "outputs"

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
    """Crossentropy for labels that are class indices, `-log(p[label])`.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        from_logits: whether predictions are logits, to which softmax is applied.
        ignore_class: class index whose samples have loss 0. With sample weights they are left out of the mean.
        axis: axis of the classes. It must be the last.
    """

    _loss = losses.SparseCategoricalCrossentropy
    _targets_are_indices = True

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


_SUMS = ("sum", "squared_sum", "residual", "count")
"""Names of the sums for each output, in the order of the core."""


@register("r2")
class R2Score(CoreMetric):
    """Coefficient of determination R², `1 - sum((y - p)**2) / sum((y - mean(y))**2)`.

    Args:
        class_aggregation: how to combine several outputs: "uniform_average", "variance_weighted_average", or None
            for an array with one score per output.
        num_regressors: number of independent predictors, for the adjusted score; 0 gives the standard score.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "moments"
    _needs_rows = True
    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: object = None,
    ) -> None:
        super().__init__(name, dtype)
        choices = ("uniform_average", "variance_weighted_average")
        self.class_aggregation = (
            None if class_aggregation is None else choice(class_aggregation, "class_aggregation", choices)
        )
        self.num_regressors = integer(num_regressors, "num_regressors", 0)

    num_samples, squared_sum, sum, count = StateField(), StateField(), StateField(), StateField()
    total_mse = StateField("residual")
    _state_size = 1

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        columns = self._columns(predictions, targets, weights)
        rows = sum(float(column[-1]) for column in columns)
        state = np.array([*np.concatenate([column[:-1] for column in columns]), rows])
        self._load_state(state if self._state is None else self._state + state, predictions.shape[1])

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the number of samples, and the sums for each output."""
        sums = dict(zip(_SUMS, state[:-1].reshape(-1, len(_SUMS)).T, strict=True))
        return {"num_samples": state[-1], "squared_sum": sums.pop("squared_sum"), **sums}

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets one of the variables."""
        if name == "num_samples":
            state[-1] = value
        else:
            state[:-1].reshape(-1, len(_SUMS))[:, _SUMS.index(name)] = value

    def _compute(self, state: State) -> Result:
        """Returns the score, from the sums of w y, w y**2, w (y - p)**2 and w for each output."""
        total, squares, residual, weight = state[:-1].reshape(-1, len(_SUMS)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            variation = squares - total * total / weight
            scores = 1 - residual / variation
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            score: Result = float(scores.mean())
        elif self.class_aggregation == "variance_weighted_average":
            score = float((variation * scores).sum() / variation.sum())
        else:
            score = scores
        return self._adjusted(score, float(state[-1]))

    def _adjusted(self, score: Result, samples: float) -> Result:
        """Returns the score adjusted for the number of independent predictors."""
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
