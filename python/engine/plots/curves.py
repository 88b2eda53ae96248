"""The plot of loss and metrics over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from engine._base.checks import nearest
from engine.plots._drawing import BLUE, GREY, headline, target_axes, tidy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = tuple[Sequence[float], Sequence[float]]

_MARKED_EPOCHS = 20  # with more epochs, markers would touch and are left out
_WIDTH, _HEIGHT = 4.4, 3.0  # size of a panel in inches
_COLUMNS = 3
_VALIDATION = "val_"


def learning_curves(history: Any, metrics: str | Sequence[str] | None = None, *, ax: Any = None) -> Any:
    """Plots the loss and the metrics over the epochs, for training and validation data.

    Training values are means over an epoch, while the weights change. Validation values are computed at the end of
    the epoch, so they can be better.

    Args:
        history: the `History` that `fit` returned, or a dict from names to one number per epoch.
        metrics: name or list of names to draw; default all. Each is drawn with its validation values.
        ax: matplotlib Axes to draw into, one per name; default a new pyplot figure.

    Returns:
        The Axes if `metrics` is one name, otherwise an array of Axes, one per name.

    Raises:
        TypeError: if `history` is not a history, or `ax` is not Axes.
        ValueError: if a name isn't in `history`, the history is empty, or the number of Axes is wrong.
    """
    series = _points(history)
    metric_names = list(dict.fromkeys(name.removeprefix(_VALIDATION) for name in series))
    metric_names.sort(key=lambda name: name != "loss")
    if not metric_names:
        msg = "`history` is empty, so there is no epoch to draw: fit for at least one"
        raise ValueError(msg)
    names = metric_names if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in metric_names:
            msg = f"`metrics` must be names of the history, got {name!r}{nearest(str(name), metric_names)} It has: {', '.join(metric_names)}"
            raise ValueError(msg)
    panels = _panels(ax, len(names))
    last = max(x[-1] for x, _ in series.values() if len(x))
    for panel, name in zip(panels, names, strict=True):
        lines = {"training": series.get(name), "validation": series.get(_VALIDATION + name)}
        draw_curves(panel, name, {label: points for label, points in lines.items() if points}, last)
        panel.set_xlabel("epoch")
        if len(panel.lines) > 1:
            panel.legend(frameon=False)
    return panels[0] if isinstance(metrics, str) else np.array(panels, object)


def draw_curves(ax: Axes, title: str, lines: Mapping[str, Points], last: float) -> None:
    """Draws numbers over the epochs.

    Args:
        ax: the Axes to draw into.
        title: what the numbers are.
        lines: label -> epochs, from 1, and their numbers; the first in grey, the second in blue.
        last: epoch.
    """
    marker = "o" if last <= _MARKED_EPOCHS else ""
    for (label, (x, y)), color in zip(lines.items(), (GREY, BLUE), strict=False):
        # A line of one point is invisible without a marker.
        ax.plot(x, y, color=color, label=label, marker=marker if len(x) > 1 else "o", markersize=4)
    headline(ax, title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    edge = max(0.04 * last, 0.2)
    ax.set_xlim(1 - edge, last + edge)
    ax.margins(y=0.12)
    tidy(ax)


def _points(history: Any) -> dict[str, Points]:
    """Returns for each name the epochs, counted from 1, and the values."""
    epochs_of = getattr(history, "_epochs_of", None)
    values = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(values, Mapping):
        msg = f"`history` must be what fit() returned, or a mapping of names to numbers, got {type(history).__name__}"
        raise TypeError(msg)
    points: dict[str, Points] = {}
    for name, numbers in values.items():
        y = _numbers(numbers, name)
        x = range(len(y)) if epochs_of is None else epochs_of(name)
        if len(y):
            points[name] = [1 + number for number in x], y.tolist()
    longest = max((len(x) for x, _ in points.values()), default=0)
    for name, (x, _) in points.items():
        if epochs_of is None and len(x) < longest:
            msg = (
                f"`history` has {longest} epochs but only {len(x)} of {name!r}, and can't tell which: pass what fit() "
                "returned instead of a mapping"
            )
            raise ValueError(msg)
    return points


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        array = np.zeros((0, 0))
    if array.ndim != 1:
        msg = f"`history` must hold a list of numbers for {name!r}, got {values!r}"
        raise ValueError(msg)
    return array


def _panels(ax: Any, count: int) -> list[Axes]:
    """Returns `count` Axes: those that were given, or new ones."""
    if ax is None:
        from matplotlib import pyplot

        columns = min(count, _COLUMNS)
        rows = -(-count // columns)
        size = (_WIDTH * columns, _HEIGHT * rows)
        _, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        for unused in grid.flat[count:]:
            unused.remove()
        return list(grid.flat[:count])
    axes = [ax] if isinstance(ax, Axes) else list(np.asarray(ax, object).flat)
    if len(axes) != count:
        msg = f"`ax` must be as many Axes as there are `metrics`, {count}, got {len(axes)}"
        raise ValueError(msg)
    return [target_axes(target, _WIDTH, _HEIGHT) for target in axes]
