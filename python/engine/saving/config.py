"""Models as JSON, in Keras' form, and back."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from itertools import chain, repeat
from typing import Any, NamedTuple, cast

from engine import layers as layer_classes
from engine._base.checks import Shape, filled, fits
from engine.layers import InputLayer, Layer
from engine.layers._call_arguments import call_arguments
from engine.saving._state import paths_of
from engine.saving.contents import Reader, Slot
from engine.utils import deserialize_keras_object, serialize_keras_object
from engine.utils.serialization import MODELS, arguments_in, identity_of, is_of_model, layers_in

# Numbers in a sample between two layers: an image of 4096 x 4096. More is a slip, or meant to fill the memory.
MOST_NUMBERS = 2**24
# Uses of layers in a model: more would take models within models, each of which comes several times.
MOST_USES = 2**16
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
    inner = _with_layers(config).get("config")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
        msg = (
            f"the config must be that of a Sequential, with 'layers', a list; got class {config.get('class_name')!r} and "
            f"{inner!r:.200}"
        )
        raise ValueError(msg)
    built = (config.get("build_config") or {}).get("input_shape")
    shape = None if _given_shape(inner) or not built else InputLayer(batch_shape=built).sample_shape
    inventory = _Inventory()
    inventory.add_model(inner, shape)
    needs = inventory.needs
    if all(need.shapes is None for need in needs):
        return
    for (_, layer, shapes), source in zip(needs, reader.layers([need.slot for need in needs]), strict=True):
        if shapes is None or type(layer).load_own_variables is not Layer.load_own_variables:
            continue
        stored = source.shapes
        found = [stored.get(str(position)) for position in range(len(stored))]
        if found != shapes:
            msg = (
                f"the config of layer {layer.name!r} needs weights of shapes {shapes}, but the file has {found!s:.200} "
                "for it"
            )
            raise ValueError(msg)


def _with_layers(config: Any) -> Any:
    """A config of a model or a layer; of a model whose class has a `get_config` of its own, one that tells the layers."""
    if not isinstance(config, Mapping) or not is_of_model(config):
        return config
    inner = config.get("config")
    if isinstance(inner, Mapping) and "layers" not in inner and config.get("class_name") not in MODELS:
        return {**config, "config": deserialize_keras_object(config)._config_of_parts()}
    return config


def _given_shape(config: object) -> Shape | None:
    """The shape of one sample that a model's config tells."""
    for first in map(_with_layers, layers_in(config)[:1]):
        return (
            _given_shape(first["config"])
            if is_of_model(first)
            else layer_classes.get(first)._given_input_shape
        )
    return None


class _Need(NamedTuple):
    """What a layer needs from a file.

    Args:
        slot: where its weights are.
        layer: the layer.
        shapes: of its weights; None where nothing tells the inputs' shape, so that there are none yet.
    """

    slot: Slot
    layer: Layer
    shapes: list[Shape] | None


class _Inventory:
    """What the layers of a model need from a file. A layer that comes again needs nothing more."""

    def __init__(self) -> None:
        self.needs: list[_Need] = []
        # The config of each layer or model by what `identity_of` returns, and the layer, if it is one.
        self._parts: dict[Any, tuple[Any, Layer | None]] = {}
        self._uses = 0

    def add_model(
        self, config: object, shape: Shape | None, root: str = "", learns: bool | None = None
    ) -> Shape | None:
        """The shape of one output, as far as something tells.

        Args:
            config: of the model.
            shape: of one sample, if something tells.
            root: before all paths.
            learns: whether the model learns that is within the outermost one, and has this one within or is it.
        """
        given = _given_shape(config)
        if given is not None and shape is not None and not fits(shape, given):
            msg = f"a model takes samples of shape {given}, but gets {shape} in the model around it"
            raise ValueError(msg)
        shape = given or shape
        configs = [_with_layers(each) for each in layers_in(config)]
        keys = [identity_of(each) for each in configs]
        new = set(keys) - self._parts.keys()
        for key, each in zip(keys, configs, strict=True):
            if key not in self._parts:
                self._parts[key] = (each, None if is_of_model(each) else layer_classes.get(each))
        # A Functional lists each of its layers once.
        listed = list(dict.fromkeys(keys)) if "output_layers" in cast("Mapping[str, Any]", config) else keys
        paths = dict(reversed([*zip(listed, paths_of(map(self._kind, listed), root), strict=True)]))
        arguments = arguments_in(cast("Mapping[str, Any]", config))
        for key, called_with in zip(keys, chain([None], arguments or repeat(None)), strict=False):
            layer = self._parts[key][1]
            if called_with and layer is not None and layer._is_custom and layer._shape_arguments is None:
                layer._shape_arguments = call_arguments(layer.name, layer.call, (), called_with)
            shape = self._add_use(key, paths[key], shape, learns, key in new)
            new.discard(key)
        return shape

    def _kind(self, key: Any) -> str:
        config, layer = self._parts[key]
        return str(config["class_name"]) if layer is None else type(layer).__name__

    def _add_use(
        self, key: Any, path: str, shape: Shape | None, learns: bool | None, new: bool
    ) -> Shape | None:
        self._uses += 1
        if self._uses > MOST_USES:
            msg = f"a file may ask for {MOST_USES} uses of layers at most"
            raise ValueError(msg)
        config, layer = self._parts[key]
        if layer is None:
            inner = config["config"]
            out = self.add_model(
                inner, shape, f"{path}/", inner.get("trainable", True) if learns is None else learns
            )
            return None if shape is None else out
        need = _Need(Slot(path), layer, None)
        if shape is not None:
            _require_size(shape, layer.name)
            weights = sorted(layer._weights_for(shape), key=lambda weight: not weight.trainable)
            learning = layer.trainable and learns is not False
            slot = Slot(path, len(weights), sum(weight.trainable for weight in weights) if learning else 0)
            need = _Need(slot, layer, [weight.shape for weight in weights])
            shape = layer._output_shape_for(shape)
            _require_size(shape, layer.name)
        if new:
            self.needs.append(need)
        return shape


def _require_size(shape: Shape, name: str) -> None:
    if math.prod(filled(shape, 1)) > MOST_NUMBERS:
        msg = f"at layer {name!r} a sample has the shape {shape}: a file may ask for {MOST_NUMBERS} numbers at most"
        raise ValueError(msg)


def _refuse(constant: str) -> Any:
    msg = f"the config must hold finite numbers, got {constant}"
    raise ValueError(msg)
