"""The calls of layers that lead from symbolic inputs to symbolic outputs, in Keras' order: what a functional model is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engine import tree
from engine._base.checks import WrongTypeError
from engine.layers import InputLayer
from engine.layers.part import Part
from engine.layers.symbols import Call, KerasTensor, symbols_of
from engine.models.wiring import Wiring


class OrderedCalls(NamedTuple):
    """The calls that lead from symbolic inputs to symbolic outputs, and their connections."""

    starts: list[InputLayer]
    """The input layer of each input."""
    calls: list[Call]
    """The calls of layers and models, in the order in which they compute."""
    layers: list[Any]
    """The layers of these calls and the input layers, each once, in the order in which Keras lists them."""
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
        raise WrongTypeError(msg)
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


def ordered_calls(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> OrderedCalls:
    """Returns the calls that compute `outputs` from `inputs`.

    An input that a layer has computed gets an input layer of its own.

    Raises:
        ValueError: if an output depends on something else than the inputs.
    """
    starts = {tensor: _start_of(tensor) for tensor in inputs}
    nodes = _in_order(outputs, starts)
    calls = [node for node in nodes if isinstance(node, Call)]
    numbers = {tensor: -1 - number for number, tensor in enumerate(inputs)}
    values = [tensor for call in calls for tensor in call.outputs]
    for number, tensor in enumerate(values):
        numbers.setdefault(tensor, number)
    reads = tuple(tuple(numbers[tensor] for tensor in call.inputs) for call in calls)
    wiring = Wiring(reads, tuple(numbers[tensor] for tensor in outputs))
    return OrderedCalls([*starts.values()], calls, [*dict.fromkeys(map(_layer_of, nodes))], wiring)


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
            by_hand = tensor.start is None
            source = "a tensor that no Input() and no layer made" if by_hand else "another Input()"
            advice = "begin with an Input() in its place" if by_hand else "add that to `inputs`"
            msg = (
                f"`outputs` must come from `inputs` through layers alone, but they depend on {source}, "
                f"{tensor!r}{by}: {advice}"
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
