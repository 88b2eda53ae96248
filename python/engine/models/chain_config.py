"""The configs of models, in Keras' form: which layers a model has and what each of them is called on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine._base.checks import Shape
from engine.layers import InputLayer, get
from engine.layers.layer import Part
from engine.layers.symbols import CallArguments
from engine.utils.serialization import (
    described_parts,
    deserialize_keras_object,
    identity_of,
    is_of_model,
    layers_in,
    serialize_keras_object,
    sharing,
)


def config_of_stack(
    name: str, trainable: bool, inputs: InputLayer | None, stack: Sequence[Part]
) -> dict[str, Any]:
    """Returns the config of a Sequential.

    Args:
        name: of the model.
        trainable: of the model.
        inputs: its input layer.
        stack: the other layers and models in it.
    """
    first = [] if inputs is None else [inputs]
    built = {} if inputs is None else {"build_input_shape": inputs.batch_shape}
    config = {"name": name, "trainable": trainable, "dtype": "float32"}
    return {**config, "layers": described_parts([*first, *stack]), **built}


def config_of_chain(
    name: str,
    trainable: bool,
    inputs: InputLayer,
    stack: Sequence[Part],
    calls: Sequence[tuple[Shape, bool | None, CallArguments | None]],
) -> dict[str, Any]:
    """Returns the config of a Functional, which lists for each layer all calls of it.

    Args:
        name: of the model.
        trainable: of the model.
        inputs: its input layer.
        stack: the other layers and models in it, one as often as it is called.
        calls: for each of these the shape of one input sample, the argument `training` and the other arguments.
    """
    nodes: dict[Part, list[Any]] = {part: [] for part in (inputs, *stack)}
    before: list[Any] = [inputs.name, 0, 0]
    for part, (sample, mode, given) in zip(stack, calls, strict=True):
        tensor = {"shape": [None, *sample], "dtype": "float32", "keras_history": before}
        options = {key: serialize_keras_object(value) for key, value in (given or {}).items()}
        options |= {} if mode is None else {"training": mode}
        nodes[part].append(
            {"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": options}
        )
        before = [part.name, len(nodes[part]) - 1, 0]
    layers = described_parts([*nodes])
    for config, (part, inbound) in zip(layers, nodes.items(), strict=True):
        config |= {"name": part.name, "inbound_nodes": inbound}
    before[1] += (inputs, *stack)[-1]._is_chain  # Keras numbers the calls of such models from 1 on
    ends = {"input_layers": [inputs.name, 0, 0], "output_layers": before}
    return {"name": name, "trainable": trainable, "layers": layers, **ends}


def parts_from_config(config: object) -> list[Part]:
    """Returns the layers and models that the config of a model lists, one as often as it is called.

    Raises:
        ValueError: if it isn't the config of a model.
    """
    parts = []
    with sharing() as made:
        for each in layers_in(config):
            known = identity_of(each)
            if known not in made:
                model = is_of_model(each)
                made[known] = deserialize_keras_object({"module": "keras"} | each) if model else get(each)
            parts.append(made[known])
    return parts


def made_from_arguments(cls: type[Any], config: Mapping[str, Any]) -> Any:
    """Returns an object of a user's class whose `get_config` returned the arguments of its constructor."""
    try:
        return cls(**config)
    except TypeError as error:
        msg = (
            f"{cls.__name__} can't be made from its config, {dict(config)}: let get_config() return the arguments of "
            f"__init__, or write a class method from_config(cls, config) that takes what it returns ({error})"
        )
        raise TypeError(msg) from error
