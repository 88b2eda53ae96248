"""Intersection over union of the samples of a class and those that are predicted to be of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import EPSILON, LOWEST, choice, flag, integer, integers, real
from engine._base.tensor_like import Number
from engine.metrics.metric import Metric, register

Array = NDArray[Any]

_ABSENT = 1e-9
"""A class whose samples have a smaller sum of weights is left out of the mean, as in Keras."""
_DTYPES = {"int": "int32", "int32": "int32", "float32": "float32"}
"""Possible arguments `dtype`, and the values of the attribute."""


class _IntersectionOverUnion(Metric):
    """The base class: a confusion matrix with true classes in rows and predicted classes in columns.

    Samples with a class or a prediction outside `[0, num_classes)` are left out.

    Args:
        num_classes: number of classes.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
        ignore_class: class index of samples to leave out.
        sparse_y_true: whether targets are class indices; else the class is the largest along `axis`.
        sparse_y_pred: whether predictions are class indices; else the class is the largest along `axis`.
        axis: axis of the classes.
    """

    _direction = "up"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_classes: int,
        name: str | None = None,
        dtype: object = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.dtype = _DTYPES[choice("int" if dtype is None else dtype, "dtype", list(_DTYPES))]
        self.num_classes = integer(num_classes, "num_classes", 1)
        self.ignore_class = None if ignore_class is None else integer(ignore_class, "ignore_class", LOWEST)
        self.sparse_y_true = flag(sparse_y_true, "sparse_y_true")
        self.sparse_y_pred = flag(sparse_y_pred, "sparse_y_pred")
        self.axis = integer(axis, "axis", LOWEST)
        self.total_cm = self.add_variable((self.num_classes, self.num_classes), name="total_confusion_matrix")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: class indices, or numbers per class unless `sparse_y_true`.
            y_pred: class indices, or numbers per class unless `sparse_y_pred`.
            sample_weight: a number, one per class index, or one per sample; default 1.

        Raises:
            ValueError: if there is not one prediction per target, or the weights don't fit.
        """
        truth = self._classes(y_true, self.sparse_y_true)
        predicted = self._classes(y_pred, self.sparse_y_pred)
        if truth.size != predicted.size:
            msg = (
                f"`y_pred` must have one class per target, got the shapes {predicted.shape} and {truth.shape}"
            )
            raise ValueError(msg)
        weights = _spread(sample_weight, truth)
        truth, predicted = truth.reshape(-1), predicted.reshape(-1)
        counted = (
            (truth >= 0) & (truth < self.num_classes) & (predicted >= 0) & (predicted < self.num_classes)
        )
        if self.ignore_class is not None:
            counted &= truth != self.ignore_class
        matrix = np.zeros((self.num_classes, self.num_classes))
        np.add.at(matrix, (truth[counted], predicted[counted]), weights[counted])
        self.total_cm.assign_add(matrix)

    def result(self) -> float:
        """Returns the mean over the target classes; 0.0 if none of them occurred."""
        counts = np.asarray(self.total_cm)
        intersection = np.diag(counts)
        either = counts.sum(axis=0) + counts.sum(axis=1) - intersection
        classes = self._target_classes
        intersection, either = intersection[classes], either[classes]
        present = either > _ABSENT
        ratios = np.where(present, intersection / (either + EPSILON), 0.0)
        return Number(ratios.sum() / (present.sum() + EPSILON))

    @property
    def _target_classes(self) -> list[int]:
        """Indices of the classes over which the mean is taken."""
        return list(range(self.num_classes))

    def _classes(self, values: ArrayLike, sparse: bool) -> NDArray[np.int64]:
        array = np.asarray(values)
        if sparse:
            return array.astype(np.int64)
        if array.ndim == 0:
            msg = "targets and predictions must have an axis of classes, got a number"
            raise ValueError(msg)
        return np.asarray(np.argmax(array, axis=self.axis), np.int64)


def _spread(sample_weight: ArrayLike | None, classes: Array) -> NDArray[np.float64]:
    """Returns one weight for each class index in `classes` (n, ...), as a vector."""
    if sample_weight is None:
        return np.ones(classes.size)
    weights = np.asarray(sample_weight, np.float64)
    if weights.ndim == 0 or weights.size == classes.size:
        return np.broadcast_to(weights.reshape(-1), classes.size)
    if classes.ndim and weights.size == len(classes):
        return np.repeat(weights.reshape(-1), classes.size // len(classes))
    msg = f"`sample_weight` must have one weight per target, {classes.shape}, got {weights.shape}"
    raise ValueError(msg)


def _target_ids(value: object, classes: int) -> list[int]:
    ids = list(integers(value, "target_class_ids", 0))
    if not ids or max(ids) >= classes:
        msg = f"`target_class_ids` must lie in [0, {classes}), got {ids}"
        raise ValueError(msg)
    return ids


@register("iou")
class IoU(_IntersectionOverUnion):
    """`true_positives / (true_positives + false_positives + false_negatives)`, the mean over some classes.

    Args:
        num_classes: number of classes.
        target_class_ids: indices of the classes whose mean is returned.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
        ignore_class: class index of samples to leave out.
        sparse_y_true: whether targets are class indices; else the class is the largest along `axis`.
        sparse_y_pred: whether predictions are class indices; else the class is the largest along `axis`.
        axis: axis of the classes.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: object = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        self.target_class_ids = _target_ids(target_class_ids, self.num_classes)

    @property
    def _target_classes(self) -> list[int]:
        return self.target_class_ids


@register("binary_iou")
class BinaryIoU(IoU):
    """Intersection over union of two classes, told apart by one number per sample.

    Args:
        target_class_ids: whose mean is taken, 0, 1 or both.
        threshold: predictions of at least this are taken for class 1.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
    """

    _unsaved_arguments = ("num_classes",)

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = real(threshold, "threshold")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: 0 or 1 for each sample.
            y_pred: a number for each.
            sample_weight: a number, one per target, or one per sample; default 1.
        """
        super().update_state(
            y_true, np.asarray(y_pred, np.float32) >= np.float32(self.threshold), sample_weight
        )


@register("mean_iou")
class MeanIoU(_IntersectionOverUnion):
    """The mean over all classes of their intersection over union.

    Args:
        num_classes: number of classes.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
        ignore_class: class index of samples to leave out.
        sparse_y_true: whether targets are class indices; else the class is the largest along `axis`.
        sparse_y_pred: whether predictions are class indices; else the class is the largest along `axis`.
        axis: axis of the classes.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_classes: int,
        name: str | None = None,
        dtype: object = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        self.target_class_ids = self._target_classes


@register("one_hot_iou")
class OneHotIoU(IoU):
    """`IoU` where targets are one-hot, and predictions numbers per class.

    Args:
        num_classes: number of classes.
        target_class_ids: indices of the classes whose mean is returned.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
        ignore_class: class index of samples to leave out.
        sparse_y_pred: whether predictions are class indices.
        axis: axis of the classes.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: object = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


@register("one_hot_mean_iou")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` where targets are one-hot, and predictions numbers per class.

    Args:
        num_classes: number of classes.
        name: name of the metric, which is its key in logs.
        dtype: None, "int" or "float32". Ignored: sample weights are used as they are.
        ignore_class: class index of samples to leave out.
        sparse_y_pred: whether predictions are class indices.
        axis: axis of the classes.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_classes: int,
        name: str | None = None,
        dtype: object = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
