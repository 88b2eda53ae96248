"""How the layers of a model are listed and drawn: for summaries, plots and configs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from engine._base.checks import Shape
from engine.layers.part import Part
from engine.layers.symbols import Call

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


Box = tuple[Part, list[Shape], list[Shape], list[int]]
"""A layer, the shapes that it reads and computes, and the numbers of the boxes before it that it reads."""


def diagram(model: ModelInterface) -> list[Box]:
    """Returns the boxes of a diagram.

    In a chain there is one for each use of a layer, and so there is in a graph in which a layer reads what comes of
    its own outputs. Otherwise there is one for each layer.
    """
    graph, visible = model._built_graph, model._parts_in_order
    shapes, reads_of_calls = graph.shapes, graph.wiring.reads
    starts = [start for start in graph.input_layers if start in visible]
    boxes: list[Box] = [(part, [part.sample_shape], [part.sample_shape], []) for part in starts]
    owners, first = list[int](), 0  # the box of each value
    for part, reads, read in zip(graph.layers, reads_of_calls, shapes.read, strict=True):
        seen = [each for each in reads if each >= 0 or graph.input_layers[-1 - each] in starts]
        sources = [
            owners[each] if each >= 0 else starts.index(graph.input_layers[-1 - each]) for each in seen
        ]
        values = shapes.values[first : first + part._output_count]
        first += part._output_count
        owners += [len(boxes)] * part._output_count
        boxes.append((part, read, values, list(dict.fromkeys(sources))))
    if not graph.has_branches:
        return boxes
    number = {part: place for place, part in enumerate(visible)}
    joined: dict[Part, Box] = {}
    for part, read, values, sources in boxes:
        before = joined[part][3] if part in joined else []
        origins = [number[boxes[each][0]] for each in sources]
        if any(each >= number[part] for each in origins):
            return boxes
        joined[part] = (part, read, values, list(dict.fromkeys([*before, *origins])))
    return [joined[part] for part in visible]


def node_numbers(model: ModelInterface) -> list[int]:
    """The number of each call among those of its layer in this model, in the order in which they were made."""
    if not model._built_graph.input_layers:
        return [0] * len(model._built_graph.layers)
    calls = model._symbols()[2]
    counts, found = Counter[Part](), dict[Call, int]()
    for call in sorted(calls, key=lambda call: call.number):
        found[call] = counts[call.layer]
        counts[call.layer] += 1
    return [found[call] for call in calls]


def is_listed_as_chain(model: ModelInterface) -> bool:
    """Whether each layer reads the one before and comes once, as in a Sequential, so that a summary needs no connections."""
    graph = model._built_graph
    if not graph.listed:
        return True
    values = [number for number, part in enumerate(graph.layers) for _ in range(part._output_count)]
    chained = all(
        len(reads) == 1 and (values[reads[0]] if reads[0] >= 0 else -1) == number - 1
        for number, reads in enumerate(graph.wiring.reads)
    )
    return chained and len(graph.input_layers) == 1 and len({*graph.layers}) == len(graph.layers)
