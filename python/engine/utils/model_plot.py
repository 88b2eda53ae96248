"""Diagrams of models, drawn by matplotlib: `plot_model`. Each layer is a box, and arrows connect the boxes."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine._base.atomic_files import replacing
from engine._base.checks import Shape, choice, flag, integer, path_of
from engine._base.extras import extra

# Lengths are points, 1/72 inch.
HEADING, TEXT = 12.0, 10.5  # sizes of letters
PADDING, GAP, HEAD, BORDER = 7.0, 26.0, 6.0, 12.0
LINE_HEIGHT = 1.25
DARK, WHITE, GREY, BLUE, PALE = "#2b3440", "#ffffff", "#6b7683", "#2463a8", "#eef1f5"
# Widths of letters as shares of their size. They are generous, since the sans-serif font of the machine is unknown.
NARROW, WIDE, NARROW_WIDTH, WIDE_WIDTH, WIDTH = "fijlrtI .,:;|()[]'", "mwMW@%", 0.42, 0.95, 0.68
DIRECTIONS = ("TB", "LR", "BT", "RL")
SPLINES = ("ortho", "curved", "polyline", "spline", "line")
# matplotlib's limit of pixels on a side.
MOST_PIXELS = 2**16 - 1


class Cell(NamedTuple):
    """A rectangle with a text or a smaller drawing in its middle."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    ink: str
    text: str
    size: float
    inner: Drawing | None = None


class Drawing(NamedTuple):
    """Cells, and arrows and lines from point to point. y increases downwards."""

    width: float
    height: float
    cells: list[Cell]
    arrows: list[tuple[float, float, float, float]]
    lines: Sequence[tuple[float, float, float, float]] = ()


class Shown(NamedTuple):
    """What the boxes say about each layer."""

    shapes: bool
    dtype: bool
    names: bool
    activations: bool
    trainable: bool
    nested: bool


def plot_model(  # noqa: PLR0917 # Keras' signature
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> Any:
    """Writes a diagram of the layers of a model to a file. It doesn't need Graphviz.

    Args:
        model: a built model.
        to_file: path of the file. `.svg` needs no other package; `.png`, `.pdf` and the other formats of matplotlib
            need matplotlib.
        show_shapes: whether to show the shapes of inputs and outputs.
        show_dtype: whether to show the dtypes of outputs.
        show_layer_names: whether to show the names of layers beside their classes.
        rankdir: "TB" from top to bottom, "LR" from left to right, "BT" or "RL".
        expand_nested: whether to show the layers of nested models.
        dpi: pixels per inch, for `.png` and other pixel formats.
        show_layer_activations: whether to show the activations of layers.
        show_trainable: whether to show which layers are trainable.
        splines: Ignored. Arrows are straight.

    Returns:
        In IPython and notebooks an object that displays the diagram; otherwise None.

    Raises:
        ValueError: if the model isn't built, the suffix of `to_file` is unknown, or the image would have too many
            pixels.
        ImportError: if matplotlib is needed, but not installed. The extra `plot` installs it.
        OSError: if the file can't be written.
    """
    _require_built(model)
    choice(splines, "splines", SPLINES)
    dpi = integer(dpi, "dpi", 1)
    shown = Shown(
        flag(show_shapes, "show_shapes"),
        flag(show_dtype, "show_dtype"),
        flag(show_layer_names, "show_layer_names"),
        flag(show_layer_activations, "show_layer_activations"),
        flag(show_trainable, "show_trainable"),
        flag(expand_nested, "expand_nested"),
    )
    drawing = _unfolded(_drawing_of(model, shown, choice(rankdir, "rankdir", DIRECTIONS)))
    path = Path(path_of(to_file, "to_file"))
    path = path if path.suffix else path.with_suffix(".png")
    if path.suffix.lower() == ".svg":
        with replacing(path, "w") as file:
            file.write(_svg(drawing, model))
    else:
        _paint(drawing, path, dpi)
    return _displayed(path)


def _require_built(model: Any) -> None:
    if not getattr(model, "built", False):
        msg = "This model has not yet been built. Build the model first by calling `build()` or by calling the model on a batch of data."
        raise ValueError(msg)


def _drawing_of(model: Any, shown: Shown, rankdir: str) -> Drawing:
    """Returns the drawing of a model. Those of graphs within it lie in cells, which `_unfolded` replaces."""
    boxes, sources = _boxes(model, shown, rankdir), [row[-1] for row in model._diagram()]
    is_chain = sources == [[number - 1] if number else [] for number in range(len(sources))]
    return _arranged(boxes, rankdir) if is_chain else _layered(boxes, sources, rankdir)


def _unfolded(drawing: Drawing) -> Drawing:
    """Returns a drawing whose cells hold no drawings, but lie behind their cells, arrows and lines."""
    cells, arrows, lines = list[Cell](), [*drawing.arrows], [*drawing.lines]
    for cell in drawing.cells:
        cells.append(cell._replace(inner=None))
        if cell.inner is None:
            continue
        inner = _unfolded(cell.inner)
        x, y = cell.x + (cell.width - inner.width) / 2, cell.y + (cell.height - inner.height) / 2
        cells += [inner_cell._replace(x=inner_cell.x + x, y=inner_cell.y + y) for inner_cell in inner.cells]
        for drawn, inner_lines in ((arrows, inner.arrows), (lines, inner.lines)):
            drawn += [(x1 + x, y1 + y, x2 + x, y2 + y) for x1, y1, x2, y2 in inner_lines]
    return drawing._replace(cells=cells, arrows=arrows, lines=lines)


def _boxes(model: Any, shown: Shown, rankdir: str = "TB") -> list[list[list[Cell]]]:
    """Returns for each layer the rows of cells in its box, from the top, not yet placed.

    The layers of a chain within the model are further rows, and those of a graph a drawing in a cell.
    """
    boxes = []
    for layer, before, after, _ in model._diagram():
        kind = type(layer).__name__
        heading = f"{layer.name} ({kind})" if shown.names else kind
        rows = [[_cell(heading, HEADING, DARK, WHITE)]]
        activation = getattr(layer, "activation", None)
        if shown.activations and activation is not None:
            name = getattr(activation, "__name__", None) or type(activation).__name__
            rows.append([_cell(f"Activation: {name}")])
        facts = []
        if shown.shapes:
            facts += [
                _cell(f"Input shape: {_text_of_shapes(before)}"),
                _cell(f"Output shape: {_text_of_shapes(after)}"),
            ]
        if shown.dtype:
            facts.append(_cell("Output dtype: float32"))
        if shown.trainable and layer.weights:
            facts.append(
                _cell("Trainable", TEXT, BLUE, WHITE)
                if layer.trainable
                else _cell("Non-trainable", TEXT, GREY, WHITE)
            )
        rows += [facts] if facts else []
        if shown.nested and layer.built and layer._is_graph:
            inner = _drawing_of(layer, shown, rankdir)
            rows.append([Cell(0, 0, inner.width, inner.height, PALE, DARK, "", TEXT, inner)])
        elif shown.nested and layer.built and layer._parts_in_order:
            rows += [row for within in _boxes(layer, shown, rankdir) for row in within]
        boxes.append(rows)
    return boxes


def _text_of_shapes(samples: Sequence[Shape]) -> str:
    """Returns the shapes of arrays whose samples have the shapes `samples`."""
    shapes = [(None, *sample) for sample in samples]
    return str(shapes[0] if len(shapes) == 1 else shapes)


def _cell(text: str, size: float = TEXT, fill: str = WHITE, ink: str = DARK) -> Cell:
    width = sum(
        NARROW_WIDTH if letter in NARROW else WIDE_WIDTH if letter in WIDE else WIDTH for letter in text
    )
    return Cell(
        0, 0, round(width * size + 2 * PADDING, 1), LINE_HEIGHT * size + 2 * PADDING, fill, ink, text, size
    )


def _arranged(boxes: Sequence[list[list[Cell]]], rankdir: str) -> Drawing:
    """Places the boxes one after the other, centered on one line."""
    sizes = [
        (
            max(sum(cell.width for cell in row) for row in rows),
            sum(max(cell.height for cell in row) for row in rows),
        )
        for rows in boxes
    ]
    upright = rankdir in ("TB", "BT")
    across = max(size[0 if upright else 1] for size in sizes)
    turned = rankdir in ("BT", "RL")
    order = list(zip(boxes, sizes, strict=True))
    offset, cells, ends = BORDER, [], []
    for rows, (width, height) in reversed(order) if turned else order:
        middle = BORDER + (across - (width if upright else height)) / 2
        x, y = (middle, offset) if upright else (offset, middle)
        cells += _filled(rows, x, y, width)
        ends.append((offset, offset := offset + (height if upright else width)))
        offset += GAP
    center, length = BORDER + across / 2, offset - GAP + BORDER
    arrows = []
    for (_, end), (start, _) in itertools.pairwise(ends):
        first, last = (start, end) if turned else (end, start)
        arrows.append((center, first, center, last) if upright else (first, center, last, center))
    size = (across + 2 * BORDER, length)
    return Drawing(*(size if upright else size[::-1]), cells, arrows)


class _Item(NamedTuple):
    """What lies in one layer of a drawing: a box, or the place where a line passes by."""

    box: int | None
    breadth: float
    """Its size across the direction of the arrows."""
    depth: float
    """Its size along them."""


def _layered(boxes: Sequence[list[list[Cell]]], sources: Sequence[Sequence[int]], rankdir: str) -> Drawing:
    """Places the boxes of a graph in layers, so that all arrows lead from a layer to the next one.

    Args:
        boxes: the rows of cells of each box.
        sources: for each box the numbers of those from which arrows lead to it, which come before it.
        rankdir: the direction of the arrows.
    """
    upright, turned = rankdir in ("TB", "BT"), rankdir in ("BT", "RL")
    level: list[int] = []
    for before in sources:
        level.append(1 + max((level[origin] for origin in before), default=-1))
    layers: list[list[_Item]] = [[] for _ in range(max(level) + 1)]
    for box, rows in enumerate(boxes):
        width = max(sum(cell.width for cell in row) for row in rows)
        height = sum(max(cell.height for cell in row) for row in rows)
        layers[level[box]].append(_Item(box, *((width, height) if upright else (height, width))))
    # A longer arrow passes each layer between its ends at a place of its own.
    routes: list[tuple[int, list[int], int]] = []
    for box, before in enumerate(sources):
        for source in before:
            between = range(level[source] + 1, level[box])
            routes.append((source, [len(layers[layer_number]) for layer_number in between], box))
            for layer_number in between:
                layers[layer_number].append(_Item(None, GAP, 0))
    breadths = [sum(item.breadth for item in layer) + GAP * (len(layer) - 1) for layer in layers]
    depths = [max(item.depth for item in layer) for layer in layers]
    begins = [BORDER + sum(depths[:layer_number]) + GAP * layer_number for layer_number in range(len(layers))]
    length = begins[-1] + depths[-1] + BORDER
    middles = [
        list(_middles(layer, BORDER + (max(breadths) - breadth) / 2))
        for layer, breadth in zip(layers, breadths, strict=True)
    ]
    place_of = {
        item.box: (number, index)
        for number, layer in enumerate(layers)
        for index, item in enumerate(layer)
        if item.box is not None
    }

    def point(along: float, across: float) -> tuple[float, float]:
        along = length - along if turned else along
        return (across, along) if upright else (along, across)

    cells: list[Cell] = []
    for box, rows in enumerate(boxes):
        number, index = place_of[box]
        item, across = layers[number][index], middles[number][index]
        far = begins[number] + (item.depth if turned else 0)
        x, y = point(far, across - item.breadth / 2)
        cells += _filled(rows, x, y, item.breadth if upright else item.depth)
    arrows, lines = [], []
    for source, passes, box in routes:
        number, index = place_of[source]
        path = [point(begins[number] + layers[number][index].depth, middles[number][index])]
        for passed, place_passed in enumerate(passes, number + 1):
            across = middles[passed][place_passed]
            path += [point(begins[passed], across), point(begins[passed] + depths[passed], across)]
        number, index = place_of[box]
        path.append(point(begins[number], middles[number][index]))
        ends = [(*start, *end) for start, end in itertools.pairwise(path)]
        lines += ends[:-1]
        arrows.append(ends[-1])
    size = max(breadths) + 2 * BORDER
    return Drawing(*((size, length) if upright else (length, size)), cells, arrows, lines)


def _middles(layer: Sequence[_Item], begin: float) -> Iterator[float]:
    """Yields the middle of each item of a layer that begins at `begin`."""
    for item in layer:
        yield begin + item.breadth / 2
        begin += item.breadth + GAP


def _filled(rows: Sequence[Sequence[Cell]], x: float, y: float, width: float) -> list[Cell]:
    """Places the cells of a box. The cells of a row share its width."""
    placed = []
    for row in rows:
        spare = (width - sum(cell.width for cell in row)) / len(row)
        left, height = x, max(cell.height for cell in row)
        for cell in row:
            placed.append(cell._replace(x=left, y=y, width=cell.width + spare, height=height))
            left += cell.width + spare
        y += height
    return placed


def _svg(drawing: Drawing, model: Any) -> str:
    from html import escape

    names = escape(", ".join(layer.name for layer in model._parts_in_order))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width:.1f}pt" height="{drawing.height:.1f}pt" '
        f'viewBox="0 0 {drawing.width:.1f} {drawing.height:.1f}" role="img" aria-label="{names}" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        f"<title>{escape(model.name)}</title>",
    ]
    for cell in drawing.cells:
        weight = ' font-weight="bold"' if cell.size == HEADING else ""
        lines += [
            f'<rect x="{cell.x:.1f}" y="{cell.y:.1f}" width="{cell.width:.1f}" height="{cell.height:.1f}" '
            f'fill="{cell.fill}" stroke="{GREY}" stroke-width="0.8"/>',
        ]
        if not cell.text:
            continue
        lines += [
            f'<text x="{cell.x + cell.width / 2:.1f}" y="{cell.y + cell.height / 2:.1f}" dominant-baseline="central" '
            f'font-size="{cell.size:g}" fill="{cell.ink}"{weight}>{escape(cell.text)}</text>',
        ]
    for x1, y1, x2, y2 in drawing.lines:
        lines.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{GREY}" stroke-width="1.4"/>')
    for x1, y1, x2, y2 in drawing.arrows:
        span = math.hypot(x2 - x1, y2 - y1)
        along = (x2 - x1) / span, (y2 - y1) / span
        neck = x2 - along[0] * HEAD, y2 - along[1] * HEAD
        side = along[1] * HEAD / 2, -along[0] * HEAD / 2
        lines += [
            f'<path d="M{x1:.1f} {y1:.1f}L{neck[0]:.1f} {neck[1]:.1f}" stroke="{GREY}" stroke-width="1.4"/>',
            f'<path d="M{neck[0] - side[0]:.1f} {neck[1] - side[1]:.1f}L{x2:.1f} {y2:.1f}'
            f'L{neck[0] + side[0]:.1f} {neck[1] + side[1]:.1f}Z" fill="{GREY}"/>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _paint(drawing: Drawing, path: Path, dpi: int) -> None:
    """Draws the picture with matplotlib and writes it to the file."""
    extra("matplotlib", "plot", f"a picture in {path.suffix} (.svg does without)")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, Rectangle

    figure = Figure(figsize=(drawing.width / 72, drawing.height / 72), dpi=dpi, facecolor="white")
    suffixes = FigureCanvasAgg(figure).get_supported_filetypes()
    ending = path.suffix[1:].lower()
    if ending not in suffixes:
        msg = f"`to_file` must end in one of {', '.join(f'.{name}' for name in sorted(suffixes))}, got {str(path)!r}"
        raise ValueError(msg)
    if max(drawing.width, drawing.height) / 72 * dpi > MOST_PIXELS:
        msg = f"`dpi={dpi}` makes a picture of more than {MOST_PIXELS} pixels: pass less, or a `to_file` in .svg"
        raise ValueError(msg)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.set_axis_off()
    for cell in drawing.cells:
        corner = (cell.x, cell.y)
        box = Rectangle(corner, cell.width, cell.height, facecolor=cell.fill, edgecolor=GREY, linewidth=0.8)
        axes.add_patch(box)
        axes.text(
            cell.x + cell.width / 2,
            cell.y + cell.height / 2,
            cell.text,
            ha="center",
            va="center_baseline",
            color=cell.ink,
            fontsize=cell.size,
            fontfamily="DejaVu Sans",  # comes with matplotlib
            fontweight="bold" if cell.size == HEADING else "normal",
            parse_math=False,
        )
    for x1, y1, x2, y2 in drawing.lines:
        axes.plot((x1, x2), (y1, y2), color=GREY, linewidth=1.4)
    for x1, y1, x2, y2 in drawing.arrows:
        style = f"-|>,head_length={HEAD},head_width={HEAD / 2}"
        arrow = FancyArrowPatch(
            (x1, y1), (x2, y2), arrowstyle=style, color=GREY, linewidth=1.4, shrinkA=0, shrinkB=0
        )
        axes.add_patch(arrow)
    with replacing(path) as file:
        figure.savefig(file, format=ending, dpi=dpi)


def _displayed(path: Path) -> Any:
    """Returns the object by which a notebook shows the picture; None elsewhere, and for formats that it can't show."""
    if "IPython" not in sys.modules:
        return None
    from IPython import display

    kinds = {".svg": display.SVG, ".png": display.Image, ".jpg": display.Image, ".jpeg": display.Image}
    kind = kinds.get(path.suffix.lower())
    return None if kind is None else kind(filename=str(path))
