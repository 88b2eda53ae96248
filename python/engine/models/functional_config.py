"""The configs of models, in Keras' form: which layers a model has and what each of them is called on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine._base.checks import Shape, WrongTypeError
from engine._tracing.symbolic import Slot
from engine.layers import get
from engine.layers.operation import is_of_operation, operation_from_config
from engine.layers.part import Part
from engine.layers.recorded_calls import shape_with_batch
from engine.layers.symbols import CallArguments
from engine.models.layer_graph import LayerGraph
from engine.models.structures import Structure, nested_structure_of
from engine.utils.functional_calls import is_end
from engine.utils.serialization import (
    described_parts,
    deserialize_keras_object,
    identity_of,
    is_of_model,
    layers_in,
    serialize_keras_object,
    sharing,
)


def config_of_stack(name: str, trainable: bool, dtype: Any, graph: LayerGraph) -> dict[str, Any]:
    """Returns the config of a Sequential.

    Args:
        name: of the model.
        trainable: of the model.
        dtype: "float32", or the config of the model's dtype policy.
        graph: its layers.
    """
    starts = graph.input_layers
    built = {"build_input_shape": starts[0].batch_shape} if starts else {}
    config = {"name": name, "trainable": trainable, "dtype": dtype}
    return {**config, "layers": described_parts([*starts, *graph.layers]), **built}


def config_of_graph(
    name: str, trainable: bool, graph: LayerGraph, listed: Sequence[Part], nodes: Sequence[int]
) -> dict[str, Any]:
    """Returns the config of a Functional, which lists for each layer all calls of it.

    Args:
        name: of the model.
        trainable: of the model.
        graph: its layers.
        listed: the layers and models in it, in the order in which the config lists them.
        nodes: of each call its number among those of its layer.
    """
    calls: dict[Part, dict[int, Any]] = {part: {} for part in listed}
    inputs = [_ConfigValue(start, 0, 0, start.sample_shape, start.dtype) for start in graph.input_layers]
    following = iter(nodes)

    def described(
        part: Part, read: list[_ConfigValue], training: bool | None, arguments: CallArguments | None
    ) -> list[_ConfigValue]:
        node = next(following)
        args, options = part._arguments_in_config(arguments, len(read))
        found = {key: _described(value, read) for key, value in options.items()}
        found |= {} if training is None else {"training": training}
        calls[part][node] = {"args": [_described(each, read) for each in args], "kwargs": found}
        shapes = part._output_shapes_for([each.shape for each in read])
        dtypes = part._output_dtypes_for([each.dtype for each in read])
        return [
            _ConfigValue(part, node, output, shape, dtype)
            for output, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
        ]

    outputs = graph.run(inputs, described)
    layers = described_parts([*calls])
    for config, (part, inbound) in zip(layers, calls.items(), strict=True):
        config |= {"name": part.name, "inbound_nodes": [inbound[node] for node in sorted(inbound)]}
    # Keras numbers the calls of Functional models from 1 on, but only here.
    ends = [[each.part.name, each.node + each.part._is_functional, each.output] for each in outputs]
    beginnings = [[start.name, 0, 0] for start in graph.input_layers]
    return {
        "name": name,
        "trainable": trainable,
        "layers": layers,
        "input_layers": graph.input_form.as_given(graph.input_form.packed(beginnings)),
        "output_layers": graph.output_form.as_given(graph.output_form.packed(ends)),
    }


def beside_graph(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a subclass has added to the config of a Functional: further arguments of its constructor."""
    own = ("name", "trainable", "dtype", "layers", "input_layers", "output_layers")
    return {key: value for key, value in config.items() if key not in own}


class _ConfigValue(NamedTuple):
    """A value in the config of a model: output `output` of call `node` of a layer, and the shape of one sample."""

    part: Part
    node: int
    output: int
    shape: Shape
    dtype: str = "float32"


def _described(value: Any, read: Sequence[_ConfigValue]) -> Any:
    """Returns an argument of a call, with the values that were read in place of its slots, as a config holds it."""
    if isinstance(value, Slot):
        return _tensor(read[value.number])
    if isinstance(value, (list, tuple)):
        return [_described(each, read) for each in value]
    if isinstance(value, dict):
        return {key: _described(each, read) for key, each in value.items()}
    return serialize_keras_object(value)


def _tensor(value: _ConfigValue) -> dict[str, Any]:
    history = [value.part.name, value.node, value.output]
    config = {"shape": list(shape_with_batch(value.shape)), "dtype": value.dtype, "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def structure_of_ends(ends: Any) -> Structure:
    """Returns the form of `input_layers` or `output_layers` in a config, whose entries are such as ["dense", 0, 0]."""
    return nested_structure_of(ends, is_end)


def parts_from_config(config: object) -> list[Part]:
    """Returns the layers and models that the config of a Sequential lists, one as often as it is listed.

    Raises:
        ValueError: if it isn't the config of a model.
    """
    return made_parts(layers_in(config))


def made_parts(configs: Sequence[Any]) -> list[Part]:
    """Returns the layers and models that `configs` describe. Configs of the same object give one object."""
    parts = []
    with sharing() as made:
        for each in configs:
            known = identity_of(each)
            if known not in made and is_of_operation(each):
                made[known] = operation_from_config(each)
            if known not in made:
                model = is_of_model(each)
                made[known] = deserialize_keras_object({"module": "keras"} | each) if model else get(each)
            parts.append(made[known])
    return parts


def instance_from_arguments(cls: type[Any], config: Mapping[str, Any]) -> Any:
    """Returns an object of a user's class whose `get_config` returned the arguments of its constructor."""
    try:
        return cls(**config)
    except TypeError as error:
        msg = (
            f"{cls.__name__} can't be made from its config, {dict(config)}: let get_config() return the arguments of "
            f"__init__, or write a class method from_config(cls, config) that takes what it returns ({error})"
        )
        raise WrongTypeError(msg) from error
