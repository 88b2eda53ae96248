"""Metrics of the counts for each class: F scores and the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import EPSILON, above_zero, choice, real
from engine.metrics.metric import CoreMetric, register
from engine.metrics.variables import Result, State, StateField

Array = NDArray[Any]


@register("fbeta_score")
class FBetaScore(CoreMetric):
    """F-beta score, `(1 + beta**2) * precision * recall / (beta**2 * precision + recall)`, per class.

    Targets may be one-hot rows or class indices.

    Args:
        average: None returns an array with one score per class. "micro" counts over all classes at once, "macro"
            returns the mean over classes, "weighted" the mean weighted by the number of samples.
        beta: weight of recall relative to precision.
        threshold: outputs above it are positive, in (0, 1]; with None only the largest of each sample is.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "f_score"
    _accepts_indices = True
    _needs_rows = True
    _direction = "up"

    def __init__(  # Keras' signature
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: object = None,
    ) -> None:
        super().__init__(name, dtype)
        self.average = None if average is None else choice(average, "average", ("micro", "macro", "weighted"))
        self.beta = above_zero(beta, "beta")
        self.threshold = None if threshold is None else above_zero(threshold, "threshold", 1.0)

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {**super()._lower(), "thresholds": [] if self.threshold is None else [self.threshold]}

    true_positives, false_positives, false_negatives = StateField(), StateField(), StateField()
    intermediate_weights = StateField()

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the counts for each class, or for all classes together."""
        counts = state.reshape(-1, 3)
        if self.average == "micro" and len(counts):
            counts = counts.sum(axis=0)
        tp, fp, fn = counts.T
        names = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
        return dict(zip(names, (tp, fp, fn, tp + fn), strict=True))

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets one of the variables; a value for all classes together goes to the first class."""
        names, counts = list(self._read(state)), state.reshape(-1, 3)
        if self.average == "micro":
            value = np.append(value, np.zeros(len(counts) - 1))
        last = names.index(name) == len(names) - 1
        counts[:, min(names.index(name), 2)] = value - counts[:, 0] if last else value

    def _compute(self, state: State) -> Result:
        """Returns the score, from sums of weights of true positives, false positives and false negatives for each class."""
        counts = state.reshape(-1, 3)
        if self.average == "micro":
            counts = counts.sum(axis=0, keepdims=True)
        tp, fp, fn = counts.T
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        square = self.beta**2
        scores = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            class_weights = (tp + fn) / ((tp + fn).sum() + EPSILON)
            return float((scores * class_weights).sum())
        return scores if self.average is None else float(scores.mean())


@register()
class F1Score(FBetaScore):
    """F1 score, the harmonic mean of precision and recall, per class.

    Targets may be one-hot rows or class indices.

    Args:
        average: None returns an array with one score per class. "micro" counts over all classes at once, "macro"
            returns the mean over classes, "weighted" the mean weighted by the number of samples.
        threshold: outputs above it are positive, in (0, 1]; with None only the largest of each sample is.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name or "f1_score", dtype)


@register()
class ConfusionMatrix(CoreMetric):
    """Confusion matrix: sums of sample weights, with the true classes in rows and the predicted in columns.

    A single output predicts class 1 if it is above `threshold`, else class 0. Targets may be one-hot rows or class
    indices.

    Args:
        threshold: threshold for a single output.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "confusion"
    _accepts_indices = True

    def __init__(self, threshold: float = 0.5, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self.threshold = real(threshold, "threshold")

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {**super()._lower(), "thresholds": [self.threshold]}

    def _compute(self, state: State) -> Array:
        """Returns the matrix (classes, classes)."""
        classes = int(np.sqrt(state.size) + 0.5)
        return state.reshape(classes, classes).copy()
