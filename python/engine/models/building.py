"""What builds the program of a model when its layers, its loss or its device change.

`set_graph` gives a model its layers, and with them the program that computes these; `program_for` returns it for samples of a shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from engine._base.checks import Shape
from engine._base.locks import JOINING
from engine._core_interface.cpp import (
    Operation,
    Program,
    WeightArray,
    build,
    get_device,
    on_device,
)
from engine._data.exact_integers import Reading
from engine._data.several_arrays import inputs_in
from engine._tracing.symbolic import outside_of_traces
from engine._training.compile_arguments import Compiled
from engine._training.fit_arguments import BATCH_SIZE
from engine._training.prediction import most_rows_at_once
from engine.layers import Embedding, InputLayer, Layer
from engine.layers.leaf import Leaf
from engine.layers.nodes import NodeLeaf
from engine.layers.part import Part, paths_within
from engine.layers.values import ValueLayer
from engine.models.built_graph import Agreement, BuiltGraph, Settings
from engine.models.layer_graph import LayerGraph, without_layers
from engine.models.lock import all_held
from engine.models.network import Network, inner_graph, network_of
from engine.models.own_call import Body, dtypes_of_outputs, wiring_of
from engine.models.programs_by_shape import LowerForShape, ProgramsByShape, known_inputs
from engine.models.stack import (
    Lowered,
    computes_whole_batches,
    first_uses,
    lowered,
    masked_losses,
    readings_of_inputs,
    tokens_of_inputs,
    tracked,
)
from engine.models.structures import Structure, paths_of
from engine.models.wiring import Shapes, chain_of, shapes_along

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


def set_graph(model: ModelInterface, graph: LayerGraph, compiled: Compiled | None) -> None:
    """Builds a graph of layers, and makes it that of the model; weights that exist keep their values.

    If it raises, nothing has changed.

    Args:
        model: the model.
        graph: the layers, with nothing that was built from them. Nothing is built before there are input layers.
        compiled: what to compile the program with; None if the model isn't compiled.
    """
    parts, known, before = graph.layers, bool(graph.input_layers), compiled
    # A Sequential gives paths to the layers that it builds.
    new = [part for part in parts if known and not part._has_weights and model._is_sequential]
    with paths_within(model.path, new):
        if model._body is not None and known:
            graph = _with_recorded_call(model._body, graph)
            several = len(graph.wiring.outputs) > 1
            if compiled is not None and (compiled.awaits_outputs or (several and not compiled.output_names)):
                compiled = _compiled_with_outputs(compiled, graph)
        if known and (parts or len(graph.input_layers) > 1):
            for part, read in zip(parts, graph.shapes.read, strict=True):
                if part._is_model:
                    part._build_for_inputs(read)
        with outside_of_traces():
            built = _built(model, graph, compiled)
        if known and model._is_sequential:
            dtypes: Sequence[str] = [each.dtype for each in graph.input_layers]
            for part in parts:
                dtypes = part._output_dtypes_for(dtypes)
            built = replace(built, output_dtypes=dtypes_of_outputs(dtypes) if parts else None)
        _exchange(model, built)
    if compiled is not before:
        model._compiled = compiled


def _exchange(model: ModelInterface, graph: BuiltGraph) -> None:
    """Makes a graph that of the model, and tells the layers and models in it, and those that leave it."""
    before, layers, parts = model._built_graph, graph.network.layers, set(graph.layers)
    with JOINING.held():
        for layer in {*before.network.layers}.difference(layers):
            layer._forget_containing_model(model)
        for layer in layers if graph.program is not None else ():
            layer._note_containing_model(model)
        for part in parts.union(before.layers):
            if part._is_model:
                outers = cast("ModelInterface", part)._outers
                (outers.add if part in parts else outers.discard)(model)
        model._built_graph = graph
    model._note_change()


def _with_recorded_call(body: Body, graph: LayerGraph) -> LayerGraph:
    """Returns a graph with the outputs that a `call` has for its inputs."""
    arguments = graph.arguments[0] if graph.arguments else None
    wiring, form, dtypes = wiring_of(body, graph.input_shapes, arguments)
    return replace(graph, wiring=wiring, output_form=form, output_dtypes=dtypes)


def _compiled_with_outputs(compiled: Compiled, graph: LayerGraph) -> Compiled:
    """Returns a compilation with equal arguments for the outputs of a `call`, whose number was not known before."""
    count = len(graph.wiring.outputs)
    names = names_of_ends(graph.output_form, count) if count > 1 else ()
    return compiled_for(graph.output_form, compiled.user_optimizer, compiled.arguments, outputs=names)


def compiled_for(
    form: Structure,
    optimizer: object,
    arguments: dict[str, Any],
    *,
    outputs: Sequence[str],
    by_key: bool = False,
) -> Compiled:
    """Returns the arguments of `compile` for the outputs of a model, in whose nested form they may be.

    Args:
        form: that of the outputs.
        optimizer: the optimizer.
        arguments: the other arguments by name.
        outputs: the names of the outputs, if there are several.
        by_key: whether these names are the keys of a dict.
    """
    names = paths_of(form, outputs) if outputs else ()
    by_output = ("loss", "loss_weights", "metrics", "weighted_metrics")
    flat = [form.flat(arguments[name], spread=True) for name in by_output]
    with form.explained(outputs):
        compiled = Compiled(optimizer, *flat, outputs=outputs, by_key=by_key, loss_names=names)
    compiled.arguments = arguments
    return compiled


def names_of_ends(form: Structure, count: int) -> list[str]:
    """Returns the names of so many outputs of a `call`."""
    return list(form.keys) or [f"output_{number + 1}" for number in range(count)]


def _built(model: ModelInterface, graph: LayerGraph, compiled: Compiled | None) -> BuiltGraph:
    """Returns a graph with the program that computes it, compiled with `compiled` if that is given."""
    settings = Settings(graph.layers)
    with settings.collecting():
        return _built_with(model, graph, compiled, settings)


def _built_with(
    model: ModelInterface, graph: LayerGraph, compiled: Compiled | None, settings: Settings
) -> BuiltGraph:
    network = network_through(graph)
    forms, program, by_shape = graph.input_layers, None, None
    operations: list[Operation] = []
    program_outputs: list[tuple[int, int]] = []
    output_shapes: list[Shape] = []
    known = known_inputs(graph)
    if forms and (graph.layers or not model._is_sequential):  # whose layers may be yet to come
        output_shapes, dtypes = graph.shapes.outputs, [each.dtype for each in forms]
        shapes = shapes_of_leaves(graph, network, known)
        found = lowered(network, known, model._trainable, dtypes=dtypes)
        operations, program_outputs = found
        uses = first_uses(shapes, network.leaves)
        arrays = [array for layer, sample in uses.items() for array in layer._ensure_arrays_for(sample)]
        with on_device(model._device):
            program = build([math.prod(each) for each in known], operations, arrays, found.outputs)
        if any(None in shape for shape in graph.input_shapes):
            sample = known[0] if len(known) == 1 else tuple(known)
            lowering = _lowering_of(model, graph, network)
            by_shape = ProgramsByShape(
                program,
                sample,
                lowering,
                lambda shape: shapes_along(inputs_in(shape), graph.layers, graph.wiring).outputs,
            )
    sample_shape = forms[0].sample_shape if forms else None
    if len(forms) > 1:
        sample_shape = None if by_shape is not None else (sum(map(math.prod, graph.input_shapes)),)
    plain = graph.output_form.kind is None and output_shapes and len(forms) == 1
    readings = readings_of_inputs(network, [each.dtype for each in forms])
    strings = any(each.dtype == "string" for each in forms) or _reads_strings(network.leaves)
    unknown = model._body is not None and not forms
    draws = any((each["kind"] == "random" and "seed" in each) or each.get("training") for each in operations)
    rows_at_once = BATCH_SIZE
    if program is not None and not (draws or program.joins_samples or computes_whole_batches(network)):
        rows_at_once = max(BATCH_SIZE, most_rows_at_once(program))
    built = BuiltGraph(
        **graph.definition,
        network=network,
        program=program,
        by_shape=by_shape,
        operations=operations,
        program_outputs=program_outputs,
        arrays=_arrays_of(network),
        settings=settings,
        sample_shape=sample_shape,
        output_shapes=output_shapes,
        output_shape=output_shapes[0] if plain else None,
        tokens=tokens_of_inputs(network, len(forms)),
        readings=readings,
        takes_strings=strings,
        reads_values=strings or unknown or any(each is not Reading.NUMBERS for each in readings),
        penalised=[layer for layer in network.layers if layer.activity_regularizer is not None],
        rows_at_once=rows_at_once,
        draws=draws,
        predicts_whole_batches=program is not None and program.joins_samples,
    )
    if compiled is not None:
        _compile_program(model, built, compiled, known)
    return built


def _lowering_of(model: ModelInterface, graph: LayerGraph, network: Network) -> LowerForShape:
    """Returns a function that lowers the layers for samples of any length, with what is trainable now."""
    learns, trainable = model._trainable, {layer: layer.trainable for layer in network.layers if layer._specs}
    dtypes = [each.dtype for each in graph.input_layers]

    def lowering(shape: Shape) -> Lowered:
        found = network_of(graph, inner_graph, inputs_in(shape))
        return lowered(found, inputs_in(shape), learns, trainable=trainable, dtypes=dtypes)

    return lowering


def program_for(model: ModelInterface, shape: Shape, compiled: Compiled | None = None) -> Program:
    """Returns the program for samples of a shape; the first call builds the model for it.

    Args:
        model: the model.
        shape: of one sample.
        compiled: what the program must be compiled with; None for predictions.
    """
    if model._built_graph.program is None:
        model._build_for_inputs([_shape_to_build_for(model, shape)])
    program = model._built_graph.program_for(shape, compiled)
    if program is None:
        raise without_layers(model.name)
    return program


def output_shapes_for(model: ModelInterface, graph: BuiltGraph, sample: Shape) -> list[Shape]:
    """Returns the shape of each output for samples of a shape.

    Args:
        model: the model.
        graph: that which read the samples, and may not be built yet.
        sample: the shape.
    """
    return (
        graph.output_shapes_for(sample)
        if graph.output_shapes
        else model._output_shapes_for(inputs_in(sample))
    )


def _compile_program(
    model: ModelInterface, graph: BuiltGraph, compiled: Compiled, known: Sequence[Shape]
) -> None:
    """Compiles the program of a graph, if there is one.

    Args:
        model: the model.
        graph: what was built for the model.
        compiled: what the program is compiled with.
        known: the shapes of the inputs that it is made for.
    """
    if graph.program is None:
        return
    network = graph.network
    shapes = shapes_of_leaves(graph, network, known)
    has_hosts = any("host" in operation for operation in graph.operations)
    reads_mask = compiled.has_loss or len(compiled.names) > 1
    masked = masked_losses(shapes, network) if reads_mask else [False] * len(shapes.outputs)
    weights = tracked(shapes, network.leaves, model._trainable, graph.owners)
    now = shapes_along(known, network.leaves, network.wiring).outputs
    compiled.apply(graph.program, weights, graph.output_shapes, now, whole_batches=has_hosts, masked=masked)
    compiled.trainable = trainable_in(model, network)


def move_to(model: ModelInterface, device: str) -> None:
    """Drops the program, and lets the next one be built on a device. The layers keep their weights.

    Raises:
        ValueError: if there is no such device, or another model on another device has the weights of a layer.
    """
    with on_device(device):
        name = get_device()
    graph = model._built_graph
    if graph.program is None or graph.program.device == name:
        model._device = name
        return
    for layer in graph.network.layers:
        if any(other() not in {None, model} for other in layer._containing_models):
            msg = (
                f"layer {layer.name!r} is also in another model, which stays on {graph.program.device!r}: build both "
                f"models on {name!r}, after engine.config.set_device({name!r})"
            )
            raise ValueError(msg)
    for layer in graph.network.layers:
        layer._renew_arrays()
        layer._forget_containing_model(model)
    model._built_graph, model._device = replace(graph, program=None, by_shape=None), name


def agreement_of(model: ModelInterface, graph: BuiltGraph) -> Agreement:
    """Returns whether the program of a graph computes what its layers would compute now, after settings of theirs have changed."""

    def compare() -> Agreement:
        try:
            network = network_through(graph)
            now = _lowered_now(model, graph, network)
        except Exception:  # code of the user raises it again when it is called
            return Agreement(False, False)
        if not _has_same_layers(graph, network, now):
            return Agreement(False, False)
        learns = now.operations == graph.operations
        return Agreement(learns or _as_frozen(now.operations) == _as_frozen(graph.operations), learns)

    return graph.settings.agreement(compare)


def follow_settings(model: ModelInterface) -> None:
    """Builds the program again if settings of layers have changed before it runs for the first time.

    Later it follows them when it is compiled again, as in Keras, which compiles a model where it first runs.
    """
    graph = model._built_graph
    if graph.program is None or graph.settings.has_run:
        return
    with model._lock.held():
        graph, compiled = model._built_graph, model._compiled
        decided = compiled is not None and compiled.trains  # what is trained must stay the same
        if not (decided or agreement_of(model, graph).in_predictions):
            set_graph(model, graph.changed(), compiled)
        model._built_graph.settings.has_run = True


def _as_frozen(operations: Sequence[Operation]) -> list[Any]:
    return [{**each, "trainable": False} for each in operations]


def _lowered_now(model: ModelInterface, graph: BuiltGraph, network: Network) -> Lowered:
    """Returns what the core would compute for the layers of a graph, in its `network`, now."""
    dtypes = [each.dtype for each in graph.input_layers]
    return lowered(network, known_inputs(graph), model._trainable, dtypes=dtypes)


def _has_same_layers(graph: BuiltGraph, network: Network, now: Lowered) -> bool:
    """Whether `network`, from which `now` was lowered, has the layers, weights and outputs that the program was built from.

    Layers and weights may have been replaced by others of equal shapes, whose operations are equal.
    """
    return (
        network.layers == graph.network.layers
        and now.outputs == graph.program_outputs
        and _arrays_of(network) == graph.arrays
    )


def _arrays_of(network: Network) -> list[WeightArray]:
    return [array for layer in network.layers for array in layer._arrays]


def apply_compiled(model: ModelInterface, compiled: Compiled) -> None:
    """Compiles the program, if there is one, with `compiled`."""
    graph = model._built_graph
    if graph.program is not None:
        known, network = known_inputs(graph), network_through(graph)
        now = _lowered_now(model, graph, network)
        if now.operations == graph.operations and _has_same_layers(graph, network, now):
            _compile_program(model, replace(graph, network=network), compiled, known)
            return
    # Settings of layers have changed, or there is no program yet.
    set_graph(model, graph.changed(), compiled)


def renew(model: ModelInterface) -> None:
    """Builds the programs of this model and of those within again, since settings of layers have changed."""
    for part in model._built_graph.layers:
        if part._is_model:
            renew(cast("ModelInterface", part))
    set_graph(model, model._built_graph.changed(), model._compiled)


def enclosing_models(model: ModelInterface) -> list[ModelInterface]:
    """The models with weights that this one is a part of, at any depth, each before those around it."""
    with JOINING.held():
        outers = list(model._outers)
    found = [around for outer in outers if outer.built for around in (outer, *enclosing_models(outer))]
    return list(dict.fromkeys(reversed(found)))[::-1]


def changing(model: ModelInterface, around: Sequence[ModelInterface]) -> AbstractContextManager[None]:
    """Holds the locks of this model and of those `around` it within the block, where the layers change."""
    return all_held(each._lock for each in (*reversed(around), model))


def replace_layers(
    model: ModelInterface,
    around: Sequence[ModelInterface],
    inputs: Sequence[InputLayer],
    layers: Sequence[Part],
) -> None:
    """Gives a Sequential other layers, and builds the models around it again; if it raises, nothing has changed."""
    for each in (*around, model):
        each._require_idle("given other layers")
    if around and not layers:
        msg = f"model {model.name!r} is a part of another one, which needs a layer of it: add() one before pop()"
        raise ValueError(msg)
    graph = model._built_graph.changed(input_layers=inputs, layers=layers, wiring=chain_of(len(layers)))
    for outer in around:
        _require_fitting(outer, network_through(outer._built_graph, {model: graph}))
    set_graph(model, graph, model._compiled)
    for outer in around:
        set_graph(outer, outer._built_graph.changed(), outer._compiled)


def network_through(graph: LayerGraph, changed: Mapping[Any, LayerGraph] = MappingProxyType({})) -> Network:
    """Returns the network of a graph, in which models that are keys of `changed` have the graphs that stand there."""
    return network_of(graph, lambda part: changed.get(part) or inner_graph(part), known_inputs(graph))


def shapes_of_leaves(graph: LayerGraph, network: Network, known: Sequence[Shape] = ()) -> Shapes:
    """The shapes throughout a network, with None for unknown lengths; nodes know all lengths.

    Args:
        graph: the graph that the network is made of.
        network: the leaves.
        known: the shapes of the inputs without None.
    """
    inputs: Sequence[Shape] = graph.input_shapes
    if any(isinstance(leaf, NodeLeaf) for leaf in network.leaves):
        inputs = known or known_inputs(graph)
    return shapes_along(inputs, network.leaves, network.wiring)


def _require_fitting(model: ModelInterface, network: Network) -> None:
    """Raises ValueError if the model can't have `network` in place of its own."""
    shapes = shapes_of_leaves(model._built_graph, network)
    first_uses(shapes, network.leaves)
    for leaf, read in zip(network.leaves, shapes.read, strict=True):
        if isinstance(leaf, Layer):
            leaf._fitting_weights_for(read[0] if read else None)
    if model._compiled is not None:
        model._compiled.require_readable(shapes.outputs)
        masked_losses(shapes, network)


def trainable_in(model: ModelInterface, network: Network) -> tuple[bool, ...]:
    """Returns what the attribute `trainable` says now, of the model, of the layers of its network and of their weights."""
    of_weights = (spec.trainable for layer in network.layers for spec in layer._specs)
    return (model._trainable, *(layer.trainable for layer in network.layers), *of_weights)


def _shape_to_build_for(model: ModelInterface, sample: Shape) -> Shape:
    """The shape to build the model for if the first samples have shape `sample`. Lengths of texts are left open."""
    network = network_through(model._built_graph)
    if not network.leaves or not isinstance(network.leaves[0], Embedding):
        return sample
    free = tuple(None if size > 1 else size for size in sample)
    return free if suits(model, [free]) else sample


def suits(model: ModelInterface, samples: Sequence[Shape]) -> bool:
    """Whether the layers, with the weights that they have, take samples of these shapes, one for each input."""
    network = network_through(model._built_graph)
    try:
        shapes = shapes_along(samples, network.leaves, network.wiring)
        for leaf, (shape, *_) in zip(network.leaves, shapes.read, strict=True):
            if isinstance(leaf, Layer):
                leaf._fitting_weights_for(shape)
    except ValueError:
        return False
    return True


def _reads_strings(leaves: Sequence[Leaf]) -> bool:
    """Whether a chain of layers without an input layer begins with one that reads strings alone."""
    return bool(leaves) and isinstance(leaves[0], ValueLayer) and leaves[0]._reads == "strings"
