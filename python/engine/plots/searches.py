"""Plots of a search for hyperparameters: what mattered, the trials as lines, and their curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from engine.plots._drawing import BLUE, GREY, ORANGE, headline, target_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT, _WIDTH = 3.6, 1.5  # inches: of a plot, and of one axis of the parallel coordinates
_BAR = 0.4  # inches for a bar
_TICKS = 5
_MOST_NAMES = 8  # of values of an axis that are all written beside it
_FAINT, _STRONG = 0.45, 2.2


def importances(results: Any, *, ax: Axes | None = None) -> Axes:
    """Plots a bar for the importance of each hyperparameter; `TuneResults.importances` says what it is.

    Args:
        results: what `tune` returned.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if no trial has a score.
    """
    _require_scores(results)
    found = results.importances()
    axes = target_axes(ax, 5.0, 0.8 + _BAR * len(found))
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names], color=BLUE, height=0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of the variance of {results.objective}")
    headline(axes, "importance")
    tidy(axes)
    axes.grid(axis="y", visible=False)
    return axes


def search_curves(results: Any, *, ax: Axes | None = None) -> Axes:
    """Plots the objective of each trial over the epochs, that of the best trial in orange.

    Args:
        results: what `tune` returned.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if no trial has a score.
    """
    _require_scores(results)
    axes, best = target_axes(ax, 6.0, _HEIGHT), results.best
    for trial in [*(each for each in results if each is not best), best]:
        values = trial.history.get(results.objective, [])
        (line,) = axes.plot(
            range(1, len(values) + 1), values, marker="o" if len(values) == 1 else "", markersize=4
        )
        line.set_color(ORANGE if trial is best else GREY)
        line.set_alpha(None if trial is best else _FAINT)
    axes.lines[-1].set_linewidth(_STRONG)
    axes.lines[-1].set_label(f"trial {best.number}")
    axes.legend(frameon=False)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    headline(axes, results.objective)
    tidy(axes)
    return axes


def parallel_coordinates(results: Any, *, ax: Axes | None = None) -> Axes:
    """Plots a line for each trial, through its value on an axis for each hyperparameter, in the color of its score.

    The axis of a hyperparameter that is drawn by logarithms is logarithmic. A line skips the axes of
    hyperparameters for which the trial didn't ask. The best trial has the thickest line.

    Args:
        results: what `tune` returned.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if no trial has a score.
    """
    _require_scores(results)
    scored = [trial for trial in results if math.isfinite(trial.score)]
    columns = {name: [trial.values.get(name) for trial in scored] for name in dict.fromkeys(_names(scored))}
    space = {name: parameter for trial in scored for name, parameter in trial.space.items()}
    axes = target_axes(ax, 2.0 + _WIDTH * len(columns), _HEIGHT)
    places = {
        name: _places(values, name in space and space[name].sampling == "log")
        for name, values in columns.items()
    }
    scores = np.array([trial.score for trial in scored])
    scale = Normalize(scores.min(), scores.max())
    colors = mpl.colormaps["viridis" if results.more_is_better else "viridis_r"]
    for place, trial in sorted(enumerate(scored), key=lambda pair: pair[1] is results.best):
        heights = np.array([places[name][place] for name in columns])
        (crossed,) = np.nonzero(np.isfinite(heights))
        strong = trial is results.best
        axes.plot(
            crossed,
            heights[crossed],
            color=colors(scale(trial.score)),
            linewidth=_STRONG if strong else 1.0,
            alpha=1.0 if strong else 0.7,
        )
    for place, (name, values) in enumerate(columns.items()):
        axes.axvline(place, color=GREY, linewidth=0.8)
        for value, height in _marks(values, places[name]):
            behind = {"facecolor": axes.get_facecolor(), "alpha": 0.7, "linewidth": 0, "pad": 1}
            axes.text(place + 0.03, height, _text(value), fontsize="small", va="center", bbox=behind)
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(columns) - 0.5)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = axes.figure.colorbar(ScalarMappable(scale, colors), ax=axes, label=results.objective, aspect=30)
    bar.outline.set_visible(False)
    return axes


def _require_scores(results: Any) -> None:
    _ = results.best


def _names(trials: Sequence[Any]) -> list[str]:
    return [name for trial in trials for name in trial.values]


def _places(values: Sequence[Any], logarithmic: bool) -> list[float]:
    """Returns the height of each value on its axis, in [0, 1]; NaN for None."""
    present = [value for value in values if value is not None]
    if any(isinstance(value, (str, bool)) for value in present):
        kinds = sorted(dict.fromkeys(present), key=str)
        last = max(1, len(kinds) - 1)
        return [math.nan if value is None else kinds.index(value) / last for value in values]
    low, high = min(present), max(present)
    if low == high:
        return [math.nan if value is None else 0.5 for value in values]
    scale = LogNorm(low, high) if logarithmic else Normalize(low, high)
    return [math.nan if value is None else float(scale(value)) for value in values]


def _marks(values: Sequence[Any], heights: Sequence[float]) -> list[tuple[Any, float]]:
    """Returns the values that are written beside an axis, with their heights."""
    found = sorted(
        {(height, value) for value, height in zip(values, heights, strict=True) if value is not None},
        key=lambda mark: mark[0],
    )
    if len(found) > _MOST_NAMES:
        wanted = np.linspace(0, 1, _TICKS)
        found = list(dict.fromkeys(min(found, key=lambda mark: abs(mark[0] - place)) for place in wanted))
    return [(value, height) for height, value in found]


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
