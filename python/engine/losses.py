"""What training makes small: as classes for `compile`, and as functions that give the loss of each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import flag, real
from engine._program import Float32
from engine._spec import Registry, Spec, snake_case
from engine._targets import class_indices_like, like_predictions, weights_like

# Keras clips probabilities to [1e-7, 1 - 1e-7] before the logarithm, in float32.
_LOW, _HIGH = np.float32(1e-7), np.float32(1 - 1e-7)


def sparse_categorical_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False
) -> Float32:
    """`-log(p[label])` per sample, with p renormalised to the sum 1.

    Args:
        y_true: class indices (n,) or (n, 1).
        y_pred: probabilities (n, classes), or logits if `from_logits`.
        from_logits: whether `y_pred` still has to go through a softmax.

    Returns:
        float32 (n,).
    """
    predictions = np.asarray(y_pred, np.float32)
    labels = class_indices_like(y_true, predictions)
    chosen = np.take_along_axis(
        _log_probabilities(predictions, from_logits), labels[..., np.newaxis], axis=-1
    )
    losses: Float32 = -chosen[..., 0]
    return losses


def categorical_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0
) -> Float32:
    """`-sum(t * log(p))` per sample, with p renormalised and `t = y * (1 - smoothing) + smoothing / classes`.

    Args:
        y_true: one probability per class, (n, classes); usually one-hot.
        y_pred: probabilities (n, classes), or logits if `from_logits`.
        from_logits: whether `y_pred` still has to go through a softmax.
        label_smoothing: in [0, 1]: the share of each label spread evenly over the classes.

    Returns:
        float32 (n,).
    """
    predictions = np.asarray(y_pred, np.float32)
    classes = predictions.shape[-1]
    target = like_predictions(y_true, predictions) * np.float32(1 - label_smoothing) + np.float32(
        label_smoothing / classes
    )
    losses: Float32 = -np.sum(target * _log_probabilities(predictions, from_logits), axis=-1)
    return losses


def binary_crossentropy(
    y_true: ArrayLike, y_pred: ArrayLike, from_logits: bool = False, label_smoothing: float = 0.0
) -> Float32:
    """`-mean(t * log(p) + (1 - t) * log(1 - p))` per sample, with `t = y * (1 - smoothing) + smoothing / 2`.

    Args:
        y_true: a number in [0, 1] per output, (n, outputs).
        y_pred: probabilities (n, outputs), or logits if `from_logits`.
        from_logits: whether `y_pred` still has to go through a sigmoid.
        label_smoothing: in [0, 1]: how far labels move towards 0.5.

    Returns:
        float32 (n,).
    """
    predictions = np.asarray(y_pred, np.float32)
    target = like_predictions(y_true, predictions) * np.float32(1 - label_smoothing) + np.float32(
        label_smoothing / 2
    )
    if from_logits:
        losses = np.maximum(predictions, 0) - predictions * target + np.log1p(np.exp(-np.abs(predictions)))
    else:
        p = np.clip(predictions, _LOW, _HIGH)
        losses = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    means: Float32 = np.mean(losses, axis=-1)
    return means


def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Float32:
    """`mean((y_true - y_pred)**2)` per sample.

    Args:
        y_true: targets (n, outputs).
        y_pred: predictions (n, outputs).

    Returns:
        float32 (n,).
    """
    predictions = np.asarray(y_pred, np.float32)
    means: Float32 = np.mean(np.square(like_predictions(y_true, predictions) - predictions), axis=-1)
    return means


def _log_probabilities(predictions: Float32, from_logits: bool) -> Float32:
    if from_logits:
        shifted = predictions - predictions.max(axis=-1, keepdims=True)
        logs: Float32 = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    else:
        logs = np.log(np.clip(predictions / predictions.sum(axis=-1, keepdims=True), _LOW, _HIGH))
    return logs


class Loss(Spec):
    """Base class: a named formula. A subclass gives `function` and stores the formula's options.

    Args:
        name: for the config alone.
    """

    function: ClassVar[Callable[..., Float32]]
    """Losses (n,) from targets, predictions and the options of the class."""
    wants_indices: ClassVar[bool] = False
    """Whether targets are class indices (n,) rather than one number per output."""
    wants_classes: ClassVar[bool] = False
    """Whether the outputs stand for classes that exclude each other."""
    wants_fractions: ClassVar[bool] = False
    """Whether targets must lie in [0, 1]."""

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The mean over the samples, `sum(weight * loss) / n`.

        Args:
            y_true: targets, as in the class' function.
            y_pred: predictions (n, outputs).
            sample_weight: (n,), default 1.

        Returns:
            A Python float.
        """
        losses: NDArray[Any] = type(self).function(y_true, y_pred, **self._options())
        return float(np.mean(losses * weights_like(sample_weight, losses)))

    def lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""
        kind = snake_case(type(self).__name__)
        return {"kind": kind, "from_logits": False, "label_smoothing": 0.0} | self._options()

    def _options(self) -> dict[str, Any]:
        return {option: value for option, value in self.get_config().items() if option != "name"}


_registry: Registry[Loss] = Registry("loss", Loss)
get = _registry.get


@_registry.register("scce", function=sparse_categorical_crossentropy)
class SparseCategoricalCrossentropy(Loss):
    """Crossentropy for class indices: `-log(p[label])`.

    Args:
        from_logits: whether the model's last layer leaves out the softmax.
        name: for the config alone.
    """

    function = staticmethod(sparse_categorical_crossentropy)
    wants_indices = True
    wants_classes = True

    def __init__(self, from_logits: bool = False, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.from_logits = flag(from_logits, "from_logits")


@_registry.register("cce", function=categorical_crossentropy)
class CategoricalCrossentropy(Loss):
    """Crossentropy for one-hot labels: `-sum(y * log(p))`.

    Args:
        from_logits: whether the model's last layer leaves out the softmax.
        label_smoothing: in [0, 1]: `y * (1 - s) + s / classes` takes the place of y (Szegedy et al., 2015).
        name: for the config alone.
    """

    function = staticmethod(categorical_crossentropy)
    wants_classes = True
    wants_fractions = True

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.from_logits = flag(from_logits, "from_logits")
        self.label_smoothing = real(label_smoothing, "label_smoothing", 0.0, 1.0)


@_registry.register("bce", function=binary_crossentropy)
class BinaryCrossentropy(Loss):
    """Crossentropy of independent yes-or-no outputs: `-mean(y * log(p) + (1 - y) * log(1 - p))`.

    Args:
        from_logits: whether the model's last layer leaves out the sigmoid.
        label_smoothing: in [0, 1]: `y * (1 - s) + s / 2` takes the place of y.
        name: for the config alone.
    """

    function = staticmethod(binary_crossentropy)
    wants_fractions = True

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.from_logits = flag(from_logits, "from_logits")
        self.label_smoothing = real(label_smoothing, "label_smoothing", 0.0, 1.0)


@_registry.register("mse", function=mean_squared_error)
class MeanSquaredError(Loss):
    """`mean((y - p)**2)`.

    Args:
        name: for the config alone.
    """

    function = staticmethod(mean_squared_error)
