"""Plots of a classifier over all thresholds: the ROC curve, and precision against recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from engine.plots._classes import class_names, probabilities
from engine.plots._drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, headline, target_axes, tidy
from engine.utils.reports import class_indices, require_equal_lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

_SIDE = 4.6  # inches
_MARGIN = 0.02  # around the unit square, so that lines on its border are visible
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
_DASHES = ("solid", "dashed", "dotted", "dashdot")
_BINARY = 2
_MOST_NAMED = 20  # with more curves, the legend would hide them and is left out


class _Curve(NamedTuple):
    """The points of a curve, and the area under it."""

    x: Values
    y: Values
    area: float


def roc_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    display_labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots the ROC curve: the rate of true positives against that of false positives.

    For two classes it is the curve of class 1; otherwise there is one for each class against all others. AUC, the
    area under the curve, is the probability that a sample of the class scores higher than a sample of another class
    (Hanley and McNeil, 1982).

    Args:
        y_true: class indices (n,) or (n, 1), or one-hot rows (n, classes).
        y_score: outputs of a model: (n, classes), or (n,) or (n, 1) for class 1.
        display_labels: names of the classes, in their order; default the labels themselves.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if the arguments don't match, or all samples belong to one class.
    """
    ax = _draw(_roc, "AUC", y_true, y_score, display_labels, ax)
    # The diagonal is the curve of random scores.
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (1, 3)), linewidth=1, zorder=1)
    headline(ax, "ROC curve")
    ax.set_xlabel("false positive rate")
    ax.set_ylabel("true positive rate")
    _legend(ax, "AUC", "lower right")
    return ax


def precision_recall_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    display_labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots precision against recall over all thresholds.

    For two classes it is the curve of class 1; otherwise there is one for each class against all others. AP, the
    average precision, is
    `sum((recall_i - recall_{i-1}) * precision_i)` from the highest threshold to the lowest.

    Args:
        y_true: class indices (n,) or (n, 1), or one-hot rows (n, classes).
        y_score: outputs of a model: (n, classes), or (n,) or (n, 1) for class 1.
        display_labels: names of the classes, in their order; default the labels themselves.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if the arguments don't match, or all samples belong to one class.
    """
    ax = _draw(_precision_recall, "AP", y_true, y_score, display_labels, ax)
    headline(ax, "Precision and recall")
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    _legend(ax, "AP", "lower left")
    return ax


def _draw(  # noqa: PLR0917 # those of the two curves
    curve_of: Callable[[NDArray[np.bool_], Values], _Curve],
    area: str,
    y_true: ArrayLike,
    y_score: ArrayLike,
    display_labels: Sequence[Any] | None,
    ax: Axes | None,
) -> Axes:
    """Draws the curve of each class that has samples."""
    truth, scores = class_indices(y_true, "y_true"), probabilities(y_score, "y_score")
    require_equal_lengths(truth, scores, "y_score")
    classes = scores.shape[1]
    present = np.unique(truth)
    if present[-1] >= classes:
        msg = f"`y_true` has class {present[-1]}, but `y_score` has {classes} classes"
        raise ValueError(msg)
    if len(present) < _BINARY:
        msg = f"`y_true` must hold samples of two classes at least, but all are of class {present[0]}"
        raise ValueError(msg)
    names = class_names(range(classes), display_labels)
    ax = target_axes(ax, _SIDE, _SIDE)
    for index, label in enumerate([1] if classes == _BINARY else present.tolist()):
        curve = curve_of(truth == label, scores[:, label])
        turn, color = divmod(index, len(_COLORS))
        text = f"{area} {curve.area:.4f}" if classes == _BINARY else f"{names[label]}: {curve.area:.4f}"
        ax.plot(
            curve.x,
            curve.y,
            color=_COLORS[color],
            linestyle=_DASHES[turn % len(_DASHES)],
            label=text if index < _MOST_NAMED else None,
        )
    ax.set_xlim(-_MARGIN, 1 + _MARGIN)
    ax.set_ylim(-_MARGIN, 1 + _MARGIN)
    ax.set_aspect("equal")
    tidy(ax)
    return ax


def _legend(ax: Axes, area: str, corner: Literal["lower left", "lower right"]) -> None:
    several = len(ax.get_legend_handles_labels()[1]) > 1
    ax.legend(
        loc=corner, frameon=False, fontsize="small", title=area if several else None, title_fontsize="small"
    )


def _counts(truth: NDArray[np.bool_], scores: Values) -> tuple[Values, Values]:
    """Returns true and false positives at each threshold, from the highest score to the lowest, one for equal scores."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(truth[order])[ends].astype(np.float64)
    return hits, ends + 1 - hits


def _roc(truth: NDArray[np.bool_], scores: Values) -> _Curve:
    hits, alarms = _counts(truth, scores)
    x = np.append(0.0, alarms / alarms[-1])
    y = np.append(0.0, hits / hits[-1])
    return _Curve(x, y, float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))


def _precision_recall(truth: NDArray[np.bool_], scores: Values) -> _Curve:
    """Returns the points of the curve as steps, where each recall has the precision at which it is reached."""
    hits, alarms = _counts(truth, scores)
    precision, recall = hits / (hits + alarms), hits / hits[-1]
    rises = np.diff(recall, prepend=0.0)
    x = np.repeat(recall, 2)
    return _Curve(np.append(0.0, x[:-1]), np.repeat(precision, 2), float(np.sum(rises * precision)))
