"""How the layers of a model are connected: which outputs each of them reads.

The calls of layers and models in a model are numbered in the order in which they compute. Each of them has one output or
more, and these *values* are numbered in the same order. Negative numbers are the inputs of the model: -1 is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from engine._base.checks import Shape
from engine.layers import InputLayer, Layer
from engine.layers.layer import Part
from engine.layers.symbols import Call, KerasTensor


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


class Network(NamedTuple):
    """The layers of a model, without the models around them, and their connections. Each layer computes one value."""

    leaves: list[Layer]
    wiring: Wiring


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


def network_of(parts: Sequence[Part], wiring: Wiring, within: Callable[[Part], Network | None]) -> Network:
    """Returns the layers of a model, with those of the models within it in their places.

    Args:
        parts: the layers and models of the model.
        wiring: their connections.
        within: returns the network of a model, and None for a layer.
    """
    leaves, reads, values = list[Layer](), list[tuple[int, ...]](), list[int]()

    def place_of(number: int) -> int:
        return number if number < 0 else values[number]

    for part, numbers in zip(parts, wiring.reads, strict=True):
        given = [place_of(number) for number in numbers]
        network = within(part)
        if network is None:
            values.append(len(reads))
            reads.append(tuple(given))
            leaves += part._leaves
            continue
        first = len(reads)
        places = [
            [given[-1 - each] if each < 0 else first + each for each in read] for read in network.wiring.reads
        ]
        reads += map(tuple, places)
        values += [given[-1 - each] if each < 0 else first + each for each in network.wiring.outputs]
        leaves += network.leaves
    return Network(leaves, Wiring(tuple(reads), tuple(map(place_of, wiring.outputs))))


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


_Node = Call | InputLayer


def _in_order(outputs: Sequence[KerasTensor], starts: dict[KerasTensor, InputLayer]) -> list[_Node]:
    """Returns the calls and input layers before `outputs`, in Keras' order: by their distance from the outputs.

    Those of equal distance come in the order in which a search from the outputs, depth first, meets their layers.
    """

    def node_of(tensor: KerasTensor, reader: _Node | None = None) -> _Node:
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
    depths, depths_of_layers = dict[_Node, int](), dict[Any, int]()
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
    ends: Iterable[_Node], node_of: Callable[[KerasTensor, _Node], _Node]
) -> tuple[list[_Node], dict[Any, int]]:
    """Returns the nodes before `ends`, each after those that it reads, and the order in which layers are met."""
    finished, met = dict[_Node, None](), dict[Any, int]()
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


def _layer_of(node: _Node) -> Any:
    return node.layer if isinstance(node, Call) else node


def _inputs_of(node: _Node) -> Sequence[KerasTensor]:
    return node.inputs if isinstance(node, Call) else ()


class Structure(NamedTuple):
    """How users give and get the inputs or outputs of a model: one array, or a list, tuple or dict of arrays."""

    kind: type | None
    """list, tuple or dict; None for one array that stands for itself."""
    keys: tuple[str, ...] = ()
    """The keys of a dict, in the order of the inputs or outputs."""

    def packed(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each input or output, in this form."""
        if self.kind is None:
            return values[0]
        return dict(zip(self.keys, values, strict=True)) if self.kind is dict else self.kind(values)


def structure_of(value: Any) -> Structure:
    """Returns the form of `value`, the argument `inputs` or `outputs` of a model. A list of one tensor is that tensor."""
    if isinstance(value, dict):
        return Structure(dict, tuple(sorted(value, key=str)))
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return Structure(list if isinstance(value, list) else tuple)
    return Structure(None)
