"""Crossentropies: minus the logarithm of the probability of what was observed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import LOWEST, above_zero, below_one, flag, integer, real
from engine._base.cpp import Float32
from engine._data.target_shapes import EPSILON, class_indices_like, paired
from engine.losses.base import FunctionLoss, Loss, last_axis, register

# Keras clips probabilities to [1e-7, 1 - 1e-7] before the logarithm, in float32.
_HIGH = np.float32(1 - 1e-7)


def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Float32:
    """Returns the crossentropy of class indices per sample.

    The loss is `-log(p[label])`, with p scaled to sum 1.

    Args:
        y_true: class indices (n,) or (n, 1).
        y_pred: probabilities (n, classes), or logits if `from_logits`.
        from_logits: whether `y_pred` are logits, to which softmax is applied.
        ignore_class: class index whose samples have loss 0.
        axis: axis of the classes.

    Returns:
        float32 (n,).
    """
    predictions = np.moveaxis(np.asarray(y_pred, np.float32), axis, -1)
    kept = None
    if ignore_class is not None:
        labels = np.asarray(y_true)
        labels = labels.reshape(predictions.shape[:-1]) if labels.size == predictions[..., 0].size else labels
        kept = labels != ignore_class
        y_true = np.where(kept, labels, 0)
    chosen = class_indices_like(y_true, predictions)
    logs = np.take_along_axis(log_probabilities(predictions, from_logits), chosen[..., np.newaxis], axis=-1)
    losses: Float32 = -logs[..., 0]
    return losses if kept is None else np.where(kept, losses, np.float32(0))


def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Returns the crossentropy of one-hot labels per sample.

    The loss is `-sum(t * log(p))`, with p scaled to sum 1 and `t = y * (1 - smoothing) + smoothing / classes`.

    Args:
        y_true: probabilities of the classes, usually one-hot, (n, classes).
        y_pred: probabilities (n, classes), or logits if `from_logits`.
        from_logits: whether `y_pred` are logits, to which softmax is applied.
        label_smoothing: fraction of each label, in [0, 1], that is spread evenly over the classes.
        axis: axis of the classes.

    Returns:
        float32 (n,).
    """
    target, prediction = (np.moveaxis(array, axis, -1) for array in paired(y_true, y_pred))
    target = smoothed(target, label_smoothing, prediction.shape[-1])
    losses: Float32 = -np.sum(target * log_probabilities(prediction, from_logits), axis=-1)
    return losses


def binary_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Float32:
    """Returns the binary crossentropy per sample.

    The loss is `-mean(t * log(p) + (1 - t) * log(1 - p))`, with `t = y * (1 - smoothing) + smoothing / 2`.

    Args:
        y_true: targets in [0, 1], (n, outputs).
        y_pred: probabilities (n, outputs), or logits if `from_logits`.
        from_logits: whether `y_pred` are logits, to which sigmoid is applied.
        label_smoothing: how far labels move towards 0.5, in [0, 1].
        axis: axis of the mean.

    Returns:
        float32 (n,).
    """
    target, prediction = paired(y_true, y_pred)
    target = smoothed(target, label_smoothing, 2)
    if from_logits:
        losses = np.maximum(prediction, 0) - prediction * target + np.log1p(np.exp(-np.abs(prediction)))
    else:
        losses = binary_surprise(target, prediction)
    means: Float32 = np.mean(losses, axis=axis, dtype=np.float32)
    return means


def categorical_generalized_cross_entropy(y_true: ArrayLike, y_pred: ArrayLike, q: float) -> Float32:
    """`(1 - p[label]**q) / q` per sample: between the crossentropy, q near 0, and the absolute error, q near 1.

    Source: Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels, 2018.

    Args:
        y_true: class indices (n,) or (n, 1).
        y_pred: probabilities (n, classes), taken as they are.
        q: in (0, 1).

    Returns:
        float32 (n,).
    """
    predictions = np.asarray(y_pred, np.float32)
    chosen = class_indices_like(y_true, predictions)
    p = np.take_along_axis(predictions, chosen[..., np.newaxis], axis=-1)[..., 0]
    return np.asarray((1 - np.power(p, np.float32(q))) / np.float32(q), np.float32)


def smoothed(target: Float32, smoothing: float, classes: int) -> Float32:
    """Targets with the share `smoothing` of them spread evenly over the classes."""
    return target * np.float32(1 - smoothing) + np.float32(smoothing / classes)


def binary_surprise(target: Float32, probability: Float32) -> Float32:
    """`-(t * log(p) + (1 - t) * log(1 - p))` per element, p clipped."""
    p = np.clip(probability, EPSILON, _HIGH)
    surprise: Float32 = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    return surprise


def softmax_of(logits: Float32) -> Float32:
    """Probabilities over the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


def clipped_shares(predictions: Float32) -> Float32:
    """Predictions renormalised over the last axis, and clipped."""
    shares: Float32 = np.clip(predictions / predictions.sum(axis=-1, keepdims=True), EPSILON, _HIGH)
    return shares


def log_probabilities(predictions: Float32, from_logits: bool) -> Float32:
    """Logarithms of the probabilities over the last axis."""
    if from_logits:
        shifted = predictions - predictions.max(axis=-1, keepdims=True)
        logs: Float32 = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
        return logs
    return np.log(clipped_shares(predictions))


@register("scce", function=sparse_categorical_crossentropy)
class SparseCategoricalCrossentropy(FunctionLoss):
    """Crossentropy for labels that are class indices: `-log(p[label])`.

    Args:
        from_logits: whether the model outputs logits, to which softmax is applied.
        ignore_class: class index, or another number such as -1, whose samples have loss 0.
        reduction: how to combine the losses of samples, as in `Loss`.
        axis: axis of the classes. Training supports only the last.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _unsaved_arguments = ("dtype", "axis")
    _function = staticmethod(sparse_categorical_crossentropy)
    _wants_indices = True
    _wants_classes = True

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = flag(from_logits, "from_logits")
        self.ignore_class = None if ignore_class is None else integer(ignore_class, "ignore_class", LOWEST)
        self._ignored_class = self.ignore_class
        self.axis = last_axis(axis)


class Smoothed(FunctionLoss):
    """A crossentropy whose labels may be smoothed.

    Args:
        from_logits: whether the model outputs logits.
        label_smoothing: how far labels move towards their mean, in [0, 1].
        axis: axis of the outputs. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _wants_fractions = True

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = flag(from_logits, "from_logits")
        self.label_smoothing = real(label_smoothing, "label_smoothing", 0.0, 1.0)
        self.axis = last_axis(axis)


@register("cce", function=categorical_crossentropy)
class CategoricalCrossentropy(Smoothed):
    """Crossentropy for one-hot labels: `-sum(y * log(p))`.

    Args:
        from_logits: whether the model outputs logits, to which softmax is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / classes` (Szegedy et al., 2015).
        axis: axis of the classes. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _function = staticmethod(categorical_crossentropy)
    _wants_classes = True


@register("bce", function=binary_crossentropy)
class BinaryCrossentropy(Smoothed):
    """Crossentropy of independent binary outputs: `-mean(y * log(p) + (1 - y) * log(1 - p))`.

    Args:
        from_logits: whether the model outputs logits, to which sigmoid is applied.
        label_smoothing: s in [0, 1]: labels become `y * (1 - s) + s / 2`.
        axis: axis of the mean. Training supports only the last.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _function = staticmethod(binary_crossentropy)


@register(function=categorical_generalized_cross_entropy)
class CategoricalGeneralizedCrossEntropy(FunctionLoss):
    """A crossentropy that wrong labels disturb less: `(1 - p[label]**q) / q` (Zhang and Sabuncu, 2018).

    The model's last layer gives probabilities, by a softmax.

    Args:
        q: in (0, 1): near 0 it is the crossentropy, near 1 the absolute error.
        reduction: how to combine the losses of samples, as in `Loss`.
        name: name of the loss, as in `Loss`.
        dtype: None or "float32".
    """

    _function = staticmethod(categorical_generalized_cross_entropy)
    _wants_indices = True
    _wants_classes = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.q = above_zero(below_one(q, "q"), "q")

    def _parameters(self) -> list[float]:
        """`q`."""
        return [self.q]


@register("ce")
class _Crossentropy(Loss):
    """The crossentropy that suits labels and outputs, as Keras picks it for "crossentropy"."""

    _needs_host = False

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        if outputs == 1:
            return BinaryCrossentropy()
        return SparseCategoricalCrossentropy() if indices else CategoricalCrossentropy()
