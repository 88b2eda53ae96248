"""Plots of a classifier's mistakes: the confusion matrix, and the images with the most confident wrong predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb

from engine._base.checks import choice, integer
from engine.plots._classes import class_names, class_predictions, probabilities
from engine.plots._drawing import BLUE, GREY, LEAST_SIZE, ORANGE, draw_tiles, headline, target_axes, text_size
from engine.plots._pictures import pictures_of
from engine.utils.reports import class_indices, require_equal_lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

# The opacity of a mistake is a power of its frequency, so that single mistakes are visible. The scale ends at a given share
# of a class or above, so that all mistakes of a good network are pale.
_POWER, _LEAST_END = 0.6, 0.03
_DARKEST, _RIGHT = 0.85, 0.2  # opacity of the most frequent mistake, and of the diagonal
_MOST_WRITTEN = 30  # with more classes, the numbers would be too small to be read and are left out
_LETTER = 0.6 / 72  # width of a letter in inches, for each point of its size
_SLANTED = 0.7  # height of a slanted name, as a share of its length
_INCH = 1.45  # width of a picture with the gap beside it
_CAPTION = 21  # the most characters in the caption of a picture


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    normalize: str | None = None,
    display_labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots a confusion matrix: true classes in rows, predicted classes in columns.

    Correct predictions are on the diagonal; their fraction in each row is written at the right.

    Args:
        y_true: class indices (n,) or (n, 1), one-hot rows (n, classes), or strings (n,).
        y_pred: the same, or outputs of a model: (n, classes), where the largest output decides, or (n, 1), where
            outputs above 0.5 mean class 1.
        normalize: None shows numbers of samples. "true" shows fractions of each row, "pred" of each column, "all"
            of all samples.
        display_labels: names of the classes, in their order; default the labels themselves.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if the arguments don't match, or don't contain classes.
    """
    choice("none" if normalize is None else normalize, "normalize", ("none", "true", "pred", "all"))
    compared = class_predictions(y_true, y_pred, display_labels)
    count = len(compared.names)
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (compared.truth, compared.predicted), 1)
    side = float(np.clip(0.5 * count + 1.5, 3.5, 12))
    longest = max(map(len, compared.names)) * _LETTER * text_size()  # of the names, in inches
    room = side - 1.0 if ax is None else ax.get_window_extent().width / ax.figure.dpi
    slants = longest + _LETTER * text_size() > room / count
    ax = target_axes(ax, side + 0.6 + longest, side + (_SLANTED * longest if slants else 0.0))
    ax.imshow(_colors(matrix), aspect="auto")
    if count <= _MOST_WRITTEN:
        _write_cells(ax, matrix, normalize)
    _write_recalls(ax, matrix)
    headline(ax, "Confusion matrix")
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slants else {}
    step = -(-count // _MOST_WRITTEN)
    ax.set_xticks(range(0, count, step), compared.names[::step], **slanted)
    ax.set_yticks(range(0, count, step), compared.names[::step])
    if count <= _MOST_WRITTEN:
        ax.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=GREY, alpha=0.35, linewidth=0.7)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("answer")
    ax.set_ylabel("true class")
    return ax


def _colors(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the colors of the cells: orange for mistakes, opaque if frequent, and blue for the diagonal.

    Transparent colors suit light and dark backgrounds.
    """
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    end = max(_LEAST_END * float(matrix.sum()) / len(matrix), float(wrong.max()), 1.0)
    colors = np.empty((*matrix.shape, 4))
    colors[..., :3] = to_rgb(ORANGE)
    colors[..., 3] = _DARKEST * (wrong / end) ** _POWER
    diagonal = np.arange(len(matrix))
    colors[diagonal, diagonal] = (*to_rgb(BLUE), _RIGHT)
    return colors


def _write_cells(ax: Axes, matrix: NDArray[np.int64], normalize: str | None) -> None:
    axis = {"true": 1, "pred": 0}.get(normalize or "")
    totals = np.maximum(matrix.sum(axis=axis, keepdims=True), 1)
    size = max(LEAST_SIZE, min(text_size(), 100 / len(matrix)))
    for true, answer in np.argwhere(matrix).tolist():
        number = matrix[true, answer]
        text = str(number) if normalize is None else percent((matrix / totals)[true, answer], 1)
        weight = "bold" if answer == true else "normal"
        ax.text(answer, true, text, ha="center", va="center", weight=weight, fontsize=size)


def _write_recalls(ax: Axes, matrix: NDArray[np.int64]) -> None:
    """Writes the share of right predictions beside each row."""
    if len(matrix) > _MOST_WRITTEN:
        return
    beside: dict[str, Any] = {"textcoords": "offset points", "color": ax.yaxis.label.get_color()}
    for true, row in enumerate(matrix):
        recall = percent(row[true] / row.sum(), 1) if row.sum() else "-"
        ax.annotate(recall, (1, true), (5, 0), ("axes fraction", "data"), va="center", **beside)
    ax.annotate("right", (1, 1), (5, 6), "axes fraction", **beside)


def percent(fraction: float, digits: int) -> str:
    """Returns a share as text: `0.984` becomes `98.4 %`."""
    return f"{100 * fraction:.{digits}f}\u00a0%"


def worst_mistakes(
    x: ArrayLike,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    n: int = 16,
    columns: int = 8,
    display_labels: Sequence[Any] | None = None,
    image_shape: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots misclassified images, those with the most confident predictions first.

    The caption of each has the true class, the predicted class and its probability.

    Args:
        x: images (n, height, width), (n, height, width, 1 or 3), or (n, pixels).
        y_true: class indices (n,) or (n, 1), or one-hot rows (n, classes).
        y_pred: probabilities, as returned by `predict`: (n, classes), or (n, 1) or (n,) for class 1.
        n: largest number of images.
        columns: number of images in each row.
        display_labels: names of the classes, in their order; default the labels themselves.
        image_shape: shape of one image, such as (28, 28), if `x` is (n, pixels); default a square.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if the arguments don't match, or `x` doesn't contain images.
    """
    n, columns = integer(n, "n", 1), integer(columns, "columns", 1)
    images, limits = pictures_of(x, image_shape)
    truth, predicted_probabilities = class_indices(y_true, "y_true"), probabilities(y_pred, "y_pred")
    require_equal_lengths(truth, predicted_probabilities)
    require_equal_lengths(truth, images, "x")
    if truth.max() >= predicted_probabilities.shape[1]:
        msg = f"`y_true` has class {truth.max()}, but `y_pred` has {predicted_probabilities.shape[1]} classes"
        raise ValueError(msg)
    names = class_names(range(predicted_probabilities.shape[1]), display_labels)
    predicted = predicted_probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    sure = predicted_probabilities[wrong, predicted[wrong]]
    worst = wrong[np.argsort(-sure, kind="stable")][:n]
    captions = [
        _caption(names[truth[i]], names[predicted[i]], predicted_probabilities[i, predicted[i]])
        for i in worst
    ]
    rows = max(1, -(-len(worst) // columns))
    ax = target_axes(ax, _INCH * columns, 1.15 * _INCH * rows + 0.35)
    size = text_size() * 0.82
    draw_tiles(
        ax, [images[i] for i in worst], captions, columns, cmap="gray_r", limits=limits, caption_size=size
    )
    title = f"The most confident of {len(wrong):,} mistakes" if len(wrong) > 1 else "The one mistake"
    headline(ax, title if len(wrong) else "No mistakes")
    return ax


def _caption(true: str, answer: str, share: float) -> str:
    text, probability = f"{true} read as {answer},", percent(share, 2)
    return f"{text} {probability}" if len(text) + len(probability) < _CAPTION else f"{text}\n{probability}"
