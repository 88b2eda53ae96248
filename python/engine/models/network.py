"""The network of a model: its layers without the models around them, and the nodes that Python code of layers recorded.

Here models become a `Network`, whose leaves `stack` lowers to operations of the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine._base.checks import Shape
from engine._tracing.code import constant
from engine._tracing.extents import Extent, Extents, FullShape, full_shape, sample_shape
from engine._tracing.recordings import Recording
from engine._tracing.trace import Input, Node, OfWeight, Origin
from engine.layers import Layer
from engine.layers.leaf import Leaf
from engine.layers.masking import mask_sources
from engine.layers.merging import GivenMask
from engine.layers.nodes import (
    MaskLeaf,
    NodeLeaf,
    PenaltyLeaf,
    RowMaskLeaf,
    WeightsLeaf,
)
from engine.layers.part import Part
from engine.layers.symbols import CallArguments
from engine.models.layer_graph import LayerGraph
from engine.models.own_call import Body
from engine.models.wiring import Wiring


class LayerName(NamedTuple):
    """What a leaf of a network belongs to: a layer, or the layer whose `call` recorded it."""

    name: str
    """With the names of the models and layers around it, such as "encoder/dense"."""
    kind: str
    """The name of its class."""


class Network(NamedTuple):
    """The layers of a model, without the models around them, and their connections. Each layer computes one value."""

    leaves: list[Leaf]
    wiring: Wiring
    arguments: Sequence[CallArguments | None] = ()
    """The arguments that each leaf is called with beside its inputs and `training`; empty if there are none."""
    training_of_leaves: Sequence[bool | None] = ()
    """The argument `training` with which Python code calls each leaf, whatever the batch is for; None if it gives none."""
    around: Sequence[tuple[Part, ...]] = ()
    """For each leaf the models and layers that contain it, outermost first; the last one is the layer itself, or the one whose
    `call` recorded the leaf."""
    silent: frozenset[int] = frozenset()
    """The numbers of the leaves that must not add their penalty on outputs, as nodes of the network compute it."""

    @property
    def layers(self) -> list[Layer]:
        """The layers among the leaves, each once."""
        return list(dict.fromkeys(leaf for leaf in self.leaves if isinstance(leaf, Layer)))


def inner_graph(part: Any) -> LayerGraph | None:
    """Returns the layers of a model and their connections; None for a layer."""
    found: LayerGraph | None = part._built_graph if part._is_model else None
    return found


def network_of(
    graph: LayerGraph,
    within: Callable[[Part], LayerGraph | None],
    inputs: Sequence[Shape] = (),
    *,
    whole: Callable[[Part], bool] = lambda _: False,
) -> Network:
    """Returns the layers of a model, with those of the models within it in their places.

    Args:
        graph: that of the model.
        within: returns the graph of a model, and None for a layer.
        inputs: the shape of one sample of each input, without None; empty if it is unknown. Then a layer whose `call` is
            recorded is one leaf.
        whole: whether a layer is one leaf although its `call` is recorded.
    """
    flattening = Flattening(within, bool(inputs), whole)
    shapes: Sequence[Any] = inputs or [None] * _input_count(graph.wiring)
    values = [Value(-1 - number, shape) for number, shape in enumerate(shapes)]
    outputs = flattening.add(graph, values, CallMode())
    numbers = tuple(flattening.plain(value).number for value in outputs)
    if inputs:
        flattening.add_penalties_on_weights()
    computing = set(flattening.leaves)
    leaves = [
        leaf.layer if isinstance(leaf, WeightsLeaf) and leaf.layer not in computing else leaf
        for leaf in flattening.leaves
    ]
    wiring = Wiring(tuple(flattening.reads), numbers)
    return Network(
        leaves,
        wiring,
        flattening.arguments,
        flattening.training_of_leaves,
        flattening.around,
        frozenset(flattening.silent),
    )


def _input_count(wiring: Wiring) -> int:
    numbers = [number for reads in (*wiring.reads, wiring.outputs) for number in reads]
    return max(1, -min(numbers, default=-1))


class Value(NamedTuple):
    """A value of a network."""

    number: int
    """The number of the leaf that computes it, or a negative one for an input."""
    shape: Any
    """The shape of one sample, or a `FullShape`."""
    pick: int | None = None
    """For a weight: its index among the weights of the layer that the leaf stands for. None for any other value."""


class CallMode(NamedTuple):
    """What `training` is in a call and in the calls within, where code may say something else than the batch."""

    training: bool | None = None
    """The argument `training` by which `call` is recorded; None records both branches."""
    training_of_leaves: bool | None = None
    """The `training` of all leaves, whatever the batch is for; None for that of the batch."""
    branch: bool | None = None
    """True for what is called in training alone, False for what is called in predictions alone, None for other calls."""

    def of_call_within(self, training: bool | None, branch: bool | None) -> CallMode:
        """Returns the mode of a call that a recorded `call` makes.

        Args:
            training: the argument of that call; None if it has none, so that it has that of the call around it, as in Keras.
            branch: the branch of the recorded `call` in which it is made, or None.
        """
        inner = self.branch if branch is None else branch
        known = self.training_of_leaves if training is None else training
        if known is not None:
            return CallMode(known, known, inner)
        # What is called in predictions alone is computed in training, too, but nothing reads it there.
        return CallMode(inner, False if inner is False else None, inner)


class _Assigned(NamedTuple):
    """What a weight is after assignments; None is what it was before."""

    in_training: Value | None = None
    in_predictions: Value | None = None


class Flattening:
    """Collects the leaves of a network: of models the parts, and of layers with a recorded `call` the nodes.

    Args:
        within: as for `network_of`.
        knows_shapes: whether the shapes of inputs are known.
        whole: as for `network_of`.
    """

    def __init__(
        self,
        within: Callable[[Part], LayerGraph | None],
        knows_shapes: bool,
        whole: Callable[[Part], bool] = lambda _: False,
    ) -> None:
        self.leaves, self.reads = list[Leaf](), list[tuple[int, ...]]()
        self.arguments, self.training_of_leaves = list[CallArguments | None](), list[bool | None]()
        self.around, self.silent = list[tuple[Part, ...]](), set[int]()
        self._within, self._knows_shapes, self._whole = within, knows_shapes, whole
        self._around = list[Part]()  # the models and layers whose calls are being added, outermost first
        self._samples: dict[Leaf, Any] = {}  # the shape of one sample of the first input of each leaf
        self._weights: dict[Any, int] = {}  # the leaf of each layer whose weights are read by nodes
        self._assigned: dict[OfWeight, _Assigned] = {}

    def add(self, graph: LayerGraph, inputs: Sequence[Value], mode: CallMode) -> list[Value]:
        """Adds the leaves of a model, and returns its outputs.

        Args:
            graph: that of the model.
            inputs: its inputs.
            mode: what `training` is in the call.
        """

        def call(
            part: Part, read: list[Value], own: bool | None, arguments: CallArguments | None
        ) -> list[Value]:
            return self._called(part, read, self._mode_within(mode, own), arguments)

        return graph.run(inputs, call)

    def _mode_within(self, mode: CallMode, own: bool | None) -> CallMode:
        """Returns what `training` is in a call that a model made of symbols makes: what it is for the model, as in Keras.

        Args:
            mode: that of the model.
            own: the argument of the call, which holds where the model is called without one.
        """
        del own
        return mode

    def _called(
        self, part: Part, inputs: Sequence[Value], mode: CallMode, arguments: CallArguments | None
    ) -> list[Value]:
        """Adds the leaves of one call, and returns its outputs.

        Args:
            part: what is called.
            inputs: its inputs.
            mode: what `training` is in the call.
            arguments: the further arguments.
        """
        self._around.append(part)
        try:
            graph = self._within(part)
            if graph is not None:
                return self.add(graph, inputs, mode)
            return self._called_layer(part, inputs, mode, arguments)
        finally:
            self._around.pop()

    def _called_layer(
        self, part: Part, inputs: Sequence[Value], mode: CallMode, arguments: CallArguments | None
    ) -> list[Value]:
        """Adds the leaves of a call of a layer or an operation; the arguments are those of `_called`."""
        samples = [value.shape for value in inputs]
        if self._knows_shapes:
            if isinstance(part, GivenMask):
                return [self._masked_by(*inputs)]
            merged = self._merged(part, inputs, mode.branch)
            if merged is not None:
                return merged
        if self._knows_shapes and not self._whole(part):
            masked = part._takes_mask and self._is_masked(inputs[0]) if inputs else False
            found = self._recording_of(part, samples, mode.training, arguments, masked)
            if found is not None:
                outputs = self._add_recording(found, inputs, mode)
                return self._after_recorded(part, inputs, arguments, outputs, mode.branch)
            inputs = [self.plain(value) for value in inputs]
        shapes = part._output_shapes_for(samples) if self._knows_shapes else [None]
        found_outputs = [
            self._leaf(leaf, inputs, shapes[0], arguments, mode.training_of_leaves)
            for leaf in part._leaves[:1]
        ]
        if self._knows_shapes and isinstance(part, Layer):
            for value in found_outputs:
                self._add_penalty(part, value, mode.branch)
        return found_outputs

    def _recording_of(
        self, part: Part, samples: Sequence[Any], training: bool | None, arguments: Any, masked: bool
    ) -> Recording | None:
        """Returns what the Python code of a part records for a call; None if the part has none, so that it is a leaf."""
        found: Recording | None = part._recording_for(samples, training, arguments, masked)
        return found

    def _add_penalty(self, layer: Layer, value: Value, branch: bool | None) -> bool:
        """Adds the penalty on an output of a layer, if it is recorded, and returns whether it is."""
        if layer.activity_regularizer is None or isinstance(value.shape, FullShape):
            return False
        # What a branch adds depends on whether it is taken, so that the layer's own operation can't add it.
        found = layer._recorded_penalty_on(value.shape, always=branch is not None)
        if found is None:
            return False
        self.silent.add(value.number)
        (penalty,) = self._add_recording(found, [value], CallMode(branch=branch))
        self._add_loss(penalty, (), branch)
        return True

    def add_penalties_on_weights(self) -> None:
        """Adds the penalties on weights that are recorded."""
        for leaf in list(dict.fromkeys(self.leaves)):
            if not isinstance(leaf, Layer) or not leaf.trainable:
                continue
            sample = self._samples[leaf]
            for number, weight in enumerate(
                leaf._specs if sample is None else leaf._weight_specs_for(sample)
            ):
                found = weight._recorded_penalty if weight.trainable and weight.regularizer else None
                if found is not None:
                    value = self._weight(OfWeight(leaf, number), weight.shape)
                    (penalty,) = self._add_recording(found, [value], CallMode())
                    self._add_loss(penalty, (), None)

    def _is_masked(self, value: Value) -> bool:
        return value.number >= 0 and mask_sources(self.leaves, self.reads)[1][value.number] is not None

    def _masked_by(self, value: Value, mask: Value) -> Value:
        """Returns a value with a mask, an array that is 0 for each row to ignore."""
        rows = (*mask.shape, 1)
        maker = self._leaf(RowMaskLeaf(rows), [self.plain(mask)], rows)
        return self._leaf(MaskLeaf(value.shape, rows), [self.plain(value), maker], value.shape)

    def _merged(self, part: Part, inputs: Sequence[Value], branch: bool | None) -> list[Value] | None:
        """Returns the output of a layer that computes by the masks of its inputs, such as `Concatenate`; None for any other."""
        if len(inputs) < 2 or not isinstance(part, Layer):  # noqa: PLR2004 # nothing to merge
            return None
        after = mask_sources(self.leaves, self.reads)[1]
        sources = [None if value.number < 0 else after[value.number] for value in inputs]
        found = part._recording_by_masks([value.shape for value in inputs], sources)
        if found is None:
            return None
        output, *mask = self._add_recording(found, inputs, CallMode(branch=branch))
        self._add_penalty(part, output, branch)
        return [self._masked_by(output, mask[0]) if mask else output]

    def _after_recorded(
        self,
        part: Part,
        inputs: Sequence[Value],
        arguments: CallArguments | None,
        outputs: list[Value],
        branch: bool | None,
    ) -> list[Value]:
        """Returns the outputs of a recorded `call`, to which the layer's mask and its penalty on outputs are added."""
        if not isinstance(part, Layer):
            return outputs
        layer: Layer = part
        if layer.activity_regularizer is not None:
            outputs = [
                value
                if self._add_penalty(layer, value, branch)
                else self._leaf(PenaltyLeaf(layer, value.shape), [self.plain(value)], value.shape)
                for value in outputs
            ]
        after = mask_sources(self.leaves, self.reads)[1]
        sources = [None if value.number < 0 else after[value.number] for value in inputs]
        if layer._has_own_mask:
            found = layer._recorded_calls.mask_recording(
                [value.shape for value in inputs], arguments, [source is not None for source in sources]
            )
            masks = [] if found is None else self._add_recording(found, inputs, CallMode(branch=branch))
            return [self._masked_by(value, *masks) for value in outputs] if masks else outputs
        if not any(source is not None for source in sources):
            return outputs
        if not part.supports_masking:
            part._warn_of_lost_mask()
            return outputs
        source = part._mask_source_of(sources)
        if source is None:
            return outputs
        masked = inputs[sources.index(source)]
        return [
            self._leaf(MaskLeaf(value.shape, masked.shape), [self.plain(value), masked], value.shape)
            for value in outputs
        ]

    def _leaf(
        self,
        leaf: Leaf,
        inputs: Sequence[Value],
        shape: Any,
        arguments: CallArguments | None = None,
        training: bool | None = None,
    ) -> Value:
        self.training_of_leaves.append(training)
        self.around.append(tuple(self._around))
        self._samples.setdefault(leaf, inputs[0].shape if inputs else None)
        self.leaves.append(leaf)
        self.reads.append(tuple(value.number for value in inputs))
        self.arguments.append(arguments)
        return Value(len(self.leaves) - 1, shape)

    def _add_recording(self, found: Recording, inputs: Sequence[Value], mode: CallMode) -> list[Value]:
        """Adds what a function has recorded, and returns its outputs."""
        branch = mode.branch
        computed: list[list[Value]] = []

        def value_of(origin: Origin) -> Value:
            if isinstance(origin, Input):
                return inputs[origin.number]
            if isinstance(origin, OfWeight):
                return self._present_weight(origin)
            return computed[origin.entry][origin.output]

        for number, entry in enumerate(found.trace.entries):
            own = found.branch_of(number)
            if None not in (own, branch) and own != branch:
                computed.append([])  # never computed, nor read
                continue
            if isinstance(entry, Node) and entry.kind == "assign_after_batch":
                (weight, _), (new, shape) = entry.inputs
                value = self._viewed(value_of(new), FullShape(shape))
                self._assign(weight, value, entry, branch if own is None else own)
                computed.append([])
                continue
            if branch is not None and isinstance(entry, Node) and entry.kind == "choose":
                computed.append([value_of(entry.inputs[0 if branch else 1][0])])
                continue
            read = [value_of(origin) for origin, _ in entry.inputs]
            if isinstance(entry, Node):
                leaf = NodeLeaf(entry, [value.pick for value in read])
                computed.append([self._leaf(leaf, read, sample_shape(entry.shape))])
                continue
            views = [
                self._viewed(value, sample_shape(shape))
                for value, (_, shape) in zip(read, entry.inputs, strict=True)
            ]
            computed.append(
                self._called(entry.part, views, mode.of_call_within(entry.training, own), entry.arguments)
            )
        if found.loss is not None:
            self._add_loss(value_of(found.loss.origin), full_shape(FullShape(found.loss.extents)), branch)
        return [
            self._viewed(value_of(output.origin), sample_shape(output.extents)) for output in found.outputs
        ]

    def _add_loss(self, value: Value, shape: Extents, branch: bool | None) -> None:
        """Adds a number to the loss of the batch, in a branch only where that is taken."""
        if branch is not None:
            zero = Node("map", (), (), constant(0.0).fields)
            nothing = self._leaf(NodeLeaf(zero, ()), [], FullShape())
            pair = [value, nothing] if branch else [nothing, value]
            node = Node("choose", ((Input(0), shape), (Input(1), ())), (), {})
            value, shape = self._leaf(NodeLeaf(node, [each.pick for each in pair]), pair, FullShape()), ()
        node = Node("add_loss", ((Input(0), shape),), (), {})
        self._leaf(NodeLeaf(node, [value.pick]), [value], FullShape())

    def _assign(self, weight: Origin, value: Value, node: Node, branch: bool | None) -> None:
        """Assigns a weight: it has the new value after the batch, and what reads it from now on reads the new value.

        Args:
            weight: the weight.
            value: the new value.
            node: what the recording has for the assignment.
            branch: True for an assignment in training alone, False for one in predictions alone, None for any other.
        """
        if not isinstance(weight, OfWeight):  # weights alone are assigned
            return
        pair = [self._weight(weight), value]
        when = {None: "always", True: "training", False: "predictions"}[branch]
        changed = node._replace(fields={**node.fields, "when": when})
        self._leaf(NodeLeaf(changed, [each.pick for each in pair]), pair, FullShape(node.shape))
        before = self._assigned.get(weight, _Assigned())
        self._assigned[weight] = _Assigned(
            before.in_training if branch is False else value, before.in_predictions if branch else value
        )

    def _present_weight(self, origin: OfWeight) -> Value:
        """Returns a weight as a value; after an assignment, the new value."""
        assigned = self._assigned.get(origin)
        if assigned is None:
            return self._weight(origin)
        yes, no = (self._weight(origin) if each is None else each for each in assigned)
        if yes == no:
            return yes
        shape = full_shape(yes.shape)
        node = Node("choose", ((Input(0), shape), (Input(1), shape)), shape, {})
        return self._leaf(NodeLeaf(node, [yes.pick, no.pick]), [yes, no], FullShape(shape))

    def _weight(self, origin: OfWeight, shape: Sequence[int] | None = None) -> Value:
        """Returns a weight as a value, for which its layer gets a leaf that has no inputs."""
        layer = origin.owner
        shape = layer._specs[origin.number].shape if shape is None else shape
        if layer not in self._weights:
            leaf = layer if layer._may_be_recorded else WeightsLeaf(layer)
            self._weights[layer] = self._leaf(leaf, [], None).number
        return Value(self._weights[layer], FullShape(map(Extent, shape)), origin.number)

    def _viewed(self, value: Value, shape: Any) -> Value:
        """Returns a value under another shape: itself if it has this shape already and is no weight, else a copy."""
        return value if value.shape == shape and value.pick is None else self._copied(value, shape)

    def plain(self, value: Value) -> Value:
        """Returns a value that a leaf computes: a copy of a weight, and any other value itself."""
        return value if value.pick is None else self._copied(value, value.shape)

    def _copied(self, value: Value, shape: Any) -> Value:
        """Adds a node that copies a value, and returns the copy, under the given shape."""
        full = full_shape(shape)
        node = Node("reshape", ((Input(0), full_shape(value.shape)),), full, {})
        return self._leaf(NodeLeaf(node, [value.pick]), [value], shape)


def owner_of(around: Sequence[Part]) -> LayerName:
    """Returns what a leaf belongs to, from the parts around it and the last of them."""
    shown = [part for part in around if not isinstance(part, Body)] or around
    names = [part.name or type(part).__name__.lower() for part in shown]
    return LayerName("/".join(names), type(shown[-1]).__name__ if shown else "")


def paths_to_outputs(network: Network) -> list[list[Leaf]]:
    """Returns for each output the last layers that compute it, as far back as each of them reads one input."""
    found = []
    for number in network.wiring.outputs:
        path = list[Leaf]()
        while number >= 0:
            path.append(network.leaves[number])
            reads = network.wiring.reads[number]
            number = reads[0] if len(reads) == 1 else -1  # noqa: PLW2901 # it walks back from the output
        found.append(path[::-1])
    return found
