"""The picture that `engine mnist` writes: curves, confusion matrix, most confident mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from engine.plots import confusion_matrix, worst_mistakes
from engine.plots.class_predictions import percent
from engine.plots.curves import draw_curves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_INK = "#1f2933"
_GREY = "#66727f"
_LINE = "#d5dbe1"

_STYLE: dict[Any, Any] = {  # the type of its keys differs between versions of matplotlib
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 9.5,
    "axes.titlesize": 11,
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
    """Draws the report of a training run on MNIST.

    Args:
        path: PNG file to write; its folder exists.
        facts: up to four lines about the run, for under the title.
        train: "loss" and "accuracy" of every epoch, as `fit` reports them.
        test: the same on the test images, after the epochs in `tested`.
        tested: the numbers of these epochs, from 1.
        images: test images, uint8 (n, 28, 28).
        labels: the digits of these images, (n,).
        probabilities: the outputs of the network, (n, 10).
        smoothing: the label smoothing in both losses.

    Raises:
        OSError: the file can't be written.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        accuracy = float(np.mean(probabilities.argmax(axis=1) == labels))
        title = f"MNIST: {percent(accuracy, 2)} of {len(labels):,} test images right"
        figure.text(_LEFT, 0.963, title, fontsize=19, weight="bold")
        for line, fact in enumerate(facts):
            figure.text(_LEFT, 0.940 - 0.019 * line, fact.replace("%", "\u00a0%"), color=_GREY)
        panels = {"loss": (_LEFT, 0.665, 0.375, 0.185), "accuracy": (_LEFT, 0.420, 0.375, 0.185)}
        titles = {
            "loss": f"Loss, labels smoothed by {smoothing:g}" if smoothing else "Loss",
            "accuracy": "Accuracy",
        }
        epochs = range(1, len(train["loss"]) + 1)
        axes = {name: figure.add_axes(box) for name, box in panels.items()}
        for name, panel in axes.items():
            lines = {"training": (epochs, train[name]), "test": (tested, test[name])}
            draw_curves(panel, titles[name], lines, len(epochs))
        axes["loss"].set_ylim(bottom=0)
        above = (1.01, 1.02)
        axes["loss"].legend(frameon=False, loc="lower right", bbox_to_anchor=above, ncols=2, borderaxespad=0)
        axes["accuracy"].yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:.4g}\u00a0%")
        )
        axes["accuracy"].set_xlabel("epoch")
        figure.text(_LEFT, 0.343, _CURVE_NOTE, color=_GREY, fontsize=8, linespacing=1.4)
        matrix = figure.add_axes((0.530, 0.385, _MATRIX_RIGHT - 0.530, 0.465))
        confusion_matrix(labels, probabilities, ax=matrix)
        matrix.set_xlabel("answer of the network")
        matrix.set_ylabel("true digit")
        rows, columns = _SHOWN
        mistakes = figure.add_axes((_LEFT, 0.005, _MATRIX_RIGHT - _LEFT, 0.292))
        worst_mistakes(images, labels, probabilities, n=rows * columns, columns=columns, ax=mistakes)
        figure.savefig(path, format="png")
