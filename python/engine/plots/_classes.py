"""Converts labels and outputs in all their forms to class numbers with names, for the plots of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import REAL
from engine.utils.reports import class_indices, require_equal_lengths

_BINARY = 2


class ClassPredictions(NamedTuple):
    """True and predicted classes, as indices into `names`."""

    truth: NDArray[np.intp]
    predicted: NDArray[np.intp]
    names: list[str]


def class_predictions(
    y_true: ArrayLike, y_pred: ArrayLike, display_labels: Sequence[Any] | None
) -> ClassPredictions:
    """Returns the classes that occur, or all that `y_pred` or `display_labels` have.

    Args:
        y_true: class indices (n,) or (n, 1), one-hot rows (n, classes), or strings (n,).
        y_pred: the same, or outputs of a model (n, classes), of which the largest counts, or (n, 1), of which those
            above 0.5 count as class 1.
        display_labels: names of the classes.
    """
    classes = [np.asarray(y_true), np.asarray(y_pred)]
    if all(array.dtype.kind in "USO" and array.ndim == 1 for array in classes):
        require_equal_lengths(classes[0], classes[1])
        labels, codes = np.unique(
            np.concatenate([array.astype(str) for array in classes]), return_inverse=True
        )
        names = class_names(labels.tolist(), display_labels)
        return ClassPredictions(codes[: len(classes[0])], codes[len(classes[0]) :], names)
    truth, predicted = class_indices(y_true, "y_true"), class_indices(y_pred, "y_pred")
    require_equal_lengths(truth, predicted)
    present = np.union1d(truth, predicted)
    outputs = max((array.shape[1] for array in classes if array.ndim == 2), default=1)  # noqa: PLR2004 # a matrix
    if outputs == 1 and display_labels is not None and len(display_labels) > max(present[-1], len(present)):
        outputs = len(display_labels)
    if classes[1].ndim == 2 and outputs == 1:  # noqa: PLR2004 # a matrix of one column answers yes or no
        outputs = _BINARY
    labels = np.arange(outputs) if outputs > present[-1] else present
    names = class_names(labels.tolist(), display_labels)
    return ClassPredictions(np.searchsorted(labels, truth), np.searchsorted(labels, predicted), names)


def class_names(labels: Sequence[Any], display_labels: Sequence[Any] | None) -> list[str]:
    """Returns the names of the classes `labels`."""
    if display_labels is None:
        return [str(label) for label in labels]
    names = [str(name) for name in display_labels]
    if len(names) != len(labels):
        shown = ", ".join(map(str, labels))
        msg = f"`display_labels` has {len(names)} names, but there are {len(labels)} classes: {shown}"
        raise ValueError(msg)
    return names


def probabilities(y_pred: ArrayLike, name: str) -> NDArray[np.float64]:
    """Returns the outputs of a model as one column per class.

    Args:
        y_pred: (n, classes), or (n,) or (n, 1) for class 1 of two.
        name: the name of the argument, for messages.
    """
    array = np.asarray(y_pred)
    if array.dtype.kind not in REAL or array.ndim not in (1, 2) or array.size == 0:
        msg = (
            f"`{name}` must hold outputs of a model, (n, classes) or (n, 1), got {array.dtype} {array.shape}"
        )
        raise ValueError(msg)
    outputs = array.astype(np.float64).reshape(len(array), -1)
    if not np.isfinite(outputs).all():
        row = int(np.argmin(np.isfinite(outputs).all(axis=1)))
        msg = f"`{name}` must be finite, but row {row} isn't: {array[row]}"
        raise ValueError(msg)
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs
