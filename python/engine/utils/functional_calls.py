"""The calls of layers that the config of a Functional model lists, in Keras' form.

`graph_in` reads such a config. Of each layer it has `inbound_nodes`, one for each call, which say what the layer was called
on: `["dense", 1, 0]` is output 0 of the second call of the layer `dense`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine._base.checks import flag
from engine._base.registered_objects import registered_by
from engine._tracing.symbolic import Slot
from engine.layers.symbols import CallArguments
from engine.utils.serialization import deserialize_keras_object


class ValueSource(NamedTuple):
    """What computes a value: call number `call`, or the input -1 - `call` of the model, and the number of the output."""

    call: int
    output: int


class CallInConfig(NamedTuple):
    """A call of a layer: the config of the layer, what it reads, and its arguments."""

    layer: Any
    reads: list[ValueSource]
    training: bool | None
    """The argument `training`."""
    arguments: CallArguments
    """The further arguments by name, with slots in place of symbols."""
    args: list[Any]
    """All arguments by position, in the same way."""


class GraphInConfig(NamedTuple):
    """The layers of a Functional model and their calls.

    Attributes:
        listed: the configs of all layers, in the order of the config.
        starts: the configs of the input layers, in the order of the inputs.
        calls: in an order in which each comes after those that it reads.
        outputs: the outputs of the model.
    """

    listed: list[Any]
    starts: list[Any]
    calls: list[CallInConfig]
    outputs: list[ValueSource]


def graph_in(config: Mapping[str, Any]) -> GraphInConfig:
    """Returns the layers and calls in the config of a Functional model.

    Raises:
        ValueError: if it is no such config, or a call needs something that the config doesn't have.
    """
    name = config.get("name")
    if not isinstance(config.get("layers"), list):
        msg = f"a config of a model must be a dict with 'name' and 'layers', a list; got {config!r:.200}"
        raise ValueError(msg)
    try:
        return _Reading(config).graph()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        msg = (
            f"a config of model {name!r} must have layers as get_config() returns them, dicts with 'name' "
            f"and 'inbound_nodes' ({type(error).__name__}: {error})"
        )
        raise ValueError(msg) from error


_Key = tuple[str, int]
"""The name of a layer and the number of a call of it."""


class _Reading:
    """Reads the config of a Functional model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._name, self._config = config["name"], config
        self._layers = {_name_of(layer): layer for layer in config["layers"]}
        self._nodes = {name: layer.get("inbound_nodes") or [] for name, layer in self._layers.items()}
        self._sources: dict[_Key, list[tuple[_Key, int]]] = {}

    def graph(self) -> GraphInConfig:
        """Returns the layers and the calls in their order."""
        starts = [name for name, _, _ in _ends_in(self._config["input_layers"])]
        numbers: dict[_Key, int] = {(name, 0): -1 - number for number, name in enumerate(starts)}
        ends = [
            ((name, node - _counts_itself(self._layers[name])), output)
            for name, node, output in _ends_in(self._config["output_layers"])
        ]
        order = self._ordered([key for key, _ in ends], numbers)
        calls = list[CallInConfig]()
        for key in order:
            numbers[key] = len(calls)
            args, options, _ = _arguments_of(self._node(key))
            training = options.pop("training", None)
            call_arguments = CallArguments(
                {name: value for name, value in options.items() if not _is_none(value)}
            )
            call_arguments.inputs = args[0] if args else Slot(0)
            reads = [ValueSource(numbers[source], output) for source, output in self._sources[key]]
            training = None if training is None else flag(training, "training")
            calls.append(CallInConfig(self._layers[key[0]], reads, training, call_arguments, args))
        if len(calls) != sum(map(len, self._nodes.values())):
            raise self._refusal("some calls of layers don't lead to an output")
        outputs = [ValueSource(numbers[key], output) for key, output in ends]
        return GraphInConfig(
            [*self._layers.values()], [self._layers[name] for name in starts], calls, outputs
        )

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"a config of model {self._name!r} must have layers that lead from its inputs to its outputs, but {reason}"
        )

    def _node(self, key: _Key) -> Any:
        name, number = key
        nodes = self._nodes[name]
        # Files of older versions of Keras count the calls in other models, too.
        return nodes[number if len(nodes) > 1 else 0]

    def _ordered(self, ends: list[_Key], outside: Mapping[_Key, int]) -> list[_Key]:
        """Returns the calls before `ends`, each after those that it reads; without recursion."""
        finished, begun = dict[_Key, None](), set[_Key]()
        waiting = [self._same(key) for key in reversed(ends)]
        while waiting:
            key = waiting[-1]
            if key in finished or key in outside:
                waiting.pop()
                continue
            if not self._nodes[key[0]]:
                raise self._refusal(f"{key[0]!r} is not one of the inputs")
            if key in begun and any(
                source not in finished and source not in outside for source, _ in self._sources[key]
            ):
                raise self._refusal(f"{key[0]!r} would have to compute what it reads")
            if key in begun:
                finished[key] = None
                continue
            begun.add(key)
            self._sources[key] = [
                (self._same(source), output) for source, output in _sources_of(self._node(key))
            ]
            waiting += [source for source, _ in reversed(self._sources[key])]
        return [*finished]

    def _same(self, key: _Key) -> _Key:
        """Returns the call that `key` means: a layer that is called once has only call 0."""
        return key if len(self._nodes[key[0]]) > 1 else (key[0], 0)


def _counts_itself(config: Mapping[str, Any]) -> bool:
    """Returns whether a config is that of a model whose calls Keras counts from 1."""
    name = str(config.get("class_name"))
    registered = registered_by(config, name)
    return name == "Functional" if registered is None else bool(getattr(registered, "_is_functional", False))


def _name_of(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def is_end(value: Any) -> bool:
    """Returns whether a value is an output of a layer in a config, such as `["dense", 0, 0]`: layer, call and output."""
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)  # noqa: PLR2004


def _ends_in(ends: Any) -> list[tuple[str, int, int]]:
    """Returns each of `["dense", 0, 0]`, or of a list or dict of such."""
    if isinstance(ends, Mapping):
        return [end for key in sorted(ends, key=str) for end in _ends_in(ends[key])]
    if not isinstance(ends, (list, tuple)):
        msg = f"{ends!r:.80} is not the output of a layer"
        raise TypeError(msg)
    if is_end(ends):
        return [(str(ends[0]), int(ends[1]), int(ends[2]))]
    return [end_key for end in ends for end_key in _ends_in(end)]


def _is_none(value: Any) -> bool:
    """Returns whether an argument in a config is None, or a list of None for several inputs, such as their masks."""
    return value is None or (isinstance(value, list) and all(item is None for item in value))


def _sources_of(node: Any) -> list[tuple[_Key, int]]:
    """Returns what a layer was called on in a call: layer, call and output."""
    ends = _arguments_of(node)[2]
    if not ends:
        msg = "a call without inputs"
        raise TypeError(msg)
    return [((name, number), output) for name, number, output in ends]


def _arguments_of(node: Any) -> tuple[list[Any], dict[str, Any], list[tuple[str, int, int]]]:
    """Returns the arguments of a call by position and by name, with slots in place of symbols, and these symbols.

    A symbol is given by layer, call and output.
    """
    ends = list[tuple[str, int, int]]()

    def slot_for(end: tuple[str, int, int]) -> Slot:
        ends.append(end)
        return Slot(len(ends) - 1)

    def value_of(value: Any) -> Any:  # noqa: PLR0911 # one for each kind
        if isinstance(value, (list, tuple)):
            return [value_of(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        kind, config = value.get("class_name"), value.get("config")
        if kind == "__keras_tensor__":
            return slot_for(_ends_in(value["config"]["keras_history"])[0])
        if kind == "__tuple__":
            return tuple(
                value_of(item) for item in value.get("items", value.get("config", {}).get("value", ()))
            )
        if kind == "__slice__" and isinstance(config, Mapping):
            return slice(*(value_of(config.get(end)) for end in ("start", "stop", "step")))
        if kind == "__ellipsis__":
            return ...
        if kind is not None:
            return deserialize_keras_object(value)
        return {key: value_of(value[key]) for key in sorted(value, key=str)}

    if isinstance(node, list):  # the form of Keras 2, with options at the end
        if any(any(end[3:]) for end in node):
            msg = "arguments of calls in the form of Keras 2"
            raise TypeError(msg)
        slots = [slot_for(layer_end) for end in node for layer_end in _ends_in(end[:3])]
        return [slots[0] if len(slots) == 1 else slots], {}, ends
    args = [value_of(item) for item in node["args"]]
    return args, {name: value_of(value) for name, value in (node.get("kwargs") or {}).items()}, ends
