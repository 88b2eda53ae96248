"""Draws charts: seconds per epoch against batch size, and the times of functions of arrays beside those of others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.race import ENGINE
from bench.ratios import Cell
from bench.tasks import MNIST, ArrayFunction, Task

INK, FAINT = "#222222", "#d9d9d9"
# Readers who cannot tell red from green can tell these colours apart. The line of the engine is the thick one.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#a6761d", "#7570b3", "#666666", "#1b9e77")
MARKERS = "osD^vPX<>"
NAMES = {
    "jax": "JAX",
    "keras:jax": "Keras on JAX",
    "keras:tensorflow": "Keras on TensorFlow",
    "keras:torch": "Keras on PyTorch",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "torch:compile": "PyTorch, compiled",
}
LABEL_GAP = 1.17  # factor between the heights of two labels at the right edge, so that they don't overlap


def points(cells: Sequence[Cell], data: str = "mnist-float32") -> dict[str, list[tuple[int, float]]]:
    """Returns the (batch, seconds per epoch) of each contender that trained 784-128-10 with Adam on all rows."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for cell in cells:
        task = cell.task
        if not isinstance(task, Task) or (task.measure, task.problem, task.optimizer) != (
            "epoch",
            MNIST,
            "adam",
        ):
            continue
        if task.data != data or cell.suite != "mnist":
            continue
        for result in cell.results:
            if result.median is not None:
                lines.setdefault(result.contender, []).append((task.batch, result.median))
    return {name: sorted(line) for name, line in lines.items()}


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Returns heights of labels, as near to `values` as possible with a factor of `gap` between any two."""
    order = sorted(range(len(values)), key=values.__getitem__)
    heights = list(values)
    for below, above in pairwise(order):
        heights[above] = max(heights[above], heights[below] * gap)
    return heights


def draw(cells: Sequence[Cell], machine: dict[str, Any], file: Path) -> bool:
    """Writes the PNG. Returns False if there is nothing to draw.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    lines = points(cells)
    if len(lines) < 2:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    rivals = [name for name in lines if name != ENGINE]
    styles = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(rivals)}
    ends = spread([line[-1][1] for line in lines.values()], LABEL_GAP)
    last = max(line[-1][0] for line in lines.values())
    for (name, line), height in zip(lines.items(), ends, strict=True):
        heavy = name == ENGINE
        colour, marker = ("#d62728", "o") if heavy else styles[name]
        batches, seconds = zip(*line, strict=True)
        axes.plot(
            batches,
            seconds,
            color=colour,
            marker=marker,
            linewidth=3.2 if heavy else 1.6,
            markersize=7 if heavy else 5,
            zorder=3 if heavy else 2,
        )
        axes.annotate(
            f"{NAMES.get(name, name)}  {seconds[-1]:.3g} s",
            (last, height),
            xytext=(10, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=10,
            fontweight="bold" if heavy else "normal",
            annotation_clip=False,
        )
    _scales(axes, [point for line in lines.values() for point in line], max(ends))
    axes.set_title(
        f"Seconds per epoch of MNIST: network 784-128-10, Adam, {machine['threads']} threads of {machine['cpu']}",
        loc="left",
        fontsize=11,
        color=INK,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    return True


def _scales(axes: Any, found: Sequence[tuple[int, float]], highest: float) -> None:
    """Puts ticks at the batch sizes and at round times, up to the highest label."""
    sizes, times = sorted({batch for batch, _ in found}), [seconds for _, seconds in found]
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    low, high = min(times), max(times)
    ticks = [
        tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low / 2.5 <= tick <= high * 2.5
    ]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(low / 1.4, max(high, highest) * 1.3)
    axes.set_xlabel("batch size", color=INK)
    axes.set_ylabel("seconds per epoch of 60,000 images", color=INK)
    axes.grid(visible=True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


# The size of the functions in their chart: arrays that don't fit the caches of a core.
CHARTED_SIZE = 1_000_000
_RESULTS = {"value": "o", "gradient": "D"}


def function_ratios(cells: Sequence[Cell]) -> dict[str, dict[tuple[str, str], float]]:
    """Returns how many times as long as the engine others take, by function, and then by contender and result."""
    ratios: dict[str, dict[tuple[str, str], float]] = {}
    for cell in cells:
        task, engine = cell.task, cell.result(ENGINE)
        if not isinstance(task, ArrayFunction) or task.size != CHARTED_SIZE or task.result not in _RESULTS:
            continue
        for result in cell.results:
            if engine and engine.median and result.median and result.contender != ENGINE:
                own = ratios.setdefault(task.function, {})
                own[result.contender, task.result] = result.median / engine.median
    return ratios


def draw_functions(cells: Sequence[Cell], machine: dict[str, Any], file: Path) -> bool:
    """Writes the PNG of functions of arrays, the slowest beside the others first. Returns False if there is nothing to draw.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    ratios = function_ratios(cells)
    if not ratios:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted(ratios, key=lambda name: min(ratios[name].values()), reverse=True)
    figure = Figure(figsize=(9, 0.26 * len(names) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    rivals = sorted({contender for found in ratios.values() for contender, _ in found})
    for contender, colour in zip(rivals, COLOURS, strict=False):
        for result, marker in _RESULTS.items():
            points = [
                (ratios[name][contender, result], row)
                for row, name in enumerate(names)
                if (contender, result) in ratios[name]
            ]
            if points:
                label = f"{NAMES.get(contender, contender)}, {result}"
                axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, s=26, label=label)
    axes.axvline(1.0, color=INK, linewidth=1.2, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.minorticks_off()
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    axes.set_xticks(ticks, [f"{tick:g} x" for tick in ticks])
    axes.set_xlabel("time of others / time of the engine: right of the line, the engine is faster", color=INK)
    axes.set_title(
        f"Compiled functions of {CHARTED_SIZE:,} numbers: {machine['threads']} threads of {machine['cpu']}",
        loc="left",
        fontsize=11,
        color=INK,
    )
    axes.grid(visible=True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.02)
    axes.legend(loc="upper right", frameon=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    return True
