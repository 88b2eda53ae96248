"""Metrics of true and false positives and negatives at one or several thresholds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import WrongTypeError, integer, reals
from engine._base.tensor_like import tensor_of
from engine._core_interface.cpp import Float32
from engine.metrics.metric import CoreMetric, register
from engine.metrics.variables import Result, State, StateField

Array = NDArray[Any]

_BELOW_ALL = -1e10
"""The default threshold with `top_k`: all of the k largest outputs are above it."""
MOST_THRESHOLDS = 2**23
"""The number of float32 numbers between 1/2 and 1: more thresholds give no better resolution."""
_FEWEST_EVEN = 3
"""The smallest number of thresholds for which the core computes the bin of an output by a division."""

COUNT_OF_VARIABLE = {
    "true_positives": "tp",
    "false_positives": "fp",
    "true_negatives": "tn",
    "false_negatives": "fn",
}
"""Keras' names of variables, and the fields of `Counts` in them."""


class Counts(NamedTuple):
    """Sums of weights of true and false positives and negatives, (thresholds,) or (labels, thresholds)."""

    tp: Array
    fp: Array
    tn: Array
    fn: Array

    @property
    def precision(self) -> Array:
        """Fraction of the positive outputs whose target is positive."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Array:
        """Fraction of the positive targets whose output is positive; also called sensitivity."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Array:
        """Fraction of the negative targets whose output is negative."""
        return ratio(self.tn, self.tn + self.fp)


def ratio(part: Array, total: Array) -> Array:
    """Returns `part / whole`, and 0 for a whole of 0."""
    quotient: Array = np.divide(part, total, out=np.zeros_like(total), where=total != 0)
    return quotient


def evenly_distributed(thresholds: Sequence[float]) -> bool:
    """Returns whether `thresholds` are 0, 1 / (n - 1), ..., 1."""
    count = len(thresholds)
    return count >= _FEWEST_EVEN and bool(
        np.allclose(thresholds, np.arange(count, dtype=np.float32) / (count - 1), atol=1e-7)
    )


def lower_thresholds(thresholds: Sequence[float], even: bool) -> dict[str, Any]:
    """Returns the fields of a metric of the core that describe `thresholds`."""
    below_zero = even and (thresholds[0] < 0 or thresholds[-1] > 1)
    return {"kind": "thresholds", "thresholds": sorted(thresholds), "even": even, "below_zero": below_zero}


def counts_above(state: State, thresholds: Sequence[float]) -> Counts:
    """Returns the counts (labels, thresholds) for a state of the core.

    Args:
        state: sums of weights of negative, then positive targets between sorted thresholds,
            (labels * 2 * (thresholds + 1),).
        thresholds: the thresholds, in any order.
    """
    bins = state.reshape(-1, 2, len(thresholds) + 1)
    above = np.cumsum(bins[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    above = above[..., np.argsort(np.argsort(thresholds, kind="stable"), kind="stable")]
    totals = bins.sum(axis=-1, keepdims=True)
    tp, fp = above[:, 1], above[:, 0]
    return Counts(tp, fp, totals[:, 0] - fp, totals[:, 1] - tp)


def set_count(state: State, thresholds: Sequence[float], name: str, value: Array) -> None:
    """Sets a field of `counts_above(state, thresholds)` to `value`, (labels, thresholds).

    True positives and false negatives have the same sum at all thresholds, and so have false positives and true
    negatives. The other field of the pair keeps its value at the lowest threshold, and follows at all others.
    """
    bins, counts = state.reshape(-1, 2, len(thresholds) + 1), counts_above(state, thresholds)
    positive = name in ("tp", "fn")
    above, below = (counts.tp, counts.fn) if positive else (counts.fp, counts.tn)
    order = np.argsort(thresholds, kind="stable")
    lowest = order[:1]
    if name in ("tp", "fp"):
        total, above = value[:, lowest] + below[:, lowest], value
    else:
        total = above[:, lowest] + value[:, lowest]
        above = total - value
    bins[:, int(positive)] = -np.diff(above[:, order], axis=-1, prepend=total, append=0.0)


class ThresholdMetric(CoreMetric, ABC):
    """The base class of metrics that follow from the counts at one or several thresholds.

    Args:
        thresholds: a number in [0, 1] or a list of numbers; None is 0.5. Outputs above it are positive.
        top_k: only the `top_k` largest outputs of a sample can be positive; None sets no limit.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _accepts_indices = True
    _fields_of_variables: ClassVar[Mapping[str, str]] = COUNT_OF_VARIABLE
    """Keras' names of the variables, and the fields of `Counts` in them."""

    def __init__(  # Keras' signature
        self,
        thresholds: float | Iterable[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name, dtype)
        default = 0.5 if top_k is None else _BELOW_ALL
        if thresholds is None:
            self._points = [default]
        else:
            several = isinstance(thresholds, Iterable)
            self._points = reals(thresholds if several else [thresholds], "thresholds", 0.0, 1.0)
            if not self._points:
                msg = f"`thresholds` must be a number or several, got {thresholds!r}"
                raise WrongTypeError(msg)
            thresholds = self._points if several else self._points[0]
        self.thresholds = thresholds
        self.top_k = None if top_k is None else integer(top_k, "top_k", 1)
        self.class_id = None if class_id is None else integer(class_id, "class_id", 0)

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        column = -1 if self.class_id is None else self.class_id
        points = lower_thresholds(self._points, evenly_distributed(self._points))
        return {**points, "top_k": self.top_k or 0, "column": column}

    def _prepared(self, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Float32, Array]:
        if self.top_k is not None and np.ndim(y_pred) == 1:  # the outputs of one sample, as in Keras
            y_true, y_pred = np.reshape(y_true, (1, -1)), np.reshape(y_pred, (1, -1))
        return super()._prepared(y_true, y_pred)

    def _output_weights(self, weights: Float32, shape: tuple[int, ...]) -> Float32 | None:
        if self.top_k is not None and len(shape) == 1 and weights.shape == shape:
            return weights
        return super()._output_weights(weights, shape)

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        if self.class_id is not None:
            super()._add_by_output(predictions, targets, weights)
        if self.top_k is not None:
            columns_below = np.argsort(-predictions, axis=1, kind="stable")[:, self.top_k :]
            predictions = predictions.copy()
            np.put_along_axis(predictions, columns_below, 2 * _BELOW_ALL, axis=1)
        self._add_single_outputs(predictions, targets, weights)

    def _of_single_outputs(self) -> dict[str, Any]:
        return {**self._lower(), "top_k": 0}

    def _compute(self, state: State) -> Result:
        """Returns one number, or one per threshold."""
        return self._reduce(
            self._of_counts(Counts(*(count[0] for count in counts_above(state, self._points))))
        )

    def result(self) -> Any:
        """Returns the metric over all batches since `reset_state`."""
        return tensor_of(self._compute(np.zeros(self._state_size) if self._state is None else self._state))

    @property
    def _state_size(self) -> int:
        """Size of the state."""
        return 2 * (len(self._points) + 1)

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the counts (thresholds,)."""
        counts = counts_above(state, self._points)
        return {name: counts._asdict()[field][0] for name, field in self._fields_of_variables.items()}

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets one of the variables."""
        set_count(state, self._points, self._fields_of_variables[name], value[np.newaxis])

    @abstractmethod
    def _of_counts(self, counts: Counts) -> Array:
        """Returns the value at each threshold."""

    def _reduce(self, values: Array) -> Result:
        """Returns the result, given the values at the thresholds."""
        return float(values[0]) if len(self._points) == 1 else values


class _Count(ThresholdMetric):
    """The base class of the metrics that are one of the four counts.

    Args:
        thresholds: a number in [0, 1] or a list of numbers; None is 0.5. Outputs above it are positive.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    accumulator = StateField()

    def __init__(
        self,
        thresholds: float | Iterable[float] | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(thresholds, None, None, name, dtype)

    def _of_counts(self, counts: Counts) -> Array:
        """Returns the count at each threshold."""
        count: Array = counts._asdict()[self._fields_of_variables["accumulator"]]
        return count


@register()
class TruePositives(_Count):
    """Sum of the weights of true positives: outputs above the threshold with target 1."""

    _fields_of_variables: ClassVar = {"accumulator": "tp"}


@register()
class FalsePositives(_Count):
    """Sum of the weights of false positives: outputs above the threshold with target 0."""

    _fields_of_variables: ClassVar = {"accumulator": "fp"}


@register()
class TrueNegatives(_Count):
    """Sum of the weights of true negatives: outputs not above the threshold with target 0."""

    _fields_of_variables: ClassVar = {"accumulator": "tn"}


@register()
class FalseNegatives(_Count):
    """Sum of the weights of false negatives: outputs not above the threshold with target 1."""

    _fields_of_variables: ClassVar = {"accumulator": "fn"}


@register()
class Precision(ThresholdMetric):
    """Precision: the fraction of positive outputs whose target is 1; 0 if no output is positive.

    Targets may be one-hot rows or class indices.

    Args:
        thresholds: a number in [0, 1] or a list of numbers; None is 0.5. Outputs above it are positive.
        top_k: only the `top_k` largest outputs of a sample can be positive; None sets no limit.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _direction = "up"
    _fields_of_variables: ClassVar = {
        name: COUNT_OF_VARIABLE[name] for name in ("true_positives", "false_positives")
    }
    true_positives, false_positives = StateField(), StateField()

    def _of_counts(self, counts: Counts) -> Array:
        """Returns `tp / (tp + fp)`."""
        return counts.precision


@register()
class Recall(ThresholdMetric):
    """Recall: the fraction of positive targets whose output is positive; 0 if no target is positive.

    Targets may be one-hot rows or class indices.

    Args:
        thresholds: a number in [0, 1] or a list of numbers; None is 0.5. Outputs above it are positive.
        top_k: only the `top_k` largest outputs of a sample can be positive; None sets no limit.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _direction = "up"
    _fields_of_variables: ClassVar = {
        name: COUNT_OF_VARIABLE[name] for name in ("true_positives", "false_negatives")
    }
    true_positives, false_negatives = StateField(), StateField()

    def _of_counts(self, counts: Counts) -> Array:
        """Returns `tp / (tp + fn)`."""
        return counts.recall
