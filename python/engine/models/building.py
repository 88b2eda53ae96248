"""What builds the program of a model when its layers, its loss or its device change.

`set_parts` gives a model its layers, and with them the program that computes these; `program_for` returns it for samples of a shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

from engine._base.checks import Shape
from engine._base.locks import JOINING
from engine._core_interface.cpp import (
    Operation,
    Program,
    build,
    get_device,
    on_device,
)
from engine._data.exact_integers import Reading
from engine._data.several_arrays import inputs_in
from engine._tracing.symbolic import outside_of_traces
from engine._training.compile_arguments import Compiled
from engine.layers import Embedding, InputLayer, Layer
from engine.layers.layer import Part, paths_within, settings
from engine.layers.nodes import NodeLeaf
from engine.layers.values import ValueLayer
from engine.models.lock import all_held
from engine.models.network import Inside, Network, inside_of, network_of
from engine.models.programs_by_shape import Lowering, ProgramsByShape, known_inputs
from engine.models.recorded import dtypes_of_outputs, wiring_of
from engine.models.stack import (
    Lowered,
    first_uses,
    lowered,
    masked_losses,
    operations_through,
    readings_of_inputs,
    tokens_of_inputs,
    tracked,
)
from engine.models.wiring import Shapes, Wiring, chain_of, shapes_along

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


def set_parts(
    model: ModelInterface,
    starts: Sequence[InputLayer],
    stack: Sequence[Part],
    compiled: Compiled | None,
    wiring: Wiring | None = None,
) -> None:
    """Makes `stack` the layers of the model and builds its program; weights that exist keep their values.

    If it raises, nothing has changed.

    Args:
        model: the model.
        starts: the input layers; empty if the input shape isn't known yet, so that there is no program.
        stack: the layers and models.
        compiled: what to compile the program with; None if the model isn't compiled.
        wiring: what each of `stack` reads; default the one before.
    """
    wiring = chain_of(len(stack)) if wiring is None else wiring
    # A Sequential gives paths to the layers that it builds.
    new = [part for part in stack if starts and not part._has_weights and model._is_sequential]
    with paths_within(model.path, new):
        if model._body is not None and starts:
            given = model._arguments[0] if model._arguments else None
            samples = [start.sample_shape for start in starts]
            wiring, form, model._output_dtypes = wiring_of(model._body, samples, given)
            model._structures = model._structures[0], form
            several = compiled is not None and len(wiring.outputs) > 1 and not compiled.output_names
            if compiled is not None and (several or model._compiles_again):
                model._compiles_again = False
                compiled = model._compiled = _compiled_with_names(model, compiled, wiring)
        if starts and (stack or len(starts) > 1):
            shapes = shapes_along([start.sample_shape for start in starts], stack, wiring)
            for part, read in zip(stack, shapes.read, strict=True):
                if part._is_model:
                    part._build_for_inputs(read)
        inside: Inside = stack, wiring, model._modes, model._arguments
        network = network_of(inside, inside_of, known_inputs(starts, stack, wiring))
        with outside_of_traces():
            _build_program(model, list(starts), [*stack], wiring, network, compiled)
        if starts and model._is_sequential:
            dtypes: Sequence[str] = [start.dtype for start in starts]
            for part in stack:
                dtypes = part._output_dtypes_for(dtypes)
            model._output_dtypes = dtypes_of_outputs(dtypes) if stack else None


def _compiled_with_names(model: ModelInterface, compiled: Compiled, wiring: Wiring) -> Compiled:
    """Returns a compilation with equal arguments for the outputs of a `call`, whose number was not known before."""
    given = model._compile_arguments
    count = len(wiring.outputs)
    names = model._names_of_ends(count) if count > 1 else ()
    return model._compiled_for(
        compiled.given_optimizer,
        given["loss"],
        given["loss_weights"],
        given["metrics"],
        given["weighted_metrics"],
        outputs=names,
    )


def _build_program(  # noqa: PLR0917 # those of `set_parts`, and the network
    model: ModelInterface,
    starts: list[InputLayer],
    stack: list[Part],
    wiring: Wiring,
    network: Network,
    compiled: Compiled | None,
) -> None:
    """Builds the program of a network, and makes it and its layers those of the model.

    Args:
        model: the model.
        starts: as for `set_parts`.
        stack: as for `set_parts`.
        wiring: as for `set_parts`.
        network: the layers without the models around them.
        compiled: as for `set_parts`.
    """
    settings.change()
    program, by_shape = None, None
    operations: list[Operation] = []
    output_shapes: list[Shape] = []
    leaves = network.leaves
    if starts and (stack or not model._is_sequential):  # whose layers may be yet to come
        inputs = [start.sample_shape for start in starts]
        output_shapes = shapes_along(inputs, stack, wiring).outputs
        known, dtypes = known_inputs(starts, stack, wiring), [start.dtype for start in starts]
        shapes = shapes_of_leaves(model, network, starts, known)
        found = lowered(network, known, model._trainable, dtypes=dtypes)
        operations = found.operations
        arrays = [
            array for leaf, sample in first_uses(shapes, leaves).items() for array in leaf._begun(sample)
        ]
        with on_device(model._device):
            program = build([math.prod(each) for each in known], operations, arrays, found.outputs)
        if any(None in shape for shape in inputs):
            sample = known[0] if len(known) == 1 else tuple(known)
            lowering = _lowering_of(model, stack, wiring, network, dtypes)
            by_shape = ProgramsByShape(
                program,
                sample,
                lowering,
                lambda shape: shapes_along(inputs_in(shape), stack, wiring).outputs,
            )
        if compiled is not None:
            _compile_program(model, compiled, program, operations, network, shapes, output_shapes, known)
    with JOINING.held():
        for leaf in {*model._network.leaves}.difference(leaves):
            leaf._leave(model)
        for leaf in leaves if program is not None else ():
            leaf._join(model)
        parts = set(stack)
        for part in parts.union(model._layers):
            if part._is_model:
                outers = cast("ModelInterface", part)._outers
                (outers.add if part in parts else outers.discard)(model)
        model._starts, model._layers, model._wiring, model._operations = starts, stack, wiring, operations
        model._by_shape, model._output_shapes = by_shape, output_shapes
        _note_form(model, network)
        model._predicts_whole_batches = program is not None and program.joins_samples
        model._program = (
            program  # last: a thread without the lock that sees the program sees all the rest too
        )


def _note_form(model: ModelInterface, network: Network) -> None:
    """Stores what follows from the layers of the model and their order."""
    model._network, starts, leaves = network, model._starts, network.leaves
    sizes = [start.sample_shape for start in starts]
    model._sample_shape = next(iter(sizes), None)
    if len(sizes) > 1:
        model._sample_shape = None if model._by_shape is not None else (sum(map(math.prod, sizes)),)
    plain = model._structures[1].kind is None and model._output_shapes and len(sizes) == 1
    model._output_shape = model._output_shapes[0] if plain else None
    model._mixed = any(modes_through(model._layers, model._modes, None))
    model._draws = any(
        (each["kind"] == "random" and "seed" in each) or each.get("training") for each in model._operations
    )
    model._penalised = [leaf for leaf in leaves if leaf.activity_regularizer is not None]
    _note_readings(model, starts, network)


def _note_readings(model: ModelInterface, starts: Sequence[InputLayer], network: Network) -> None:
    """Stores what the inputs hold beside numbers: indices, integers or strings."""
    model._tokens = tokens_of_inputs(network, len(starts))
    model._readings = readings_of_inputs(network, [start.dtype for start in starts])
    strings = any(start.dtype == "string" for start in starts)
    model._takes_strings = strings or _reads_strings(network.leaves)
    unknown = model._body is not None and not starts
    integers = any(each is not Reading.NUMBERS for each in model._readings)
    model._reads_values = model._takes_strings or integers or unknown


def _lowering_of(
    model: ModelInterface, stack: Sequence[Part], wiring: Wiring, network: Network, dtypes: Sequence[str]
) -> Lowering:
    """Returns a function that lowers the layers for samples of any length, with what is trainable now."""
    learns, trainable = model._trainable, {leaf: leaf.trainable for leaf in network.leaves if leaf._specs}
    inside: Inside = stack, wiring, model._modes, model._arguments

    def lowering(shape: Shape) -> Lowered:
        found = network_of(inside, inside_of, inputs_in(shape))
        return lowered(found, inputs_in(shape), learns, trainable=trainable, dtypes=dtypes)

    return lowering


def program_for(model: ModelInterface, shape: Shape, compiled: Compiled | None = None) -> Program:
    """Returns the program for samples of a shape; the first call builds the model for it.

    Args:
        model: the model.
        shape: of one sample.
        compiled: what the program must be compiled with; None for predictions.
    """
    if model._program is None:
        model._build_for_inputs([_shape_to_build_for(model, shape)])
    if model._program is None:
        raise model._without_layers()
    if model._by_shape is not None:
        return model._by_shape.program(shape, compiled)
    return model._program


def _compile_program(  # noqa: PLR0917 # what was built
    model: ModelInterface,
    compiled: Compiled,
    program: Program,
    operations: Sequence[Operation],
    network: Network,
    shapes: Shapes,
    outputs: Sequence[Shape],
    known: Sequence[Shape],
) -> None:
    """Compiles a program.

    Args:
        model: the model.
        compiled: what it is compiled with.
        program: the program.
        operations: what it computes.
        network: the layers without the models around them.
        shapes: of one sample in the network.
        outputs: the shapes of the outputs, with None for lengths that differ from batch to batch.
        known: the shapes of the inputs that the program is made for.
    """
    has_hosts = any("host" in operation for operation in operations)
    reads_mask = compiled.has_loss or len(compiled.names) > 1
    masked = masked_losses(shapes, network) if reads_mask else [False] * len(shapes.outputs)
    weights = tracked(shapes, network.leaves, model._trainable, model._owners)
    now = shapes_along(known, network.leaves, network.wiring).outputs
    compiled.apply(program, weights, outputs, now, whole_batches=has_hosts, masked=masked)
    compiled.trainable = trainable_in(model, network)


def move_to(model: ModelInterface, device: str) -> None:
    """Makes the layers keep their weights themselves until the model is built again, on a device.

    Raises:
        ValueError: if there is no such device, or another model on another device has the weights of a layer.
    """
    with on_device(device):
        name = get_device()
    if model._program is None or model._program.device == name:
        model._device = name
        return
    for layer in model._network.leaves:
        if any(other() not in {None, model} for other in layer._models):
            msg = (
                f"layer {layer.name!r} is also in another model, which stays on {model._program.device!r}: build both "
                f"models on {name!r}, after engine.config.set_device({name!r})"
            )
            raise ValueError(msg)
    for layer in dict.fromkeys(model._network.leaves):
        layer._renew_arrays()
        layer._leave(model)
    model._program, model._device = None, name


def apply_compiled(model: ModelInterface, compiled: Compiled) -> None:
    """Compiles the program, if there is one, with `compiled`."""
    program, starts, network = model._program, model._starts, _network_with(model, model, model._layers)
    if program and starts:
        known, dtypes = (
            known_inputs(starts, model._layers, model._wiring),
            [start.dtype for start in starts],
        )
        shapes = shapes_of_leaves(model, network, starts, known)
        now = operations_through(network, known, model._trainable, dtypes=dtypes)
        if model._operations == now:
            outputs = model._output_shapes_for([start.sample_shape for start in starts])
            _compile_program(model, compiled, program, model._operations, network, shapes, outputs, known)
            return
    # `trainable` was assigned, or there is no program yet.
    set_parts(model, starts, model._layers, compiled, model._wiring)


def renew(model: ModelInterface) -> None:
    """Builds the programs of this model and of those within again, since settings of layers have changed."""
    for part in model._layers:
        if part._is_model:
            renew(cast("ModelInterface", part))
    set_parts(model, model._starts, model._layers, model._compiled, model._wiring)


def enclosing_models(model: ModelInterface) -> list[ModelInterface]:
    """The models with weights that this one is a part of, at any depth, each before those around it."""
    with JOINING.held():
        outers = list(model._outers)
    found = [around for outer in outers if outer.built for around in (outer, *enclosing_models(outer))]
    return list(dict.fromkeys(reversed(found)))[::-1]


def changing(model: ModelInterface, around: Sequence[ModelInterface]) -> AbstractContextManager[None]:
    """Holds the locks of this model and of those `around` it within the block, where the layers change."""
    return all_held(each._lock for each in (*reversed(around), model))


def replace_parts(
    model: ModelInterface,
    around: Sequence[ModelInterface],
    starts: Sequence[InputLayer],
    stack: Sequence[Part],
) -> None:
    """Makes `stack` the layers of the model, and builds those around it again; if it raises, nothing has changed."""
    for each in (*around, model):
        each._require_idle("given other layers")
    for outer in around:
        _require_fitting(outer, _network_with(outer, model, stack))
    set_parts(model, starts, stack, model._compiled)
    for outer in around:
        set_parts(outer, outer._starts, outer._layers, outer._compiled, outer._wiring)


def _network_with(model: ModelInterface, changed: ModelInterface, stack: Sequence[Part]) -> Network:
    """The network that this model has when `changed`, a part of it at some depth or itself, gets the layers `stack`."""

    def within(part: Any) -> Inside | None:
        if part is changed and stack is not changed._layers:
            if not stack:
                msg = f"model {part.name!r} is a part of another one, which needs a layer of it: add() one before pop()"
                raise ValueError(msg)
            return stack, chain_of(len(stack)), (), ()
        return inside_of(part)

    inside = cast(Inside, within(model))
    return network_of(inside, within, known_inputs(model._starts, *inside[:2]))


def shapes_of_leaves(
    model: ModelInterface, network: Network, starts: Sequence[InputLayer] = (), known: Sequence[Shape] = ()
) -> Shapes:
    """The shapes throughout a network, with None for unknown lengths; nodes know all lengths.

    Args:
        model: the model.
        network: the leaves.
        starts: the input layers, default those of this model.
        known: the shapes of the inputs without None.
    """
    starts = starts or model._starts
    inputs = [start.sample_shape for start in starts]
    if any(isinstance(leaf, NodeLeaf) for leaf in network.leaves):
        inputs = list(known or known_inputs(starts, model._layers, model._wiring))
    return shapes_along(inputs, network.leaves, network.wiring)


def _require_fitting(model: ModelInterface, network: Network) -> None:
    """Raises ValueError if the model can't have `network` in place of its own."""
    shapes = shapes_of_leaves(model, network)
    first_uses(shapes, network.leaves)
    for leaf, read in zip(network.leaves, shapes.read, strict=True):
        leaf._fitting_weights(read[0] if read else None)
    if model._compiled is not None:
        model._compiled.require_readable(shapes.outputs)
        masked_losses(shapes, network)


def trainable_in(model: ModelInterface, network: Network) -> tuple[bool, ...]:
    """Returns what the attribute `trainable` says now, of the model, of the layers of its network and of their weights."""
    of_weights = (spec.trainable for leaf in network.leaves for spec in leaf._specs)
    return (model._trainable, *(leaf.trainable for leaf in network.leaves), *of_weights)


def _shape_to_build_for(model: ModelInterface, sample: Shape) -> Shape:
    """The shape to build the model for if the first samples have shape `sample`. Lengths of texts are left open."""
    network = _network_with(model, model, model._layers)
    if not network.leaves or not isinstance(network.leaves[0], Embedding):
        return sample
    free = tuple(None if size > 1 else size for size in sample)
    return free if suits(model, [free]) else sample


def suits(model: ModelInterface, samples: Sequence[Shape]) -> bool:
    """Whether the layers, with the weights that they have, take samples of these shapes, one for each input."""
    network = _network_with(model, model, model._layers)
    try:
        shapes = shapes_along(samples, network.leaves, network.wiring)
        for leaf, (shape, *_) in zip(network.leaves, shapes.read, strict=True):
            leaf._fitting_weights(shape)
    except ValueError:
        return False
    return True


def _reads_strings(leaves: Sequence[Layer]) -> bool:
    """Whether a chain of layers without an input layer begins with one that reads strings alone."""
    return bool(leaves) and isinstance(leaves[0], ValueLayer) and leaves[0]._reads == "strings"


def modes_through(stack: Sequence[Part], modes: Sequence[bool | None], training: bool | None) -> list[bool]:
    """The argument `training` of each leaf of a model with these parts, each called with one of `modes`."""
    found: list[bool] = []
    for part, own in zip(stack, modes or repeat(None), strict=False):
        found += part._modes_of_leaves(own if training is None else training)
    return found
