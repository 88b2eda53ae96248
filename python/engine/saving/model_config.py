"""Models as JSON in Keras' form, and models made from that, with checks that a config from a file is plausible."""

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
from engine.saving._model_weights import paths_of
from engine.saving.contents import Reader, Slot
from engine.utils import deserialize_keras_object, serialize_keras_object
from engine.utils.serialization import MODELS, arguments_in, identity_of, is_of_model, layers_in

# The most numbers in one sample between two layers, as of an image of 4096 x 4096. A file that asks for more is damaged, or
# is meant to fill the memory.
MOST_NUMBERS = 2**24
# The most uses of layers in a model. A small file could only ask for more by models that contain each other several times.
MOST_USES = 2**16
# The keys in Keras' description of an object.
_NAMES = ("module", "class_name", "config", "registered_name")


def config_of(model: Any, compiled: bool = True) -> dict[str, Any]:
    """Returns a model without its weights as plain Python values.

    Args:
        model: a model.
        compiled: whether to include the arguments of `compile`.
    """
    config: dict[str, Any] = serialize_keras_object(model)
    if model.built:
        config["build_config"] = {"input_shape": model.input_shape}
    compile_config = model.get_compile_config() if compiled else {}
    return config | ({"compile_config": compile_config} if compile_config else {})


def text_of(config: Mapping[str, Any], **options: Any) -> str:
    """Returns a config as JSON.

    Args:
        config: the config of a model.
        options: options of `json.dumps`.
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
    """Returns a model without its weights as JSON.

    Args:
        model: the model.
        kwargs: options of `json.dumps`.
    """
    return text_of(config_of(model), **kwargs)


def parsed(text: str | bytes | None) -> dict[str, Any]:
    """Returns a config from its JSON.

    Raises:
        ValueError: if the text is missing, is no JSON, or has NaN or infinity.
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
    """Returns the model that `config_of` described, with new weights and not compiled."""
    model = deserialize_keras_object({name: config.get(name) for name in _NAMES if name in config})
    if not hasattr(model, "load_weights"):
        msg = f"the config must be that of a model, got that of {model!r}"
        raise ValueError(msg)
    shape = (config.get("build_config") or {}).get("input_shape")
    if shape is not None and not model.built and model.layers:
        model.build(shape)
    return model


def require_sizes(config: Mapping[str, Any], reader: Reader) -> None:
    """Raises ValueError unless the file holds the weights that the model needs.

    This is checked before the model is made, so that a small file can't make it allocate large weights.

    Args:
        config: the config of the model.
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
    """Returns a config of a layer or model that lists the layers.

    The class of a user's model may have its own `get_config`, which doesn't list them. Then the model is made to find out.
    """
    if not isinstance(config, Mapping) or not is_of_model(config):
        return config
    inner = config.get("config")
    if isinstance(inner, Mapping) and "layers" not in inner and config.get("class_name") not in MODELS:
        return {**config, "config": deserialize_keras_object(config)._config_of_parts()}
    return config


def _given_shape(config: object) -> Shape | None:
    """Returns the shape of one sample, if the first layer in a model's config has it; else None."""
    for first in map(_with_layers, layers_in(config)[:1]):
        return (
            _given_shape(first["config"])
            if is_of_model(first)
            else layer_classes.get(first)._given_input_shape
        )
    return None


class _Need(NamedTuple):
    """The weights that a layer needs from a file.

    Args:
        slot: the position of the layer in the file.
        layer: the layer.
        shapes: the shapes of its weights; None if the shape of its inputs is unknown, so that it has no weights yet.
    """

    slot: Slot
    layer: Layer
    shapes: list[Shape] | None


class _Inventory:
    """Collects the weights that the layers of a model need from a file. A layer that is used several times counts once."""

    def __init__(self) -> None:
        self.needs: list[_Need] = []
        # For each layer or model, by its `identity_of`, the config, and the layer or None for a model.
        self._parts: dict[Any, tuple[Any, Layer | None]] = {}
        self._uses = 0

    def add_model(
        self, config: object, shape: Shape | None, root: str = "", learns: bool | None = None
    ) -> Shape | None:
        """Adds the layers of a model, and returns the shape of its output for one sample, or None if it is unknown.

        Args:
            config: the config of the model.
            shape: the shape of one sample, if it is known.
            root: the prefix of all paths.
            learns: whether the layer of the outermost model that contains this one, or is it, is trainable; None for the
                outermost model itself.
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
        # The files of a Functional model have each of its layers once, even if it is used several times.
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
