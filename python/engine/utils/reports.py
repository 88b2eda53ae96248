"""The text report of a classifier: precision, recall and F1 score of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import REAL, flag, integer

HEADINGS = ("precision", "recall", "f1-score", "support")


class _Scores(NamedTuple):
    """A row of the report, for a class or an average: precision, recall, F1 score and the number of samples."""

    precision: float
    recall: float
    f1: float
    support: int

    def named(self) -> dict[str, float]:
        return dict(zip(HEADINGS, self, strict=True))


def classification_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    target_names: Sequence[str] | None = None,
    digits: int = 2,
    output_dict: bool = False,
) -> str | dict[str, Any]:
    """Returns a report with precision, recall and F1 score of every class, and their averages.

    For a class with TP true positives, FP false positives and FN false negatives, precision is `TP / (TP + FP)`,
    recall is `TP / (TP + FN)`, and F1 is `2 TP / (2 TP + FP + FN)` (van Rijsbergen, 1979); 0 / 0 gives 0. Support
    is the number of samples of the class.

    Args:
        y_true: class indices (n,) or (n, 1), or one-hot rows (n, classes).
        y_pred: class indices (n,), or outputs of a model: (n, classes), where the largest output decides, or (n,
            1), where outputs above 0.5 mean class 1.
        target_names: names of the classes that occur, in the order of their indices; default the indices.
        digits: number of decimal places in the text.
        output_dict: whether to return a dict instead of text.

    Returns:
        The same text as scikit-learn's function of this name, or a dict with an entry per class and for "accuracy",
        "macro avg" and "weighted avg".

    Raises:
        ValueError: if the numbers of samples differ, or the arguments don't contain class indices.
    """
    truth, predicted = class_indices(y_true, "y_true"), class_indices(y_pred, "y_pred")
    require_equal_lengths(truth, predicted)
    labels = np.union1d(truth, predicted)
    names = [str(label) for label in labels] if target_names is None else [str(name) for name in target_names]
    if len(names) != len(labels):
        msg = f"`target_names` has {len(names)} names, but there are {len(labels)} classes: {labels.tolist()}"
        raise ValueError(msg)
    scores = [_scores(truth == label, predicted == label) for label in labels]
    class_scores = np.array([score[:3] for score in scores])
    support = np.array([score.support for score in scores])
    accuracy = float(np.mean(truth == predicted))
    averages = {
        "macro avg": _average(class_scores, None, len(truth)),
        "weighted avg": _average(class_scores, support, len(truth)),
    }
    if flag(output_dict, "output_dict"):
        classes = {name: score.named() for name, score in zip(names, scores, strict=True)}
        return {**classes, "accuracy": accuracy} | {name: score.named() for name, score in averages.items()}
    rows = list(zip(names, scores, strict=True))
    return _text(rows, accuracy, averages, integer(digits, "digits", 0))


def class_indices(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """Returns class indices (n,) for labels or outputs in any form."""
    array = np.asarray(values)
    if array.dtype.kind not in REAL or array.ndim not in (1, 2) or array.size == 0:
        msg = (
            f"`{name}` must hold class indices (n,) or outputs (n, classes), got {array.dtype} {array.shape}"
        )
        raise ValueError(msg)
    if array.ndim == 2 and array.shape[1] > 1:  # noqa: PLR2004 # a matrix
        return np.asarray(array.argmax(axis=1), np.int64)
    flat = array.reshape(-1)
    are_whole = flat == np.rint(flat)
    if not are_whole.all() and array.ndim == 2 and name == "y_pred":  # noqa: PLR2004 # a matrix
        return (flat > 0.5).astype(np.int64)  # noqa: PLR2004 # as metrics do
    if not are_whole.all() or flat.min() < 0:
        row = int((~are_whole | (flat < 0)).argmax())
        msg = f"`{name}` must hold class indices, whole numbers from 0, but row {row} holds {flat[row]}"
        raise ValueError(msg)
    return flat.astype(np.int64)


def require_equal_lengths(y_true: NDArray[Any], y_pred: NDArray[Any], name: str = "y_pred") -> None:
    """Raises ValueError unless both have the same number of samples."""
    if len(y_true) != len(y_pred):
        msg = f"`y_true` has {len(y_true)} samples but `{name}` has {len(y_pred)}"
        raise ValueError(msg)


def _scores(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> _Scores:
    hits, support, named = int(np.sum(truth & predicted)), int(truth.sum()), int(predicted.sum())
    return _Scores(
        hits / named if named else 0.0,
        hits / support if support else 0.0,
        2 * hits / (support + named) if support + named else 0.0,
        support,
    )


def _average(class_scores: NDArray[np.float64], weights: NDArray[np.int64] | None, count: int) -> _Scores:
    precision, recall, f1 = np.average(class_scores, axis=0, weights=weights).tolist()
    return _Scores(precision, recall, f1, count)


def _text(
    rows: Sequence[tuple[str, _Scores]], accuracy: float, averages: dict[str, _Scores], digits: int
) -> str:
    width = max(len("weighted avg"), digits, *(len(name) for name, _ in rows))

    def line(name: str, score: _Scores) -> str:
        score_texts = "".join(f" {score_value:>9.{digits}f}" for score_value in score[:3])
        return f"{name:>{width}} {score_texts} {score.support:>9}"

    total = averages["macro avg"].support
    return "\n".join(
        [
            " " * (width + 1) + "".join(f" {heading:>9}" for heading in HEADINGS),
            "",
            *(line(name, score) for name, score in rows),
            "",
            f"{'accuracy':>{width}} {' ' * 20} {accuracy:>9.{digits}f} {total:>9}",
            *(line(name, score) for name, score in averages.items()),
            "",
        ]
    )
