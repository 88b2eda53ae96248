"""The plot of the input weights of a layer's units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from engine._base.checks import REAL, integer
from engine.plots._drawing import (
    BLUE,
    LEAST_SIZE,
    ORANGE,
    color_scale,
    draw_tiles,
    headline,
    target_axes,
    text_size,
)
from engine.plots._pictures import picture_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# A color map whose middle, a weight of 0, is light on any background.
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "#f7f7f7", ORANGE])
_MATRIX = 2  # the number of axes of a kernel
_INCH = 0.8  # width of a unit's picture
_MOST_NAMED = 60  # with more features, their names would be too small to be read and are left out


def weight_images(
    weights: Any,
    *,
    n: int = 32,
    columns: int = 8,
    image_shape: Sequence[int] | None = None,
    feature_names: Sequence[object] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots the input weights of units: an image per unit, or a row per unit if inputs aren't images.

    Orange is positive, blue negative; all pictures have the same scale, symmetric about 0.

    Args:
        weights: a model (its first layer with a kernel is used), a layer, or a kernel (inputs, units).
        n: largest number of units, from the first on.
        columns: number of images in each row.
        image_shape: shape of one sample, such as (28, 28); default the input shape of the model, or a square.
        feature_names: names of the inputs, which are not drawn as images then; default the column names of the data
            in `fit`.
        ax: matplotlib Axes to draw into; default a new pyplot figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if there is no kernel, or the other arguments don't match it.
    """
    n, columns = integer(n, "n", 1), integer(columns, "columns", 1)
    kernel, title = _kernel(weights)
    if feature_names is None and image_shape is None and len(kernel) <= _MOST_NAMED:
        feature_names = getattr(weights, "_feature_names", None)
    shape = None
    if feature_names is None:
        shape = picture_shape(len(kernel), image_shape or _input_shape(weights, len(kernel)))
    units = kernel.T[:n]
    end = float(np.abs(units).max()) or 1.0
    more = f", the first {len(units)} of {kernel.shape[1]} units" if len(units) < kernel.shape[1] else ""
    if shape is None:
        ax = _matrix(ax, units, end, feature_names)
    else:
        columns = min(columns, len(units))
        rows = -(-len(units) // columns)
        ax = target_axes(ax, max(_INCH * columns + 1.0, 4.0), _INCH * rows + 0.6)
        draw_tiles(
            ax,
            [unit.reshape(shape) for unit in units],
            [""] * len(units),
            columns,
            cmap=SIGNED,
            limits=(-end, end),
            caption_size=LEAST_SIZE,
        )
        if len(shape) == _MATRIX:  # colors have no scale
            color_scale(ax, SIGNED, end, "weight")
    headline(ax, f"{title}{more}")
    return ax


def _matrix(ax: Axes | None, units: NDArray[np.float32], end: float, names: Sequence[object] | None) -> Axes:
    """Draws the weights with a row for each unit and a column for each input."""
    count, inputs = units.shape
    if names is not None and len(names) != inputs:
        msg = f"`feature_names` has {len(names)} names, but the kernel has {inputs} inputs"
        raise ValueError(msg)
    ax = target_axes(
        ax, float(np.clip(0.35 * inputs + 2.5, 4, 14)), float(np.clip(0.25 * count + 1.8, 3, 10))
    )
    ax.imshow(units, cmap=SIGNED, vmin=-end, vmax=end, aspect="auto", interpolation="nearest")
    if names is not None and inputs <= _MOST_NAMED:
        size = max(LEAST_SIZE, min(text_size(), 320 / inputs))
        ax.set_xticks(range(inputs), [str(name) for name in names], rotation=45, ha="right", fontsize=size)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("input")
    ax.set_ylabel("unit")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    color_scale(ax, SIGNED, end, "weight")
    return ax


def _kernel(weights: Any) -> tuple[NDArray[np.float32], str]:
    """Returns the kernel of the given layer, and a text that says which one it is."""
    layers = getattr(weights, "layers", [weights])
    for layer in layers:
        if not hasattr(layer, "name"):
            continue
        for array in getattr(layer, "weights", ()):
            if array.ndim == _MATRIX:
                return np.asarray(array), f"Weights of {layer.name}"
    if len(layers) == 1 and not hasattr(weights, "name"):
        array = np.asarray(weights)
        if array.dtype.kind in REAL and array.ndim == _MATRIX and array.size and np.isfinite(array).all():
            return array.astype(np.float32), "Weights"
    msg = (
        "`weights` must be a model or layer that has been built and has a kernel, or a kernel, a finite array "
        f"(inputs, units); got {type(weights).__name__}"
    )
    raise ValueError(msg)


def _input_shape(weights: Any, inputs: int) -> tuple[int, ...] | None:
    """Returns the shape of a model's samples if they are images whose pixels are the inputs of the layer; else None."""
    shape: tuple[int, ...] = tuple(weights.input_shape)[1:] if hasattr(weights, "layers") else ()
    return shape if len(shape) in (2, 3) and math.prod(shape) == inputs else None
