"""Accuracies: as functions that return a value for each sample, and as metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import flag, integer, real
from engine._core_interface.cpp import Float32
from engine._data.target_shapes import class_indices_like, paired
from engine.losses.loss import evaluate_rows
from engine.metrics.metric import MeanOfRows, Metric, register, row_weights


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> Float32:
    """Returns 1 for each output on the same side of the threshold as its target, else 0.

    Args:
        y_true: targets 0 or 1, (n, outputs).
        y_pred: predictions (n, outputs).
        threshold: outputs above it are taken as 1.

    Returns:
        float32 (n, outputs).
    """
    target, prediction = paired(y_true, y_pred, broadcast=True)
    hits = evaluate_rows(
        {"kind": "binary_accuracy", "threshold": float(threshold)},
        target[..., np.newaxis],
        prediction[..., np.newaxis],
    )
    return np.asarray(hits, np.float32)


def categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns 1 for each sample whose largest output is that of the largest target, else 0.

    Args:
        y_true: one-hot labels (n, classes).
        y_pred: predictions (n, classes).

    Returns:
        float32 (n,).
    """
    return np.asarray(evaluate_rows({"kind": "categorical_accuracy"}, *paired(y_true, y_pred)))


def sparse_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """Returns 1 for each sample whose largest output is that of the label, else 0.

    Args:
        y_true: class indices (n,) or (n, 1).
        y_pred: predictions (n, classes).

    Returns:
        float32 (n,).
    """
    prediction = np.asarray(y_pred, np.float32)
    labels = class_indices_like(y_true, prediction)
    return np.asarray(evaluate_rows({"kind": "sparse_categorical_accuracy"}, labels, prediction))


def top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> Float32:
    """Returns 1 for each sample whose label is among the k largest outputs, else 0.

    Args:
        y_true: one-hot labels (n, classes).
        y_pred: predictions (n, classes).
        k: number of largest outputs to look at.

    Returns:
        float32 (n,).
    """
    top_k = {"kind": "top_k_categorical_accuracy", "threshold": float(k)}
    return np.asarray(evaluate_rows(top_k, *paired(y_true, y_pred)))


def sparse_top_k_categorical_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, k: int = 5, from_sorted_ids: bool = False
) -> Float32:
    """Returns 1 for each sample whose label is among the k largest outputs, else 0.

    Args:
        y_true: class indices (n,) or (n, 1).
        y_pred: predictions (n, classes), or class indices, best first, with `from_sorted_ids`.
        k: number of largest outputs to look at.
        from_sorted_ids: whether `y_pred` are class indices.

    Returns:
        float32 (n,).
    """
    prediction = np.asarray(y_pred, np.float32)
    if from_sorted_ids:
        labels = np.reshape(y_true, (*prediction.shape[:-1], 1))
        return np.asarray((labels == prediction[..., :k]).any(axis=-1), np.float32)
    labels = class_indices_like(y_true, prediction)
    top_k = {"kind": "sparse_top_k_categorical_accuracy", "threshold": float(k)}
    return np.asarray(evaluate_rows(top_k, labels, prediction))


@register()
class Accuracy(MeanOfRows):
    """Fraction of outputs that equal the target.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "accuracy"
    _direction = "up"
    _vectors = "samples"

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        self._add_single_outputs(predictions, targets, weights / np.float32(predictions.shape[1]))


@register(function=binary_accuracy)
class BinaryAccuracy(MeanOfRows):
    """Fraction of outputs on the same side of the threshold as the label.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        threshold: outputs above it are taken as 1.
    """

    _kind = "binary_accuracy"
    _direction = "up"
    _vectors = "samples"
    _broadcasts = True

    def __init__(self, name: str | None = None, dtype: object = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = real(threshold, "threshold")

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {**super()._lower(), "threshold": self.threshold}

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        # The value and the weight of a row are the means of those of its outputs.
        self._add_single_outputs(predictions, targets, weights / np.float32(predictions.shape[1]))


@register(function=categorical_accuracy)
class CategoricalAccuracy(MeanOfRows):
    """Fraction of samples whose largest output is that of the class in the one-hot label.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "categorical_accuracy"
    _direction = "up"


@register(function=sparse_categorical_accuracy)
class SparseCategoricalAccuracy(MeanOfRows):
    """Fraction of samples whose largest output is that of the label, a class index.

    Args:
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "sparse_categorical_accuracy"
    _targets_are_indices = True
    _direction = "up"


@register(function=top_k_categorical_accuracy)
class TopKCategoricalAccuracy(MeanOfRows):
    """Fraction of samples whose class, a one-hot label, is among the k largest outputs.

    Args:
        k: number of largest outputs to look at.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
    """

    _kind = "top_k_categorical_accuracy"
    _direction = "up"

    def __init__(self, k: int = 5, name: str | None = None, dtype: object = None) -> None:
        super().__init__(name, dtype)
        self.k = integer(k, "k", 1)

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        return {**super()._lower(), "threshold": float(self.k)}


@register(function=sparse_top_k_categorical_accuracy)
class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """Fraction of samples whose label, a class index, is among the k largest outputs.

    Args:
        k: number of largest outputs to look at.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        from_sorted_ids: whether predictions are class indices, best first. It is not for the outputs of a model.
    """

    _kind = "sparse_top_k_categorical_accuracy"
    _targets_are_indices = True

    def __init__(
        self, k: int = 5, name: str | None = None, dtype: object = None, from_sorted_ids: bool = False
    ) -> None:
        super().__init__(k, name, dtype)
        self.from_sorted_ids = flag(from_sorted_ids, "from_sorted_ids")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds a batch of targets `y_true`, predictions `y_pred` and `sample_weight` (n,), default 1."""
        if not self.from_sorted_ids:
            super().update_state(y_true, y_pred, sample_weight)
            return
        hits = sparse_top_k_categorical_accuracy(y_true, y_pred, self.k, True).reshape(-1)
        weights = row_weights(1.0 if sample_weight is None else sample_weight, len(hits), np.shape(y_pred))
        before = np.zeros(2) if self._state is None else self._state
        self._state = before + np.array([np.sum(hits * weights, dtype=float), np.sum(weights, dtype=float)])

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        if self.from_sorted_ids:
            msg = f"`from_sorted_ids=True` of {self.name!r} is not for a model's outputs, which are no class indices"
            raise ValueError(msg)
        return super()._lower()


class SuitableAccuracy(MeanOfRows):
    """The metric "accuracy", which becomes the one that fits labels and outputs, as in Keras."""

    _accepts_indices = True
    _direction = "up"
    _vectors = "samples"

    def _suits(self, indices: bool) -> bool:
        """Returns True, as there is an accuracy for each kind of targets."""
        return True

    def _resolve(self, indices: bool, outputs: int) -> Metric:
        """Returns the accuracy for these targets and outputs."""
        if outputs == 1:
            return BinaryAccuracy(self.name)
        return SparseCategoricalAccuracy(self.name) if indices else CategoricalAccuracy(self.name)
