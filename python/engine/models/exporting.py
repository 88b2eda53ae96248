"""What a file of a model in another format is written from: the graph of its layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from engine._core_interface.cpp import Program
from engine.layers.symbols import KerasTensor
from engine.models.network import inner_graph, network_of, owner_of
from engine.models.programs_by_shape import known_inputs

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface

PathLike = str | os.PathLike[str]


def export_model(
    model: ModelInterface,
    names: Sequence[str],
    filepath: PathLike,
    format: str | None,
    options: dict[str, Any],
) -> None:
    """Writes a model to a file in another format.

    Args:
        model: the model. It has no layers of values.
        names: of the inputs.
        filepath: as for `Model.export`.
        format: as for `Model.export`.
        options: as for `Model.export`.
    """
    from engine.export import destination

    write = destination(filepath, format, options)
    write(_graph_for_export(model, names))


def _graph_for_export(model: ModelInterface, names: Sequence[str]) -> Any:
    """Returns the graph that an export writes.

    Args:
        model: the model.
        names: of the inputs.
    """
    from engine.export import Parts, graph_of, is_written_whole

    with model._lock.held():
        model._require_built("export()")
        graph = model._built_graph
        network = network_of(graph, inner_graph, known_inputs(graph), whole=is_written_whole)
        return graph_of(
            model.name,
            Parts(
                graph.input_layers,
                network.leaves,
                [owner_of(around) for around in network.around],
                network.training_of_leaves,
                network.wiring.reads,
                network.wiring.outputs,
                graph.tokens,
                names,
                graph.output_form.keys or None,
            ),
            cast("Program", graph.program),
        )


def symbols_after_values_of(model: ModelInterface) -> list[KerasTensor]:
    """The symbols at which a file of the model begins, if the model has layers of values; else none."""
    if model._body is not None or not model._built_graph.input_layers:
        return []
    from engine.models.after_values import symbols_after_values  # few programs need it

    _, outputs, calls = model._symbols()
    return symbols_after_values(calls, outputs)
