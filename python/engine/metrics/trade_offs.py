"""The largest value of one ratio at thresholds where another ratio reaches a given value."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import integer, real
from engine.metrics.confusion import MOST_THRESHOLDS, Counts, ThresholdMetric, lower_thresholds
from engine.metrics.metric import register
from engine.metrics.variables import StateField

Array = NDArray[Any]


class _BestUnder(ThresholdMetric):
    """The base class: the largest value of one ratio at thresholds where another is large enough."""

    _direction = "up"
    true_positives, false_positives, true_negatives, false_negatives = (
        StateField(),
        StateField(),
        StateField(),
        StateField(),
    )

    def __init__(  # noqa: PLR0917 # those of the classes below, whose first has a name in each
        self,
        argument: str,
        lower_bound: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: object,
    ) -> None:
        super().__init__(None, None, class_id, name, dtype)
        self._least = real(lower_bound, argument, 0.0, 1.0)
        self.num_thresholds = integer(num_thresholds, "num_thresholds", 1, MOST_THRESHOLDS)
        count = self.num_thresholds
        self._points = [0.5] if count == 1 else [i / (count - 1) for i in range(count)]

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        even = len(self._points) > 1
        return {**super()._lower(), **lower_thresholds(self._points, even)}

    @abstractmethod
    def _ratios(self, counts: Counts) -> tuple[Array, Array]:
        """Returns the ratio that must be large enough, and the one to maximise, at each threshold."""

    def _of_counts(self, counts: Counts) -> Array:
        """Returns the ratio to maximise at each threshold, and 0 where the other is too small."""
        constrained, maximized = self._ratios(counts)
        return np.where(constrained >= self._least, maximized, 0.0)

    def _reduce(self, values: Array) -> float:
        return float(np.max(values, initial=0.0))


@register()
class SensitivityAtSpecificity(_BestUnder):
    """Largest sensitivity at which the specificity is at least the given value.

    Sensitivity is `tp / (tp + fn)`, specificity `tn / (tn + fp)`.

    Args:
        specificity: smallest specificity, in [0, 1].
        num_thresholds: number of thresholds from 0 to 1 to try.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(  # Keras' signature
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)
        self.specificity = self._least

    def _ratios(self, counts: Counts) -> tuple[Array, Array]:
        return counts.specificity, counts.recall


@register()
class SpecificityAtSensitivity(_BestUnder):
    """Largest specificity at which the sensitivity is at least the given value.

    Specificity is `tn / (tn + fp)`, sensitivity `tp / (tp + fn)`.

    Args:
        sensitivity: smallest sensitivity, in [0, 1].
        num_thresholds: number of thresholds from 0 to 1 to try.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(  # Keras' signature
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = self._least

    def _ratios(self, counts: Counts) -> tuple[Array, Array]:
        return counts.recall, counts.specificity


@register()
class PrecisionAtRecall(_BestUnder):
    """Largest precision at which the recall is at least the given value.

    Precision is `tp / (tp + fp)`, recall `tp / (tp + fn)`.

    Args:
        recall: smallest recall, in [0, 1].
        num_thresholds: number of thresholds from 0 to 1 to try.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(  # Keras' signature
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)
        self.recall = self._least

    def _ratios(self, counts: Counts) -> tuple[Array, Array]:
        return counts.recall, counts.precision


@register()
class RecallAtPrecision(_BestUnder):
    """Largest recall at which the precision is at least the given value.

    Recall is `tp / (tp + fn)`, precision `tp / (tp + fp)`.

    Args:
        precision: smallest precision, in [0, 1].
        num_thresholds: number of thresholds from 0 to 1 to try.
        class_id: index of the only output to use; None uses all.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(  # Keras' signature
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)
        self.precision = self._least

    def _ratios(self, counts: Counts) -> tuple[Array, Array]:
        return counts.precision, counts.recall
