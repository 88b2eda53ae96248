"""Helpers of all plots: colors, new figures, titles, plain axes, and pictures in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

# Colors of a medium lightness, with a contrast of at least 3 to white and to near-black. The color-blind can distinguish them.
GREY, BLUE, ORANGE = "#8a96a3", "#2f74bf", "#d9642c"
GREEN, PURPLE = "#0a8f6c", "#b4639e"
# The size of the smallest text in points.
LEAST_SIZE = 5.0

_GAP, _CAPTION = 0.2, 0.38  # between tiles, and below them for their captions; shares of their height
_EDGE = 0.01  # for the outer half of a frame


def target_axes(ax: object, width: float, height: float) -> Axes:
    """Returns `ax`, or the axes of a new figure of this size in inches."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        msg = f"`ax` must be Axes of matplotlib, got {ax!r}"
        raise TypeError(msg)
    return ax


def color_scale(ax: Axes, cmap: Colormap, end: float, label: str) -> None:
    """Draws a color bar for numbers from `-end` to `end` beside `ax`."""
    scale = ax.figure.colorbar(ScalarMappable(Normalize(-end, end), cmap), ax=ax, label=label, aspect=30)
    scale.outline.set_visible(False)


def text_size() -> float:
    """Returns the size of ordinary text in points."""
    return float(mpl.rcParams["font.size"])


def headline(ax: Axes, text: str) -> None:
    """Draws a title above the left end of `ax`."""
    ax.set_title(text, loc="left", fontweight="bold")


def tidy(ax: Axes) -> None:
    """Removes ticks, frame and grid lines that don't help to read values."""
    ax.grid(axis="y", color=GREY, alpha=0.35, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(length=0)


def draw_tiles(
    ax: Axes,
    pictures: Sequence[NDArray[Any]],
    captions: Sequence[str],
    columns: int,
    *,
    cmap: str | Colormap,
    limits: tuple[float, float],
    caption_size: float,
) -> None:
    """Draws `pictures` side by side in rows, each with its caption below.

    Args:
        ax: the Axes to draw into, whose own axes are hidden.
        pictures: (height, width), or (height, width, 3) of colors; all of one shape.
        captions: one for each picture. If all are empty, no space is reserved for them.
        columns: in each row.
        cmap: colors of numbers.
        limits: the numbers for the first of the colors and the last.
        caption_size: in points.
    """
    height, width = pictures[0].shape[:2] if pictures else (1, 1)
    wide = width / height
    line = 1 + (_CAPTION if any(captions) else _GAP)
    for index, (array, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, columns)
        left, top = column * (wide + _GAP), row * line
        picture = array
        if array.ndim == 3:  # noqa: PLR2004 # colors, which matplotlib expects from 0 to 1
            picture = np.clip((array - limits[0]) / max(limits[1] - limits[0], 1e-12), 0, 1)
        ax.imshow(
            picture,
            cmap=cmap,
            vmin=limits[0],
            vmax=limits[1],
            extent=(left, left + wide, top + 1, top),
            interpolation="nearest",
        )
        frame = Rectangle((left, top), wide, 1, fill=False, edgecolor=GREY, linewidth=0.6, clip_on=False)
        ax.add_patch(frame)
        ax.text(left, top + 1.06, caption, va="top", fontsize=caption_size)
    rows = -(-len(pictures) // columns)
    ax.set_xlim(-_EDGE, columns * (wide + _GAP) - _GAP + _EDGE)
    ax.set_ylim(max(rows, 1) * line, -_EDGE)
    ax.set_anchor("NW")
    ax.set_axis_off()
