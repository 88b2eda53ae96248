"""What `compile` reports beside the loss; each may also be used on its own, batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from engine._checks import real
from engine._program import Float32
from engine._spec import Registry, Spec, snake_case
from engine._targets import class_indices_like, like_predictions, weights_like
from engine.losses import mean_squared_error


class Metric(Spec, ABC):
    """Base class: the mean of one value per sample. A subclass gives `values` and stores its options.

    Args:
        name: the key in logs and histories.
    """

    wants_indices: ClassVar[bool] = False
    """Whether targets are class indices (n,) rather than one number per output."""
    _direction: ClassVar[str | None] = None
    """Whether more is better, "up", or less, "down"; None where nobody can say."""

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    @abstractmethod
    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        """The value of each sample, float32 (n,), from targets and predictions."""

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch.

        Args:
            y_true: targets, class indices (n,) or (n, outputs).
            y_pred: predictions (n, outputs).
            sample_weight: (n,), default 1.
        """
        values = self.values(y_true, y_pred).astype(np.float64)
        weights = weights_like(sample_weight, values)
        self._total += float(np.sum(values * weights))
        self._weight += float(np.sum(weights))

    def result(self) -> float:
        """The weighted mean over all batches since `reset_state`; 0.0 before the first."""
        return self._total / self._weight if self._weight else 0.0

    def reset_state(self) -> None:
        """Forget all batches."""
        self._total, self._weight = 0.0, 0.0

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Add a batch and return the mean so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def resolve(self, indices: bool, outputs: int) -> Metric:
        """The metric to compute, given whether targets are class indices and the width of the predictions."""
        return self

    def lower(self) -> dict[str, Any]:
        """The metric as the core reads it."""
        options = {option: value for option, value in self.get_config().items() if option != "name"}
        return {"kind": snake_case(type(self).__name__)} | options


_registry: Registry[Metric] = Registry("metric", Metric)


@_registry.register()
class SparseCategoricalAccuracy(Metric):
    """Share of samples whose largest output is the label, a class index.

    Args:
        name: the key in logs and histories.
    """

    wants_indices = True
    _direction = "up"

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        """1 for a hit, else 0."""
        predictions = np.asarray(y_pred)
        return np.asarray(
            np.argmax(predictions, axis=-1) == class_indices_like(y_true, predictions), np.float32
        )


@_registry.register()
class CategoricalAccuracy(Metric):
    """Share of samples whose largest output is where the one-hot label is largest.

    Args:
        name: the key in logs and histories.
    """

    _direction = "up"

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        """1 for a hit, else 0."""
        predictions = np.asarray(y_pred)
        targets = like_predictions(y_true, predictions)
        return np.asarray(np.argmax(predictions, axis=-1) == np.argmax(targets, axis=-1), np.float32)


@_registry.register()
class BinaryAccuracy(Metric):
    """Share of outputs on the label's side of the threshold.

    Args:
        threshold: outputs above it count as 1.
        name: the key in logs and histories.
    """

    _direction = "up"

    def __init__(self, *, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name=name)
        self.threshold = real(threshold, "threshold")

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        """The share of each sample's outputs."""
        predictions = np.asarray(y_pred)
        hits = (predictions > self.threshold) == like_predictions(y_true, predictions)
        return np.asarray(np.mean(hits, axis=-1), np.float32)


@_registry.register("mse")
class MeanSquaredError(Metric):
    """`mean((y - p)**2)`.

    Args:
        name: the key in logs and histories.
    """

    _direction = "down"

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        """The mean over each sample's outputs."""
        return mean_squared_error(y_true, y_pred)


@_registry.register("acc")
class _Accuracy(Metric):
    """The accuracy that suits labels and outputs, as Keras picks it for "accuracy"."""

    _direction = "up"

    def values(self, y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
        predictions = np.asarray(y_pred)
        indices = np.size(y_true) == len(predictions)
        return self.resolve(indices, predictions.shape[-1]).values(y_true, predictions)

    def resolve(self, indices: bool, outputs: int) -> Metric:
        if indices:
            return SparseCategoricalAccuracy(name=self.name)
        return BinaryAccuracy(name=self.name) if outputs == 1 else CategoricalAccuracy(name=self.name)


def get(identifier: object) -> Metric:
    """The metric that a name, a class, a config dict or an object stands for; a name stays the name in logs.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest.
        TypeError: for anything that cannot stand for a metric.
    """
    metric = _registry.get(identifier)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric
