"""The summary of a model: what `Model.summary` prints and notebooks show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, NamedTuple

from engine._base.checks import Shape
from engine._printing.summary_table import Layout, Style, WeightCounts, between, html_table, table
from engine.layers import InputLayer
from engine.layers.part import Part
from engine.layers.recorded_calls import shape_with_batch
from engine.models.diagram import is_listed_as_chain


def summary_text(
    model: Any,
    *,
    line_length: int | None,
    positions: Sequence[float] | None,
    expand_nested: bool,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
    for_terminal: bool,
) -> str:
    """Returns the summary of a model as text. The arguments are those of `Model.summary`.

    Args:
        model: the model.
        line_length: width in characters, or None.
        positions: ends of the columns as fractions of the line, or None.
        expand_nested: whether to show the layers of nested models.
        show_trainable: whether to show which layers are trainable.
        layer_range: names of the first and the last layer to show, or None.
        for_terminal: whether the text is printed, so that it may have the colours of the terminal.
    """
    layout = Layout(line_length, positions, show_trainable, not is_listed_as_chain(model))
    lines = _lines_of(model)
    shown = list(_rows(lines, expand_nested))[between([line.part.name for line in lines], layer_range)]
    rows = [[row[column] for column in layout.columns] for row in chain(*shown)]
    style = Style.of_terminal() if for_terminal else Style()
    return table(model.name, rows, _counts(model), layout, style)


def summary_html(model: Any) -> str:
    """Returns the summary of a model as a table in HTML."""
    rows = [group[0][:3] for group in _rows(_lines_of(model), False)]
    return html_table(model.name, rows, _counts(model))


class Line(NamedTuple):
    """A layer in a summary.

    Attributes:
        part: the layer or model.
        shapes: the shape of one sample of each output; None if they are unknown.
        connections: the names of what it is called on.
        within: the layers of a model.
    """

    part: Part
    shapes: Sequence[Shape] | None
    connections: str
    within: Sequence[Line]


Row = tuple[str, str, str, str, str]
"""A row of a summary: name and class, output shape, number of weights, what it is connected to, whether it is trainable."""


def _rows(lines: Sequence[Line], expand: bool, depth: int = 0) -> Iterator[list[Row]]:
    """Yields for each part its row of a summary, followed by those of the layers within if `expand` is true.

    Args:
        lines: the parts.
        expand: whether to list the layers of models.
        depth: the number of models around the parts.
    """
    mark = "   " * depth + "└ " if depth else ""
    for part, shapes, connections, lines_within in lines:
        found = (
            [] if shapes is None else [f"({', '.join(map(str, shape_with_batch(each)))})" for each in shapes]
        )
        out = "?" if shapes is None else found[0] if len(found) == 1 else f"[{', '.join(found)}]"
        given = isinstance(part, InputLayer)
        params = "0" if given else f"{part.count_params():,}" if part.built else "0 (unbuilt)"
        learns = ("Y" if part.trainable else "N") if part.weights else "-"
        rows = [(f"{mark}{part.name} ({type(part).__name__})", out, params, connections, learns)]
        if expand:
            # As in Keras, the layers within a model are connected to nothing outside.
            within = _rows([line._replace(connections="-") for line in lines_within], expand, depth + 1)
            rows += [row for each in within for row in each]
        yield rows


def _lines_of(model: Any) -> list[Line]:
    """Returns the layers as the summary lists them: in a Sequential as often as they are used, otherwise once, in Keras' order."""
    if model._body is not None:
        return _lines_of_attributes(model)
    graph, inputs = model._built_graph, model._built_graph.input_layers
    known = graph.shapes.values if inputs else None
    shapes: list[list[Shape] | None] = []
    sources, connections = list[str](), dict[Part, dict[int, list[str]]]()
    nodes = [call.node for call in model._symbols()[2]] if inputs else [0] * len(graph.layers)
    for part, node, reads in zip(graph.layers, nodes, graph.wiring.reads, strict=True):
        first = len(sources)
        read = [f"{inputs[-1 - each].name}[0][0]" if each < 0 else sources[each] for each in reads if inputs]
        connections.setdefault(part, {})[node] = read
        sources += [f"{part.name}[{node}][{output}]" for output in range(part._output_count)]
        shapes.append(None if known is None else known[first : len(sources)])
    within = [_lines_of(part) if part._is_model else [] for part in graph.layers]
    lines = list(map(Line, graph.layers, shapes, repeat("-"), within))
    shown = set(model._parts_in_order)
    starts = [Line(start, [start.sample_shape], "-", []) for start in inputs if start in shown]
    if is_listed_as_chain(model):
        return [*starts, *lines]
    by_part = {line.part: line for line in (*starts, *lines)}

    def connected(part: Part) -> Line:
        by_node = connections.get(part, {})
        return by_part[part]._replace(
            connections=", ".join(name for node in sorted(by_node) for name in by_node[node]) or "-"
        )

    return list(map(connected, graph.listed))


def _lines_of_attributes(model: Any) -> list[Line]:
    """Returns the layers that a model with a `call` of its own has as attributes."""
    lines = []
    for part in model._parts_in_order:
        known: Shape | None = (
            part._built_graph.sample_shape if part._is_model else getattr(part, "_sample_shape", None)
        )
        shapes = None
        if known is not None and part.built:
            with suppress(Exception):  # what it computes may depend on more than that
                shapes = part._output_shapes_for([known])
        lines.append(Line(part, shapes, "-", _lines_of(part) if part._is_model else []))
    return lines


def _counts(model: Any) -> WeightCounts:
    """Returns the numbers of trainable values, of other ones and of the optimizer's; the latter is None before its first step."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    non_trainable = sum(math.prod(weight.shape) for weight in model.non_trainable_weights)
    optimizer = model.optimizer
    if optimizer is None or optimizer.iterations == 0:
        return WeightCounts(trainable, non_trainable, None)
    state = sum(math.prod(variable.shape) for variable in optimizer.variables)
    return WeightCounts(trainable, non_trainable, state)
