"""How the layers of a model are connected: which outputs each of them reads.

The calls of layers and models in a model are numbered in the order in which they compute. Each of them has one output or
more, and these *values* are numbered in the same order. Negative numbers are the inputs of the model: -1 is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from engine import tree
from engine._base.checks import Shape
from engine._tracing.extents import Extent, Extents, FullShape, full_shape, sample_shape
from engine._tracing.recordings import Recording
from engine._tracing.symbolic import Slot, filled_slots
from engine._tracing.trace import Input, Node, OfWeight, Origin
from engine.layers import InputLayer, Layer
from engine.layers.layer import Part
from engine.layers.masking import mask_sources
from engine.layers.merging import GivenMask
from engine.layers.nodes import GivenMaskLeaf, MaskLeaf, NodeLeaf, PenaltyLeaf, RowMaskLeaf, WeightsLeaf
from engine.layers.symbols import Call, CallArguments, KerasTensor, symbols_of


class Wiring(NamedTuple):
    """The connections of a model."""

    reads: tuple[tuple[int, ...], ...]
    """For each call the numbers of the values that it reads."""
    outputs: tuple[int, ...]
    """The numbers of the values that are the outputs of the model."""

    @property
    def is_chain(self) -> bool:
        """Whether each call reads the output of the one before, and the last one computes the one output."""
        return self == chain_of(len(self.reads))


class Owner(NamedTuple):
    """What a leaf of a network belongs to: a layer, or the layer whose `call` recorded it."""

    name: str
    """With the names of the models and layers around it, such as "encoder/dense"."""
    kind: str
    """The name of its class."""


class Network(NamedTuple):
    """The layers of a model, without the models around them, and their connections. Each layer computes one value."""

    leaves: list[Layer]
    wiring: Wiring
    arguments: Sequence[CallArguments | None] = ()
    """The arguments that each leaf is called with beside its inputs and `training`; empty if there are none."""
    modes: Sequence[bool | None] = ()
    """The argument `training` with which Python code calls each leaf, whatever the batch is for; None if it gives none."""
    around: Sequence[tuple[Part, ...]] = ()
    """For each leaf the models and layers that contain it, outermost first; the last one is the layer itself, or the one whose
    `call` recorded the leaf."""
    silent: frozenset[int] = frozenset()
    """The numbers of the leaves that must not add their penalty on outputs, as nodes of the network compute it."""


class Shapes(NamedTuple):
    """The shapes of one sample in a network."""

    read: list[list[Shape]]
    """For each call the shapes of what it reads."""
    values: list[Shape]
    """The shape of each value."""
    outputs: list[Shape]
    """The shape of each output of the model."""


def chain_of(count: int) -> Wiring:
    """Returns the connections of `count` calls, each of which reads the output of the one before."""
    return Wiring(tuple((number - 1,) for number in range(count)), (count - 1,))


def shapes_along(inputs: Sequence[Shape], parts: Sequence[Part], wiring: Wiring) -> Shapes:
    """Returns the shapes of one sample throughout a model.

    Args:
        inputs: the shape of each input.
        parts: the layers and models, one as often as it is called.
        wiring: their connections.
    """
    read, values = list[list[Shape]](), list[Shape]()

    def shape_of(number: int) -> Shape:
        return inputs[-1 - number] if number < 0 else values[number]

    for part, numbers in zip(parts, wiring.reads, strict=True):
        read.append([shape_of(number) for number in numbers])
        values += part._output_shapes_for(read[-1])
    return Shapes(read, values, [shape_of(number) for number in wiring.outputs])


Inside = tuple[Sequence[Part], "Wiring", Sequence[bool | None], Sequence[CallArguments | None]]
"""What a model consists of: its parts, their wiring, the argument `training` of each call, and the other arguments of each."""


def network_of(
    inside: Inside,
    within: Callable[[Part], Inside | None],
    inputs: Sequence[Shape] = (),
    *,
    whole: Callable[[Part], bool] = lambda _: False,
) -> Network:
    """Returns the layers of a model, with those of the models within it in their places.

    Args:
        inside: what the model consists of.
        within: returns what a model consists of, and None for a layer.
        inputs: the shape of one sample of each input, without None; empty if it is unknown. Then a layer whose `call` is
            recorded is one leaf.
        whole: whether a layer is one leaf although its `call` is recorded.
    """
    flattening = Flattening(within, bool(inputs), whole)
    shapes: Sequence[Any] = inputs or [None] * _input_count(inside[1])
    outputs = flattening.add(inside, [Value(-1 - number, shape) for number, shape in enumerate(shapes)], None)
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
        flattening.modes,
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


class Flattening:
    """Collects the leaves of a network: of models the parts, and of layers with a recorded `call` the nodes.

    Three arguments go down with each call, since code within may say something else than the batch:
    `mode` is the `training` by which `call` is recorded; `always` is the `training` that a leaf gets whatever the batch is for,
    None for that of the batch; `branch` is True for what is called in training alone, False for predictions alone.

    Args:
        within: as for `network_of`.
        knows_shapes: whether the shapes of inputs are known.
        whole: as for `network_of`.
    """

    def __init__(
        self,
        within: Callable[[Part], Inside | None],
        knows_shapes: bool,
        whole: Callable[[Part], bool] = lambda _: False,
    ) -> None:
        self.leaves, self.reads = list[Layer](), list[tuple[int, ...]]()
        self.arguments, self.modes = list[CallArguments | None](), list[bool | None]()
        self.around, self.silent = list[tuple[Part, ...]](), set[int]()
        self._within, self._knows_shapes, self._whole = within, knows_shapes, whole
        self._around = list[Part]()  # the models and layers whose calls are being added, outermost first
        self._samples: dict[Layer, Any] = {}  # the shape of one sample of the first input of each leaf
        self._weights: dict[Any, int] = {}  # the leaf of each layer whose weights are read by nodes

    def add(
        self,
        inside: Inside,
        given: Sequence[Value],
        mode: bool | None,
        always: bool | None = None,
        branch: bool | None = None,
    ) -> list[Value]:
        """Adds the leaves of a model, and returns its outputs.

        Args:
            inside: what the model consists of.
            given: its inputs.
            mode: the argument `training` that it is called with.
            always: the `training` of all its leaves, whatever the batch is for; None for that of the batch.
            branch: whether it is called in training alone (True), in predictions alone (False), or always (None).
        """
        parts, wiring, modes, arguments = inside
        values = list[Value]()

        def value_of(number: int) -> Value:
            return given[-1 - number] if number < 0 else values[number]

        nothing: Sequence[None] = [None] * len(parts)
        calls = zip(parts, wiring.reads, modes or nothing, arguments or nothing, strict=True)
        for part, numbers, own_mode, options in calls:
            read = [value_of(number) for number in numbers]
            values += self._called(part, read, own_mode if mode is None else mode, options, always, branch)
        return [value_of(number) for number in wiring.outputs]

    def _called(  # noqa: PLR0917 # what belongs to a call
        self,
        part: Part,
        given: Sequence[Value],
        mode: bool | None,
        options: CallArguments | None,
        always: bool | None = None,
        branch: bool | None = None,
    ) -> list[Value]:
        """Adds the leaves of one call, and returns its outputs.

        Args:
            part: what is called.
            given: its inputs.
            mode: the argument `training`, which decides what Python code records.
            options: the further arguments.
            always: as for `add`.
            branch: as for `add`.
        """
        self._around.append(part)
        try:
            inside = self._within(part)
            if inside is not None:
                return self.add(inside, given, mode, always, branch)
            return self._called_layer(part, given, mode, options, always, branch)
        finally:
            self._around.pop()

    def _called_layer(  # noqa: PLR0917 # what belongs to a call
        self,
        part: Part,
        given: Sequence[Value],
        mode: bool | None,
        options: CallArguments | None,
        always: bool | None,
        branch: bool | None,
    ) -> list[Value]:
        """Adds the leaves of a call of a layer or an operation; the arguments are those of `_called`."""
        samples = [value.shape for value in given]
        if self._knows_shapes:
            if isinstance(part, GivenMask):
                return [self._masked_by(*given)]
            merged = self._merged(part, given, branch)
            if merged is not None:
                return merged
        if self._knows_shapes and not self._whole(part):
            masked = part._takes_mask and self._is_masked(given[0]) if given else False
            found = self._recording_of(part, samples, mode, options, masked)
            if found is not None:
                outputs = self._recorded(found, given, branch, always)
                return self._after_recorded(part, given, options, outputs, branch)
            given = [self.plain(value) for value in given]
        shapes = part._output_shapes_for(samples) if self._knows_shapes else [None]
        found_outputs = [self._leaf(leaf, given, shapes[0], options, always) for leaf in part._leaves[:1]]
        if self._knows_shapes and isinstance(part, Layer):
            for value in found_outputs:
                self._add_penalty(part, value, branch)
        return found_outputs

    def _recording_of(  # what belongs to a call
        self, part: Part, samples: Sequence[Any], mode: bool | None, options: Any, masked: bool
    ) -> Recording | None:
        """Returns what the Python code of a part records for a call; None if the part has none, so that it is a leaf."""
        found: Recording | None = part._recording_for(samples, mode, options, masked)
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
        (penalty,) = self._recorded(found, [value], branch)
        self._add_loss(penalty, (), branch)
        return True

    def add_penalties_on_weights(self) -> None:
        """Adds the penalties on weights that are recorded."""
        for leaf in list(dict.fromkeys(self.leaves)):
            if isinstance(leaf, (NodeLeaf, WeightsLeaf, MaskLeaf, PenaltyLeaf)) or not leaf.trainable:
                continue
            sample = self._samples[leaf]
            for number, weight in enumerate(leaf._specs if sample is None else leaf._weights_for(sample)):
                found = weight._recorded_penalty if weight.trainable and weight.regularizer else None
                if found is not None:
                    value = self._weight(OfWeight(leaf, number), weight.shape)
                    (penalty,) = self._recorded(found, [value], None)
                    self._add_loss(penalty, (), None)

    def _is_masked(self, value: Value) -> bool:
        return value.number >= 0 and mask_sources(self.leaves, self.reads)[1][value.number] is not None

    def _masked_by(self, value: Value, mask: Value) -> Value:
        """Returns a value with a mask, an array that is 0 for each row to ignore."""
        rows = (*mask.shape, 1)
        maker = self._leaf(RowMaskLeaf(rows), [self.plain(mask)], rows)
        return self._leaf(GivenMaskLeaf(value.shape, rows), [self.plain(value), maker], value.shape)

    def _merged(self, part: Part, given: Sequence[Value], branch: bool | None) -> list[Value] | None:
        """Returns the output of a layer that computes by the masks of its inputs, such as `Concatenate`; None for any other."""
        if len(given) < 2 or not isinstance(part, Layer):  # noqa: PLR2004 # nothing to merge
            return None
        after = mask_sources(self.leaves, self.reads)[1]
        sources = [None if value.number < 0 else after[value.number] for value in given]
        found = part._recording_by_masks([value.shape for value in given], sources)
        if found is None:
            return None
        output, *mask = self._recorded(found, given, branch)
        self._add_penalty(part, output, branch)
        return [self._masked_by(output, mask[0]) if mask else output]

    def _after_recorded(  # what belongs to a call
        self,
        part: Part,
        given: Sequence[Value],
        options: CallArguments | None,
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
        sources = [None if value.number < 0 else after[value.number] for value in given]
        if layer._has_own_mask:
            found = layer._mask_recording_for(
                [value.shape for value in given], options, [source is not None for source in sources]
            )
            masks = [] if found is None else self._recorded(found, given, branch)
            return [self._masked_by(value, *masks) for value in outputs] if masks else outputs
        if not any(source is not None for source in sources):
            return outputs
        if not part.supports_masking:
            part._warn_of_lost_mask()
            return outputs
        source = part._mask_source_of(sources)
        if source is None:
            return outputs
        masked = given[sources.index(source)]
        return [
            self._leaf(MaskLeaf(value.shape), [self.plain(value), masked], value.shape) for value in outputs
        ]

    def _leaf(
        self,
        leaf: Layer,
        given: Sequence[Value],
        shape: Any,
        options: CallArguments | None = None,
        always: bool | None = None,
    ) -> Value:
        self.modes.append(always)
        self.around.append(tuple(self._around))
        self._samples.setdefault(leaf, given[0].shape if given else None)
        self.leaves.append(leaf)
        self.reads.append(tuple(value.number for value in given))
        self.arguments.append(options)
        return Value(len(self.leaves) - 1, shape)

    def _recorded(
        self, found: Recording, given: Sequence[Value], branch: bool | None, always: bool | None = None
    ) -> list[Value]:
        """Adds what a function has recorded, and returns its outputs. `branch` and `always` are as for `_called`."""
        computed: list[list[Value]] = []

        def value_of(origin: Origin) -> Value:
            if isinstance(origin, Input):
                return given[origin.number]
            if isinstance(origin, OfWeight):
                return self._weight(origin)
            return computed[origin.entry][origin.output]

        for number, entry in enumerate(found.trace.entries):
            own = found.branch_of(number)
            moves = isinstance(entry, Node) and entry.kind == "move"  # weights are assigned in training alone
            if (None not in (own, branch) and own != branch) or (moves and False in (own, branch, always)):
                computed.append([])  # never computed, nor read
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
            # As in Keras, a call without `training` has that of the call around it.
            inner_branch = branch if own is None else own
            mode = always if entry.mode is None else entry.mode
            # What is called in predictions alone is computed in training, too, but nothing reads it there.
            inner_always = False if mode is None and inner_branch is False else mode
            inner_mode = inner_branch if mode is None else mode
            computed.append(
                self._called(entry.part, views, inner_mode, entry.given, inner_always, inner_branch)
            )
        if found.loss is not None:
            self._add_loss(value_of(found.loss.origin), full_shape(FullShape(found.loss.extents)), branch)
        return [
            self._viewed(value_of(output.origin), sample_shape(output.extents)) for output in found.outputs
        ]

    def _add_loss(self, value: Value, shape: Extents, branch: bool | None) -> None:
        """Adds a number to the loss of the batch, in a branch only where that is taken."""
        if branch is not None:
            fields = {"operations": ["constant"], "operands": [-1, -1, -1], "numbers": [0.0]}
            nothing = self._leaf(NodeLeaf(Node("map", (), (), fields), ()), [], FullShape())
            pair = [value, nothing] if branch else [nothing, value]
            node = Node("choose", ((Input(0), shape), (Input(1), ())), (), {})
            value, shape = self._leaf(NodeLeaf(node, [each.pick for each in pair]), pair, FullShape()), ()
        node = Node("add_loss", ((Input(0), shape),), (), {})
        self._leaf(NodeLeaf(node, [value.pick]), [value], FullShape())

    def _weight(self, origin: OfWeight, shape: Sequence[int] | None = None) -> Value:
        """Returns a weight as a value, for which its layer gets a leaf that has no inputs."""
        layer = origin.layer
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


def owner_of(around: Sequence[Part]) -> Owner:
    """Returns what a leaf belongs to, from the parts around it and the last of them."""
    shown = [part for part in around if not part._is_body] or around
    names = [part.name or type(part).__name__.lower() for part in shown]
    return Owner("/".join(names), type(shown[-1]).__name__ if shown else "")


def paths_to_outputs(network: Network) -> list[list[Layer]]:
    """Returns for each output the last layers that compute it, as far back as each of them reads one input."""
    found = []
    for number in network.wiring.outputs:
        path = list[Layer]()
        while number >= 0:
            path.append(network.leaves[number])
            reads = network.wiring.reads[number]
            number = reads[0] if len(reads) == 1 else -1  # noqa: PLW2901 # it walks back from the output
        found.append(path[::-1])
    return found


class Trace(NamedTuple):
    """What leads from symbolic inputs to symbolic outputs."""

    starts: list[InputLayer]
    """The input layer of each input."""
    calls: list[Call]
    """The calls of layers and models, in the order in which they compute."""
    order: list[Any]
    """The same calls and the input layers, in the order in which Keras lists the layers."""
    wiring: Wiring


def tensors_in(value: Any, name: str) -> list[KerasTensor]:
    """Returns the symbolic tensors in an argument of Model.

    Raises:
        TypeError: if it isn't made of symbolic tensors.
    """
    found = symbols_of(tree.flatten(value) if isinstance(value, (list, tuple, Mapping)) else value)
    if found is None:
        msg = (
            f"`{name}` must be what Input() or a layer called on it has returned, or a list, tuple or dict of these; got "
            f"{value!r}"
        )
        raise TypeError(msg)
    if name == "inputs" and len(set(found)) < len(found):
        msg = f"`inputs` must be different, got {value!r}"
        raise ValueError(msg)
    return found


def require_no_input_layer(parts: Iterable[Part]) -> None:
    """Raises ValueError if one of the layers that are called is an input layer."""
    for part in parts:
        if isinstance(part, InputLayer):
            msg = f"the input layer {part.name!r} can't be called on outputs: call the next layer on them"
            raise ValueError(msg)


def traced(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> Trace:
    """Finds the calls that compute `outputs` from `inputs`.

    An input that a layer has computed gets an input layer of its own.

    Raises:
        ValueError: if an output depends on something else than the inputs.
    """
    starts = {tensor: _start_of(tensor) for tensor in inputs}
    order = _in_order(outputs, starts)
    calls = [node for node in order if isinstance(node, Call)]
    numbers = {tensor: -1 - number for number, tensor in enumerate(inputs)}
    values = [tensor for call in calls for tensor in call.outputs]
    for number, tensor in enumerate(values):
        numbers.setdefault(tensor, number)
    reads = tuple(tuple(numbers[tensor] for tensor in call.inputs) for call in calls)
    return Trace(
        [*starts.values()], calls, order, Wiring(reads, tuple(numbers[tensor] for tensor in outputs))
    )


def _start_of(tensor: KerasTensor) -> InputLayer:
    if isinstance(tensor.start, InputLayer):
        return tensor.start
    return InputLayer(batch_shape=tensor.shape)


_CallOrInput = Call | InputLayer
"""A node of the graph that users build: the call of a layer or model, or an input layer."""


def _in_order(outputs: Sequence[KerasTensor], starts: dict[KerasTensor, InputLayer]) -> list[_CallOrInput]:
    """Returns the calls and input layers before `outputs`, in Keras' order: by their distance from the outputs.

    Those of equal distance come in the order in which a search from the outputs, depth first, meets their layers.
    """

    def node_of(tensor: KerasTensor, reader: _CallOrInput | None = None) -> _CallOrInput:
        if tensor in starts:
            return starts[tensor]
        if tensor._call is None:
            by = "" if reader is None else f", which layer {_layer_of(reader).name!r} reads"
            msg = (
                "`outputs` must come from `inputs` through layers alone, but they depend on another Input(), "
                f"{tensor!r}{by}: add that to `inputs`"
            )
            raise ValueError(msg)
        return tensor._call

    finished, met = _searched(map(node_of, outputs), node_of)
    depths, depths_of_layers = dict[_CallOrInput, int](), dict[Any, int]()
    for node in reversed(finished):
        layer = _layer_of(node)
        depth = max(depths.get(node, 0), depths_of_layers.get(layer, 0))
        depths[node] = depths_of_layers[layer] = depth
        for tensor in _inputs_of(node):
            before = node_of(tensor)
            depths[before] = max(depth + 1, depths.get(before, 0))
    for start in starts.values():  # inputs that no output depends on
        if start not in depths:
            depths[start], met[start] = 0, -1
    return sorted(depths, key=lambda node: (-depths[node], met[_layer_of(node)]))


def _searched(
    ends: Iterable[_CallOrInput], node_of: Callable[[KerasTensor, _CallOrInput], _CallOrInput]
) -> tuple[list[_CallOrInput], dict[Any, int]]:
    """Returns the nodes before `ends`, each after those that it reads, and the order in which layers are met."""
    finished, met = dict[_CallOrInput, None](), dict[Any, int]()
    for end in ends:
        waiting = [(end, iter(_inputs_of(end)))] if end not in finished else []
        met.setdefault(_layer_of(end), len(met))
        while waiting:  # no recursion, as there may be thousands of layers in a chain
            node, rest = waiting[-1]
            tensor = next(rest, None)
            if tensor is None:
                finished[node] = None
                waiting.pop()
                continue
            before = node_of(tensor, node)
            if before not in finished:
                met.setdefault(_layer_of(before), len(met))
                waiting.append((before, iter(_inputs_of(before))))
    return [*finished], met


def _layer_of(node: _CallOrInput) -> Any:
    return node.layer if isinstance(node, Call) else node


def _inputs_of(node: _CallOrInput) -> Sequence[KerasTensor]:
    return node.inputs if isinstance(node, Call) else ()


class Structure(NamedTuple):
    """How users give and get the inputs or outputs of a model: one array, or a list, tuple or dict of arrays.

    Lists, tuples and dicts may be nested. The arrays of a dict come in the order of its sorted keys.
    """

    kind: type | None
    """list, tuple or dict; None for one array that stands for itself."""
    keys: tuple[str, ...] = ()
    """The keys of a dict of arrays, in the order of the inputs or outputs."""
    nested: Any = None
    """If there are lists, tuples or dicts within: the whole, with a slot for each array."""

    def packed(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each input or output, in this form."""
        if self.kind is None:
            return values[0]
        if self.nested is not None:
            return filled_slots(self.nested, values)
        return dict(zip(self.keys, values, strict=True)) if self.kind is dict else self.kind(values)

    def unpacked(self, value: Any) -> list[Any]:
        """Returns what `packed` was given."""
        if self.kind is None:
            return [value]
        if self.nested is not None:
            found: list[Any] = self.flat(value)
            return found
        return [value[key] for key in self.keys] if self.kind is dict else list(value)

    @contextmanager
    def explained(self, names: Sequence[str]) -> Iterator[None]:
        """Adds the nested form to a message that the block raises, with the names of the inputs or outputs in it."""
        try:
            yield
        except (TypeError, ValueError) as error:
            if self.nested is None:
                raise
            msg = f"{error}. Or give it the form {self.packed(names)!r}"
            raise type(error)(msg) from None

    def flat(self, value: Any, spread: bool = False) -> Any:
        """Returns the entries of a value in this nested form as a list. A value in another form is returned as it is.

        Args:
            value: as the user gave it. Dicts may lack keys, whose entries are None.
            spread: whether one entry may stand in place of a list, tuple or dict, for all arrays in it.
        """
        if self.nested is None or not _is_nested(value):
            return value
        found = _entries_like(self.nested, value, spread)
        return value if found is None else found


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, Mapping))


def _entries_like(form: Any, value: Any, spread: bool) -> list[Any] | None:
    """Returns the entries of `value` where `form` has slots; None if it has another form."""
    if isinstance(form, Slot):
        return [value]
    if value is None or (spread and (not _is_nested(value) or "class_name" in value)):
        return [value] * len(_entries_like(form, form, False) or ())
    if isinstance(form, Mapping):
        if not isinstance(value, Mapping) or not value or not value.keys() <= form.keys():
            return None
        pairs = [(form[key], value.get(key)) for key in sorted(form, key=str)]
    else:
        if not isinstance(value, (list, tuple)) or len(value) != len(form):
            return None
        pairs = list(zip(form, value, strict=True))
    found = list[Any]()
    for inner, each in pairs:
        entries = _entries_like(inner, each, spread)
        if entries is None:
            return None
        found += entries
    return found


def paths_of(structure: Structure, names: Sequence[str]) -> list[str]:
    """Returns the names of the losses of outputs, as Keras writes them: keys and places with slashes between.

    Args:
        structure: the form of the outputs.
        names: of the outputs, which stand for their places in lists.
    """
    if structure.nested is None:
        return list(names)
    found = list[str]()
    for path, _ in tree.flatten_with_path(structure.packed(range(len(names)))):
        last = names[len(found)] if isinstance(path[-1], int) else path[-1]
        found.append("/".join(map(str, (*path[:-1], last))))
    return found


def nested_structure_of(
    value: Any, is_leaf: Callable[[Any], bool] = lambda each: not _is_nested(each)
) -> Structure:
    """Returns the form of `value`, a list, tuple or dict that may have others within; the leaves are found by `is_leaf`."""
    count = 0

    def slots(part: Any) -> Any:
        nonlocal count
        if is_leaf(part) or not _is_nested(part):
            count += 1
            return Slot(count - 1)
        if isinstance(part, Mapping):
            return {key: slots(part[key]) for key in sorted(part, key=str)}
        return type(part)(slots(each) for each in part)

    if not _is_nested(value) or is_leaf(value):
        return Structure(None)
    inner = list(value.values()) if isinstance(value, Mapping) else list(value)
    if all(map(is_leaf, inner)):
        return structure_of(value if isinstance(value, Mapping) else type(value)(None for _ in inner))
    return Structure(dict if isinstance(value, Mapping) else type(value), (), slots(value))


def structure_of(value: Any) -> Structure:
    """Returns the form of `value`, the argument `inputs` or `outputs` of a model. A list of one tensor is that tensor."""
    if isinstance(value, dict):
        return Structure(dict, tuple(sorted(value, key=str)))
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return Structure(list if isinstance(value, list) else tuple)
    return Structure(None)
