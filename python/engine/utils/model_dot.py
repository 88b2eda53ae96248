"""Graphs of models for Graphviz: `model_to_dot`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from engine._base.checks import choice, flag, integer
from engine.utils.model_plot import DIRECTIONS, SPLINES, Cell, Shown, _boxes, _require_built


def model_to_dot(  # noqa: PLR0917 # Keras' signature
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """The layers of `model` as a graph of pydot, which writes it as text and, with Graphviz, as a picture.

    `plot_model` makes a picture without either.

    Args:
        model: a model that has been built.
        show_shapes: whether to show the shapes of inputs and outputs.
        show_dtype: whether to show the dtype of outputs.
        show_layer_names: whether to show the names of layers, not only of their classes.
        rankdir: "TB" from top to bottom, "LR" from left to right, "BT" or "RL".
        expand_nested: whether to show the layers of models within, in a frame.
        dpi: pixels per inch of a picture.
        subgraph: whether to return a pydot.Cluster, a part of another graph.
        show_layer_activations: whether to show activations, of layers that have one.
        show_trainable: whether to show if weights are trained, of layers that have some.
        splines: how edges are drawn: "ortho", "curved", "polyline", "spline" or "line".
        **kwargs: none; others raise ValueError.

    Returns:
        A pydot.Dot, or a pydot.Cluster.

    Raises:
        ValueError: if the model isn't built, or for an unknown argument.
        ImportError: without pydot.
    """
    if kwargs:
        msg = f"Unrecognized keyword arguments: {kwargs}"
        raise ValueError(msg)
    _require_built(model)
    try:
        import pydot
    except ImportError as error:
        msg = f"model_to_dot needs pydot, which can't be imported ({error}): pip install pydot, or use plot_model"
        raise ImportError(msg) from error
    shown = Shown(
        flag(show_shapes, "show_shapes"),
        flag(show_dtype, "show_dtype"),
        flag(show_layer_names, "show_layer_names"),
        flag(show_layer_activations, "show_layer_activations"),
        flag(show_trainable, "show_trainable"),
        nested=False,
    )
    choice(rankdir, "rankdir", DIRECTIONS)
    choice(splines, "splines", SPLINES)
    if subgraph:
        graph = _cluster(pydot, model)
    else:
        settings = {
            "rankdir": rankdir,
            "concentrate": True,
            "dpi": integer(dpi, "dpi", 1),
            "splines": splines,
        }
        graph = pydot.Dot(**settings)
        graph.set_node_defaults(shape="plain")
    _add_layers(pydot, graph, model, shown, flag(expand_nested, "expand_nested"))
    return graph


def _cluster(pydot: Any, model: Any) -> Any:
    return pydot.Cluster(graph_name=model.name, style="dashed", label=model.name, labeljust="l")


def _add_layers(pydot: Any, graph: Any, model: Any, shown: Shown, expand: bool) -> tuple[str, str]:
    """Adds the layers of `model` to `graph`, connected by arrows. Returns the first and the last node."""
    ends: list[tuple[str, str]] = []
    for (layer, _, _, sources), rows in zip(model._diagram(), _boxes(model, shown), strict=True):
        if expand and layer.built and layer._parts_in_order:
            cluster = _cluster(pydot, layer)
            end = _add_layers(pydot, cluster, layer, shown, expand)
            graph.add_subgraph(cluster)
        else:
            node = str(id(layer))
            graph.add_node(pydot.Node(node, label=_table(rows), fontname="Helvetica"))
            end = node, node
        for source in sources:
            graph.add_edge(pydot.Edge(ends[source][1], end[0]))
        ends.append(end)
    return ends[0][0], ends[-1][1]


def _table(rows: Sequence[Sequence[Cell]]) -> str:
    """Returns rows of cells as a label of Graphviz in HTML."""
    widest = max(map(len, rows))
    lines = []
    for row in rows:
        spans = [widest // len(row)] * len(row)
        spans[-1] += widest - sum(spans)
        cells = (
            f'<td colspan="{span}" bgcolor="{cell.fill}"><font color="{cell.ink}">{escape(cell.text)}</font></td>'
            for cell, span in zip(row, spans, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<<table border="0" cellborder="1" cellspacing="0" cellpadding="8">{"".join(lines)}</table>>'
