"""Labels as targets of a network's loss, and outputs of a network as labels.

The estimators of `engine.sklearn` and of `engine.wrappers` use it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from engine._core_interface.cpp import Float32
from engine.sklearn.samples import Array

THRESHOLD = 0.5
"""A label is predicted if its probability is larger."""


def are_class_numbers(y: Any) -> bool:
    """Returns whether `y` is an array (n,) of integers or booleans, which scikit-learn's slow checks always accept."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu"


class Labels:
    """Encodes labels as targets of the engine's losses, and decodes outputs as labels.

    scikit-learn's `LabelBinarizer` makes one-hot rows of several classes; the engine's loss reads class indices.

    Args:
        y: labels (n,), or a 0/1 array or sparse matrix (n, labels) for several labels per sample.
        classes: the labels of all samples, sorted, if `y` may lack some of them.

    Raises:
        ValueError: if `y` isn't of one of these kinds.

    Attributes:
        kind: scikit-learn's name of the kind: "binary", "multiclass" or "multilabel-indicator".
        classes: the labels, sorted.
    """

    def __init__(self, y: Any, classes: Any = None) -> None:
        if classes is not None:
            y = classes
        self._sparse = sparse.issparse(y)
        y = y if self._sparse else np.asarray(y)
        if are_class_numbers(y):
            self.classes = np.unique(y)
            self.kind = "multiclass" if len(self.classes) > 2 else "binary"  # noqa: PLR2004 # two classes
            return
        self.kind = str(type_of_target(y, input_name="y"))
        if self.kind == "multiclass-multioutput":
            msg = f"Multioutput target data is not supported, got `y` of shape {y.shape}: fit a classifier per column"
            raise ValueError(msg)
        if self.kind not in {"binary", "multiclass", "multilabel-indicator"}:
            check_classification_targets(y)  # raises an error that names the kind
        several = self.kind == "multilabel-indicator"
        # A new array gets the dtype of the labels: strings in an array of objects become an array of strings.
        self.classes = np.arange(y.shape[1]) if several else np.array([*np.unique(y)])

    def encoded(self, y: Any) -> Array:
        """Returns int32 indices (n,) for several classes, float32 (n, 1) for two, and (n, labels) for several labels."""
        if self.kind == "multiclass":
            return np.asarray(np.searchsorted(self.classes, y), np.int32)
        if self.kind == "binary":
            second = np.zeros(len(y), bool) if len(self.classes) == 1 else y == self.classes[1]
            return second.astype(np.float32).reshape(-1, 1)
        return np.asarray(y.toarray() if sparse.issparse(y) else y, np.float32)

    def decoded(self, outputs: Float32) -> Any:
        """Returns the labels of outputs (n, outputs): (n,), or (n, labels), sparse if `y` was."""
        if self.kind == "multiclass":
            return self.classes[outputs.argmax(axis=1)]
        chosen = outputs > THRESHOLD
        if self.kind == "binary":
            return self.classes[np.minimum(chosen.reshape(-1), len(self.classes) - 1)]
        return sparse.csr_matrix(chosen, dtype=int) if self._sparse else chosen.astype(int)


def both_probabilities(outputs: Array) -> Array:
    """Returns the probabilities of both classes (n, 2), given those of the second one (n, 1)."""
    return np.hstack([1 - outputs, outputs])


def class_weighted(class_weight: Any, y: Any, sample_weight: Array | None) -> Array | None:
    """Returns the weights of samples (n,), multiplied by those of their classes.

    Args:
        class_weight: dict from label to weight, a list of such dicts for several outputs, "balanced", or None.
        y: labels (n,), or (n, labels).
        sample_weight: weights (n,), or None.
    """
    if class_weight is None:
        return sample_weight
    weights = compute_sample_weight(class_weight, y)
    return np.asarray(weights if sample_weight is None else weights * sample_weight)
