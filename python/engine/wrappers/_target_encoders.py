"""Targets of estimators as targets of a model, and outputs of a model as predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from engine import losses
from engine.sklearn.labels import Labels, both_probabilities
from engine.sklearn.samples import Array

if TYPE_CHECKING:
    from typing_extensions import Self

ONE_HOT, MULTILABEL = "multiclass-onehot", "multilabel-indicator"
"""Kinds of targets (n, classes): exactly one 1 in each row, or any number."""
SEVERAL_COLUMNS = "multiclass-multioutput"
"""The kind of targets (n, outputs) with several classes in each column."""


def needs_one_hot(loss: Any) -> bool:
    """Returns whether `loss` is the categorical crossentropy, whose targets are one-hot rows."""
    if isinstance(loss, type):
        return issubclass(loss, losses.CategoricalCrossentropy)
    resolved = losses.get(loss) if isinstance(loss, str) else loss
    return isinstance(resolved, losses.CategoricalCrossentropy) or resolved is losses.categorical_crossentropy


class ClassifierLabelEncoder(TransformerMixin, BaseEstimator):
    """Encodes labels as targets of a loss, and decodes outputs of a model as labels: the `target_encoder` of classifiers.

    Labels of two or more classes, numbers or strings, become their indices, float32 (n, 1), or one-hot rows (n, classes)
    for the categorical crossentropy. One-hot rows, 0/1 labels (n, labels) and columns of class indices stay what they are.

    Args:
        loss: the loss: its name, class, instance or function, or None.
        categories: "auto", or a list with one array, the labels of all samples, if those given to `fit` may lack some.

    Attributes:
        classes_: labels, sorted; the numbers of the columns for targets of several columns, and None for columns of
            several classes.
        n_classes_: their number, or None.
        n_outputs_, n_outputs_expected_: the number of outputs that the model should have, 1.
    """

    classes_: Any
    n_classes_: Any

    def __init__(self, loss: Any = None, categories: Any = "auto") -> None:
        self.loss = loss
        self.categories = categories

    def fit(self, y: Any) -> Self:
        """Learns the labels.

        Args:
            y: labels (n,), (n, 1), or (n, labels).

        Raises:
            ValueError: if `y` holds no labels.
        """
        classes = None if isinstance(self.categories, str) else np.sort(np.asarray(self.categories[0]))
        self._shape, self._dtype = y.shape[1:], y.dtype
        self.n_outputs_ = self.n_outputs_expected_ = 1
        if type_of_target(y) == SEVERAL_COLUMNS:
            self._kind, self._labels, self.classes_, self.n_classes_ = SEVERAL_COLUMNS, None, None, None
            return self
        column = y.ndim == 2 and y.shape[1] == 1  # noqa: PLR2004
        self._labels = Labels(y.reshape(-1) if column else y, None if y.ndim > 1 and not column else classes)
        self._kind, self.classes_ = self._labels.kind, self._labels.classes
        self.n_classes_ = len(self.classes_)
        dense = self._kind == MULTILABEL and isinstance(y, np.ndarray)
        if dense and y.min() == 0 and (y.sum(axis=1) == 1).all():
            self._kind = ONE_HOT
        return self

    def transform(self, y: Any) -> Array:
        """Returns targets for the loss.

        Args:
            y: labels as for `fit`.

        Raises:
            ValueError: if `y` has labels that are not in `classes_`.
        """
        check_is_fitted(self)
        if self._labels is None or self._kind in {ONE_HOT, MULTILABEL}:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y, np.float32)
        labels = np.asarray(y).reshape(-1)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            msg = f"Found unknown categories {unknown.tolist()} in `y`: the classes are {self.classes_.tolist()}"
            raise ValueError(msg)
        indices = np.searchsorted(self.classes_, labels)
        if needs_one_hot(self.loss):
            return np.eye(self.n_classes_, dtype=np.float32)[indices]
        return indices.astype(np.float32).reshape(-1, 1)

    def inverse_transform(self, y: Any, return_proba: bool = False) -> Any:
        """Returns the predicted labels in the shape and dtype of those given to `fit`, or probabilities.

        Args:
            y: outputs of the model, (n, 1) or (n, classes).
            return_proba: whether to return the probability of each class, (n, classes). If the model has one output for
                two classes, it is the probability of the second.

        Raises:
            ValueError: if labels are asked for, and the targets are columns of several classes.
        """
        check_is_fitted(self)
        outputs = np.asarray(y) if self._labels is None else np.asarray(y).reshape(len(y), -1)
        if return_proba:
            two = self._kind == "binary" and outputs.shape[1] == 1 and self.n_classes_ == 2  # noqa: PLR2004
            return both_probabilities(outputs) if two else outputs
        if self._labels is None:
            msg = (
                "class predictions are not defined for targets of several columns of several classes "
                "('multiclass-multioutput'): override `target_encoder` with a transformer that returns them, or use "
                "predict_proba"
            )
            raise ValueError(msg)
        if self._kind == ONE_HOT:
            classes = np.eye(outputs.shape[1], dtype=int)[outputs.argmax(axis=1)]
        elif self._kind == "binary" and outputs.shape[1] > 1:
            classes = self.classes_[outputs.argmax(axis=1)]
        else:
            classes = self._labels.decoded(outputs)
        return classes.reshape(-1, 1) if self._shape == (1,) else classes

    def get_metadata(self) -> dict[str, Any]:
        """Returns the attributes that the estimator has too, and that `meta` of the build function contains."""
        names = ("classes_", "n_classes_", "n_outputs_", "n_outputs_expected_")
        return {name: getattr(self, name) for name in names}


class RegressorTargetEncoder(TransformerMixin, BaseEstimator):
    """Checks the number of targets, and gives predictions their shape and dtype: the `target_encoder` of regressors.

    Attributes:
        n_outputs_: number of columns of the targets.
        n_outputs_expected_: number of outputs that the model should have, 1.
    """

    def fit(self, y: Array) -> Self:
        """Learns shape and dtype of the targets.

        Args:
            y: numbers (n,) or (n, outputs).
        """
        self._shape, self._dtype = y.shape[1:], np.result_type(y.dtype, np.float32)
        self.n_outputs_, self.n_outputs_expected_ = _columns(y), 1
        return self

    def transform(self, y: Array) -> Array:
        """Returns `y`.

        Args:
            y: numbers (n,) or (n, outputs).

        Raises:
            ValueError: if the number of columns differs from that given to `fit`.
        """
        check_is_fitted(self)
        if _columns(y) != self.n_outputs_:
            msg = f"`y` of shape {y.shape} has {_columns(y)} outputs, but {self.n_outputs_} are expected as in `fit`"
            raise ValueError(msg)
        return y

    def inverse_transform(self, y: Array) -> Array:
        """Returns outputs of the model (n, outputs) in the shape of the targets, as float64 unless these were float32.

        Args:
            y: outputs of the model.
        """
        check_is_fitted(self)
        return np.asarray(y, self._dtype).reshape(-1, *self._shape)

    def get_metadata(self) -> dict[str, Any]:
        """Returns the attributes that the estimator has too, and that `meta` of the build function contains."""
        return {"n_outputs_": self.n_outputs_, "n_outputs_expected_": self.n_outputs_expected_}


def _columns(y: Array) -> int:
    return 1 if y.ndim == 1 else int(y.shape[1])
