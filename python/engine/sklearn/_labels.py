"""What a classifier tells apart, and how a network is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from engine._program import Float32
from engine.sklearn._samples import Array

LIKELY = 0.5  # where yes becomes likelier than no


def are_whole(y: Any) -> bool:
    """Whether `y` is a row of whole numbers: scikit-learn's checks find nothing there, and take long."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu"


class Labels:
    """The classes in targets, which become what the engine's losses take.

    scikit-learn's `LabelBinarizer` makes one number per class where there are several; those losses do without.

    Args:
        y: targets (n,), or of several labels at once (n, labels), maybe sparse.

    Raises:
        ValueError: if they tell no classes.

    Attributes:
        kind: "binary", "multiclass" or "multilabel-indicator", by scikit-learn's names.
        classes: labels, sorted.
    """

    def __init__(self, y: Any) -> None:
        self._sparse = sparse.issparse(y)
        y = y if self._sparse else np.asarray(y)
        if are_whole(y):
            self.classes = np.unique(y)
            self.kind = "multiclass" if len(self.classes) > 2 else "binary"  # noqa: PLR2004 # yes and no
            return
        self.kind = str(type_of_target(y, input_name="y"))
        if self.kind == "multiclass-multioutput":
            msg = f"Multioutput target data is not supported, got `y` of shape {y.shape}: fit a classifier per column"
            raise ValueError(msg)
        if self.kind not in {"binary", "multiclass", "multilabel-indicator"}:
            check_classification_targets(y)  # which finds words for everything else
        several = self.kind == "multilabel-indicator"
        # Of their own type, whatever held them: text out of an array of objects is text.
        self.classes = np.arange(y.shape[1]) if several else np.array([*np.unique(y)])

    def encoded(self, y: Any) -> Array:
        """Int32 indices (n,) of several classes; float32 (n, 1) of two, (n, labels) of several labels at once."""
        if self.kind == "multiclass":
            return np.asarray(np.searchsorted(self.classes, y), np.int32)
        if self.kind == "binary":
            second = np.zeros(len(y), bool) if len(self.classes) == 1 else y == self.classes[1]
            return second.astype(np.float32).reshape(-1, 1)
        return np.asarray(y.toarray() if sparse.issparse(y) else y, np.float32)

    def decoded(self, outputs: Float32) -> Any:
        """The labels that a network's outputs (n, outputs) tell: (n,), or (n, labels), sparse where `y` was."""
        if self.kind == "multiclass":
            return self.classes[outputs.argmax(axis=1)]
        likely = outputs > LIKELY
        if self.kind == "binary":
            return self.classes[np.minimum(likely.reshape(-1), len(self.classes) - 1)]
        return sparse.csr_matrix(likely, dtype=int) if self._sparse else likely.astype(int)
