"""Calls of a model layer by layer, where its program can't compute all layers at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from engine import tree
from engine._base.tensor_like import Tensor, mask_of
from engine._data.exact_integers import Reading, with_dtype
from engine._data.several_arrays import inputs_in, sample_shape_of
from engine._tracing.lazy import LazyTrace, on_trial, recorded_with_mask
from engine._tracing.symbolic import apply, filled_slots
from engine.layers import Layer
from engine.layers.call_arguments import canonical_dtype
from engine.layers.nodes import PenaltyLeaf
from engine.layers.operation import OperationPart
from engine.layers.part import Part
from engine.layers.symbols import CallArguments, called_on
from engine.models.built_graph import BuiltGraph


def _walk(model: Any, inputs: Sequence[Any], call: Callable[..., Any]) -> list[Any]:
    """Returns the outputs of a model, computed part by part.

    Args:
        model: the model.
        inputs: one value for each input.
        call: gets a part, a list of what it reads, and the arguments `training` and others of its call in the model; it
            returns what the part computes.
    """

    def flat(
        part: Part, read: list[Any], training: bool | None, arguments: CallArguments | None
    ) -> list[Any]:
        outputs = call(part, read, training, arguments)
        return tree.flatten(outputs) if part._output_count > 1 else [outputs]

    graph: BuiltGraph = model._built_graph
    return graph.run(inputs, flat)


def inputs_of_rows(model: Any, rows: Any, masks: Sequence[Any] = ()) -> list[Any]:
    """Returns the arrays of the inputs of a model, in their dtypes.

    Args:
        model: the model.
        rows: the samples (n, ...), as the core reads them.
        masks: the mask of each input, or None; empty if no input has one.
    """
    graph, inputs = model._built_graph, [rows]
    if len(graph.input_layers) > 1:
        shapes = graph.input_shapes
        if graph.by_shape is not None:
            shapes = inputs_in(sample_shape_of(rows))
        parts = np.split(np.asarray(rows), list(accumulate(map(math.prod, shapes)))[:-1], axis=1)
        inputs = [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]
    for number, start in enumerate(graph.input_layers):
        dtype, coded = canonical_dtype(start.dtype), graph.readings[number] is Reading.CODED
        if coded or dtype.kind != "f":
            wanted = np.dtype(np.int64) if dtype.kind == "f" else dtype
            inputs[number] = with_dtype(np.asarray(inputs[number]), wanted, coded)
    for number, mask in enumerate(masks):
        if mask is not None:
            inputs[number] = np.asarray(inputs[number]).view(Tensor).masked(mask)
    return inputs


def masks_of_outputs(model: Any, rows: Any, masks: Sequence[Any] = ()) -> list[Any]:
    """Returns the mask of each output of a model, True for each timestep to keep; None for one without.

    Args:
        model: the model.
        rows: the samples (n, ...), as the core reads them.
        masks: as for `inputs_of_rows`.
    """
    inputs = inputs_of_rows(model, rows, masks)
    if any(leaf._is_by_call for leaf in model._built_graph.network.leaves):

        def call(part: Any, read: list[Any], training: bool | None, arguments: CallArguments | None) -> Any:
            del training
            if part._is_model:
                return part._built_graph.output_form.packed(_walk(part, read, call))
            return part._call_in_model(read, False, arguments)

        with on_trial():
            outputs: Sequence[Any] = _walk(model, inputs, call)
    else:
        with on_trial():
            trace = LazyTrace()
            outputs = trace.call(model, [recorded_with_mask(each, trace, model) for each in inputs], False)
    return [None if mask_of(each) is None else np.asarray(mask_of(each)) for each in outputs]


def call_by_layer(model: Any, rows: Any, training: bool | None, masks: Sequence[Any] = ()) -> Any:
    """Returns the outputs for `rows` (n, ...), by calling one layer after the other.

    The program can't do three things: it has one `training` for all layers, doesn't return penalties on outputs, and its
    inputs have no masks. `masks` are those for `inputs_of_rows`.
    """
    model._built_graph.forget_penalties()
    penalties = dict[Layer, list[float]]()
    inputs = inputs_of_rows(model, rows, masks)

    def call(part: Any, read: list[Any], own: bool | None, arguments: CallArguments | None) -> Any:
        outputs = part._call_in_model(read, own if training is None else training, arguments)
        for leaf in part._built_graph.penalised if part._is_model else [part]:
            if isinstance(leaf, Layer) and leaf.activity_regularizer is not None:
                penalties.setdefault(leaf, []).extend(leaf._penalties)  # a layer that is used twice has two
        return outputs

    outputs = _walk(model, inputs, call)
    for leaf, found in penalties.items():
        leaf._penalties = found
    return model._built_graph.output_form.packed([np.asarray(each) for each in outputs])


def call_recorded(model: Any, x: Any, symbols: Sequence[Any], training: bool | None) -> Any:
    """Returns the outputs for recorded arrays, one for each input.

    If parts of the model add to the loss, or can't be recorded, they are called one by one. So is a `call` that no network
    for batches of any size can compute, such as one that returns a single number.
    """
    if not model.built:
        try:
            model._build_for_inputs([symbol._sample for symbol in symbols])
        except (ValueError, IndexError):
            if not model._has_call:
                raise
            return model._body._run_call_of_user(x, training, mask_of(x), {})
    model._built_graph.forget_penalties()
    if not model._built_graph.penalised and not any(
        isinstance(leaf, PenaltyLeaf) or leaf.name == "add_loss" or leaf._is_by_call
        for leaf in model._built_graph.network.leaves
    ):
        return model._built_graph.output_form.packed(called_on(model, symbols, training))
    if model._has_call:
        return model._body._run_call_of_user(x, training, mask_of(x), {})

    def call(part: Part, read: list[Any], own: bool | None, arguments: CallArguments | None) -> Any:
        return _called_part(part, read, own if training is None else training, arguments)

    return model._built_graph.output_form.packed(_walk(model, symbols, call))


def _called_part(
    part: Part, inputs: Sequence[Any], training: bool | None, arguments: CallArguments | None
) -> Any:
    """Returns the outputs of a part of a model for recorded arrays."""
    if isinstance(part, OperationPart):
        return apply(part.operation, filled_slots(part._args, inputs), filled_slots(part._kwargs, inputs))
    called: Any = part
    if part._is_model or arguments is None:
        return called(part._packed_inputs(inputs), training=training)
    options = {name: filled_slots(value, inputs) for name, value in arguments.items()}
    return called(filled_slots(arguments.inputs, inputs), training=training, **options)
