"""The picture that `engine mnist` writes: curves, confusion matrix, most confident mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_CLASSES = 10
_INK = "#1f2933"
_GREY = "#66727f"
_LINE = "#d5dbe1"
_TRAIN = "#8a96a3"
_TEST = "#2463a8"
_RIGHT = "#dfe9f4"
_WRONG = "#d9642c"
_MISTAKES = LinearSegmentedColormap.from_list("mistakes", ["#ffffff", _WRONG])

_STYLE: dict[Any, Any] = {  # the type of its keys differs between versions of matplotlib
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _GREY,
    "axes.edgecolor": _LINE,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}
_INCHES = (12.0, 10.6)
_DPI = 120
# Places are fractions of the picture's width and height.
_LEFT, _MATRIX_RIGHT = 0.055, 0.941
_MARKED_EPOCHS = 20  # beyond, markers would touch
_SHOWN = (2, 8)  # rows and columns of mistakes

_CURVE_NOTE = (
    "training: mean over the epoch, while the weights still move\n"
    "test: after the epoch's last step; computed when training was over, which never saw it"
)


def write(
    path: Path,
    *,
    facts: Sequence[str],
    train: Mapping[str, Sequence[float]],
    test: Mapping[str, Sequence[float]],
    tested: Sequence[int],
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    smoothing: float = 0.0,
) -> None:
    """Draw the report of a training run on MNIST.

    Args:
        path: PNG file to write; its folder exists.
        facts: up to four lines about the run, for under the title.
        train: "loss" and "accuracy" of every epoch, as `fit` reports them.
        test: the same on the test images, after the epochs in `tested`.
        tested: numbers of these epochs, from 1.
        images: test images, uint8 (n, 28, 28).
        labels: their digits, (n,).
        probabilities: the network's answers, (n, 10).
        smoothing: of the labels, in both losses.

    Raises:
        OSError: the file can't be written.
    """
    said = probabilities.argmax(axis=1)
    with rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        share = float(np.mean(said == labels))
        title = f"MNIST: {_percent(share, 2)} of {len(labels):,} test images right"
        figure.text(_LEFT, 0.963, title, fontsize=19, weight="bold")
        for line, fact in enumerate(facts):
            figure.text(_LEFT, 0.940 - 0.019 * line, fact.replace("%", "\u00a0%"), color=_GREY)
        loss = figure.add_axes((_LEFT, 0.665, 0.375, 0.185))
        name = f"Loss, labels smoothed by {smoothing:g}" if smoothing else "Loss"
        _curve(loss, name, train["loss"], tested, test["loss"])
        loss.set_ylim(bottom=0)
        loss.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.01, 1.02), ncols=2, borderaxespad=0)
        accuracy = figure.add_axes((_LEFT, 0.420, 0.375, 0.185))
        _curve(accuracy, "Accuracy", train["accuracy"], tested, test["accuracy"])
        accuracy.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}\u00a0%"))
        accuracy.set_xlabel("epoch")
        figure.text(_LEFT, 0.343, _CURVE_NOTE, color=_GREY, fontsize=8, linespacing=1.4)
        _confusion(figure.add_axes((0.530, 0.385, _MATRIX_RIGHT - 0.530, 0.465)), labels, said)
        _mistakes(figure, images, labels, probabilities)
        figure.savefig(path, format="png")


def _curve(
    axes: Axes, title: str, train: Sequence[float], tested: Sequence[int], test: Sequence[float]
) -> None:
    marker = "o" if len(train) <= _MARKED_EPOCHS else ""
    axes.plot(range(1, len(train) + 1), train, color=_TRAIN, label="training", marker=marker, markersize=4)
    axes.plot(tested, test, color=_TEST, label="test", marker=marker, markersize=4)
    axes.set_title(title, loc="left", weight="bold", fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    edge = max(0.04 * len(train), 0.2)
    axes.set_xlim(1 - edge, len(train) + edge)
    axes.margins(y=0.12)
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


def _confusion(axes: Axes, labels: NDArray[np.uint8], said: NDArray[np.intp]) -> None:
    counts = np.zeros((_CLASSES, _CLASSES), np.int64)
    np.add.at(counts, (labels, said), 1)
    wrong = counts * ~np.eye(_CLASSES, dtype=bool)
    # The power keeps single mistakes visible; a least upper end keeps them pale in a good network.
    axes.imshow(wrong, cmap=_MISTAKES, norm=PowerNorm(0.6, 0, max(30, wrong.max())), aspect="auto")
    for true in range(_CLASSES):
        axes.add_patch(Rectangle((true - 0.5, true - 0.5), 1, 1, facecolor=_RIGHT))
        for answer in np.flatnonzero(counts[true]).tolist():
            weight = "bold" if answer == true else "normal"
            axes.text(answer, true, str(counts[true, answer]), ha="center", va="center", weight=weight)
        total = counts[true].sum()
        recall = _percent(counts[true, true] / total, 1) if total else "-"
        axes.text(_CLASSES - 0.35, true, recall, va="center", color=_GREY)
    axes.text(_CLASSES - 0.35, -0.65, "right", color=_GREY)
    axes.set_title("Confusion matrix", loc="left", weight="bold", fontsize=11)
    axes.set_xticks(range(_CLASSES))
    axes.set_yticks(range(_CLASSES))
    axes.set_xticks(np.arange(_CLASSES + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(_CLASSES + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=_LINE, linewidth=0.7)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(_LINE)
    axes.set_xlabel("answer of the network")
    axes.set_ylabel("true digit")


def _mistakes(
    figure: Figure, images: NDArray[np.uint8], labels: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> None:
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != labels)
    sure = probabilities[wrong, said[wrong]]
    rows, columns = _SHOWN
    worst = wrong[np.argsort(-sure, kind="stable")][: rows * columns]
    title = f"The most confident of {len(wrong):,} mistakes" if len(wrong) else "No mistakes"
    figure.text(_LEFT, 0.307, title, weight="bold", fontsize=11)
    height = 0.106
    width = height * _INCHES[1] / _INCHES[0]
    pitch = (_MATRIX_RIGHT - width - _LEFT) / (columns - 1)
    for place, index in enumerate(worst):
        row, column = divmod(place, columns)
        left, bottom = _LEFT + column * pitch, 0.188 - 0.146 * row
        axes = figure.add_axes((left, bottom, width, height))
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(_LINE)
        answer = said[index]
        caption = f"{labels[index]} read as {answer}, {_percent(probabilities[index, answer], 2)}"
        figure.text(left, bottom - 0.019, caption, fontsize=7.8)


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f}\u00a0%"
