"""Models as JSON, in Keras' form, and back."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

from engine import layers as layer_classes
from engine._checks import Shape
from engine.layers import InputLayer, Layer
from engine.saving._state import paths_of
from engine.saving.contents import Reader
from engine.utils import deserialize_keras_object, serialize_keras_object

# Numbers in a sample between two layers: an image of 4096 x 4096. More is a slip, or meant to fill the memory.
MOST_NUMBERS = 2**24
# What Keras' description of an object has.
_NAMES = ("module", "class_name", "config", "registered_name")


def config_of(model: Any, compiled: bool = True) -> dict[str, Any]:
    """The model without its weights, as plain Python values.

    Args:
        model: a model.
        compiled: whether with what it was compiled with.
    """
    config: dict[str, Any] = serialize_keras_object(model)
    if model.built:
        config["build_config"] = {"input_shape": model.input_shape}
    compile_config = model.get_compile_config() if compiled else {}
    return config | ({"compile_config": compile_config} if compile_config else {})


def text_of(config: Mapping[str, Any], **options: Any) -> str:
    """A config as JSON.

    Args:
        config: of a model.
        options: of `json.dumps`.
    """
    text = json.dumps(config, **({"default": serialize_keras_object} | options))
    if '"<lambda>"' in text:
        warnings.warn(
            "The object being serialized includes a `lambda`, which no file can hold: to load it again give the "
            "function a name",
            stacklevel=4,
        )
    return text


def model_to_json(model: Any, **kwargs: Any) -> str:
    """The model without its weights as JSON.

    Args:
        model: what to describe.
        kwargs: options of `json.dumps`.
    """
    return text_of(config_of(model), **kwargs)


def parsed(text: str | bytes | None) -> dict[str, Any]:
    """The config that a file holds.

    Raises:
        ValueError: if it is no JSON, or holds NaN or infinity.
    """
    if text is None:
        msg = "there is no config, so these are weights alone: make the model and call its load_weights()"
        raise ValueError(msg)
    try:
        config = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        msg = f"the config is no JSON: {error}"
        raise ValueError(msg) from error
    if not isinstance(config, dict):
        msg = f"the config must be an object of JSON, got {type(config).__name__}"
        raise ValueError(msg)
    return config


def model_of(config: Mapping[str, Any]) -> Any:
    """The model that `config_of` described, with fresh weights; not compiled."""
    model = deserialize_keras_object({name: config.get(name) for name in _NAMES if name in config})
    if not hasattr(model, "load_weights"):
        msg = f"the config must be that of a model, got that of {model!r}"
        raise ValueError(msg)
    shape = (config.get("build_config") or {}).get("input_shape")
    if shape is not None and not model.built and model.layers:
        model.build(shape)
    return model


def require_sizes(config: Mapping[str, Any], reader: Reader) -> None:
    """Raise ValueError unless the weights that the model needs are in the file, before memory is taken for them.

    Args:
        config: of the model.
        reader: the file.
    """
    inner = config.get("config")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
        msg = (
            f"the config must be that of a Sequential, with 'layers', a list; got class {config.get('class_name')!r} and "
            f"{inner!r:.200}"
        )
        raise ValueError(msg)
    stack: list[Layer] = [layer_classes.get(layer) for layer in inner["layers"]]
    shape = _input_shape(stack, config)
    stack = [layer for layer in stack if not isinstance(layer, InputLayer)]
    wanted = []
    for layer in stack:
        if shape is None:
            return
        _require_size(shape, layer.name)
        weights = layer.weights_for(shape)
        wanted.append([weight.shape for weight in sorted(weights, key=lambda weight: not weight.trainable)])
        shape = layer.output_shape_for(shape)
        _require_size(shape, layer.name)
    sources = reader.layers(paths_of(stack), [bool(shapes) for shapes in wanted])
    for layer, shapes, source in zip(stack, wanted, sources, strict=True):
        if type(layer).load_own_variables is not Layer.load_own_variables:
            continue
        found = [source.shapes.get(str(position)) for position in range(len(source))]
        if found != shapes:
            msg = f"the config of layer {layer.name!r} needs weights of shapes {shapes}, but the file has {found} for it"
            raise ValueError(msg)


def _input_shape(stack: list[Layer], config: Mapping[str, Any]) -> Shape | None:
    given = [layer.given_input_shape for layer in stack[:1]]
    if given and given[0] is not None:
        return given[0]
    built = config["config"].get("build_input_shape") or (config.get("build_config") or {}).get("input_shape")
    return InputLayer(batch_shape=built).shape if built else None


def _require_size(shape: Shape, name: str) -> None:
    if math.prod(shape) > MOST_NUMBERS:
        msg = f"at layer {name!r} a sample has the shape {shape}: a file may ask for {MOST_NUMBERS} numbers at most"
        raise ValueError(msg)


def _refuse(constant: str) -> Any:
    msg = f"the config must hold finite numbers, got {constant}"
    raise ValueError(msg)
