"""Crossentropies: the negative logarithm of the probability of the target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine import ops
from engine._base.checks import LOWEST, above_zero, below_one, flag, integer, real
from engine._core_interface.cpp import Float32
from engine._data.target_shapes import class_indices_like
from engine._tracing.symbolic import contains_symbolic
from engine.losses import reductions
from engine.losses.loss import (
    Formula,
    FunctionLoss,
    Loss,
    evaluate_rows,
    formula,
    last_axis,
    mean_by_rows,
    register,
)

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "categorical_generalized_cross_entropy",
    "sparse_categorical_crossentropy",
]


@reductions.returns_tensors
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
    fields = formula("sparse_categorical_crossentropy", from_logits=from_logits)
    if contains_symbolic((y_true, y_pred)):
        indices = reductions.labels_like(y_true, y_pred, axis, ignore_class)
        if ignore_class is None:
            return _of_labels(fields, indices, y_pred, axis)
        # Nothing is computed of predictions that are ignored, since 0 times a NaN is none; -1 is no class, with the loss 0.
        counts = ops.not_equal(indices, ignore_class)
        y_pred = ops.where(ops.expand_dims(counts, axis), y_pred, np.float32(1))
        return _of_labels(fields, ops.where(counts, indices, -1), y_pred, axis)
    predictions = np.moveaxis(np.asarray(y_pred, np.float32), axis, -1)
    counted = None
    if ignore_class is not None:
        labels = np.asarray(y_true)
        labels = labels.reshape(predictions.shape[:-1]) if labels.size == predictions[..., 0].size else labels
        counted = labels != ignore_class
        y_true = np.where(counted, labels, 0)
    chosen = class_indices_like(y_true, predictions)
    losses = evaluate_rows(fields, chosen, predictions)
    return losses if counted is None else np.where(counted, losses, np.float32(0))


def _of_labels(fields: Formula, labels: Any, y_pred: Any, axis: int) -> Float32:
    """Records a formula for class indices, which are one-hot rows to it."""
    targets = ops.one_hot(labels, y_pred.shape[axis], axis)
    return evaluate_rows(fields, targets, y_pred, axis)


def warn_of_one_class(name: str, y_pred: ArrayLike, axis: int) -> None:
    """Warns, in Keras' words, that predictions of one class have no crossentropy of classes."""
    shape = () if contains_symbolic(y_pred) else np.shape(y_pred)
    if len(shape) > 1 and shape[axis] == 1:
        msg = (
            f"In loss {name}, expected y_pred.shape to be (batch_size, num_classes) with num_classes > 1. Received: "
            f"y_pred.shape={shape}. Consider using 'binary_crossentropy' if you only have 2 classes."
        )
        warnings.warn(msg, SyntaxWarning, stacklevel=4)


@reductions.returns_tensors
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
    fields = formula("categorical_crossentropy", from_logits=from_logits, label_smoothing=label_smoothing)
    warn_of_one_class("categorical_crossentropy", y_pred, axis)
    return evaluate_rows(fields, *reductions.paired(y_true, y_pred), axis=axis)


@reductions.returns_tensors
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
    fields = formula("binary_crossentropy", from_logits=from_logits, label_smoothing=label_smoothing)
    return mean_by_rows(fields, *reductions.paired(y_true, y_pred), axis=axis)


@reductions.returns_tensors
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
    fields = formula("categorical_generalized_cross_entropy", q)
    if contains_symbolic((y_true, y_pred)):
        return _of_labels(fields, reductions.labels_like(y_true, y_pred), y_pred, -1)
    predictions = np.asarray(y_pred, np.float32)
    return evaluate_rows(fields, class_indices_like(y_true, predictions), predictions)


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
    _kind = "sparse_categorical_crossentropy"
    _targets_are_indices = True
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

    def _formula(self) -> dict[str, Any]:
        return formula(self._kind, from_logits=self.from_logits)


class Smoothed(FunctionLoss):
    """A crossentropy whose labels may be smoothed.

    Args:
        from_logits: whether the model outputs logits.
        label_smoothing: fraction of each label, in [0, 1], that is spread evenly.
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

    def _formula(self) -> dict[str, Any]:
        return super()._formula() | {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }


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

    _kind = "categorical_crossentropy"
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

    _kind = "binary_crossentropy"


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

    _kind = "categorical_generalized_cross_entropy"
    _targets_are_indices = True
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

    def _formula(self) -> dict[str, Any]:
        return formula(self._kind, self.q)


@register("ce")
class _Crossentropy(Loss):
    """The loss "crossentropy", which becomes the one that fits labels and outputs, as in Keras."""

    _must_be_wrapped = False

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        if outputs == 1:
            return BinaryCrossentropy()
        return SparseCategoricalCrossentropy() if indices else CategoricalCrossentropy()
