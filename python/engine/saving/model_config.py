"""Models as JSON in Keras' form, and models made from that, with checks that a config from a file is plausible."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from engine import layers as layer_classes
from engine._base.checks import Shape, filled, fits
from engine.layers import InputLayer, Layer
from engine.layers.call_arguments import call_arguments
from engine.layers.operation import is_of_operation
from engine.layers.symbols import CallArguments
from engine.saving._model_weights import paths_of
from engine.saving.contents import Reader, Slot
from engine.saving.model_interface import SavedModel, is_model
from engine.utils import deserialize_keras_object, serialize_keras_object
from engine.utils.functional_calls import CallInConfig, GraphInConfig, ValueSource, graph_in
from engine.utils.serialization import MODELS, identity_of, is_distiller, is_of_model, layers_in

# The most numbers in one sample between two layers, as of an image of 4096 x 4096. A file that asks for more is damaged, or
# is meant to fill the memory.
MOST_NUMBERS = 2**24
# The most uses of layers in a model. A small file could only ask for more by models that contain each other several times.
MOST_USES = 2**16
# The keys in Keras' description of an object.
_NAMES = ("module", "class_name", "config", "registered_name")


def config_of(model: SavedModel, compiled: bool = True) -> dict[str, Any]:
    """Returns a model without its weights as plain Python values.

    Args:
        model: a model.
        compiled: whether to include the arguments of `compile`.
    """
    config: dict[str, Any] = serialize_keras_object(model)
    if model.built:
        of_call = model._attributes_of_user is not None  # whose inputs have the form that its `call` takes
        config["build_config"] = model.get_build_config() if of_call else {"input_shape": model.input_shape}
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


def model_to_json(model: SavedModel, **kwargs: Any) -> str:
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


def model_of(config: Mapping[str, Any]) -> SavedModel:
    """Returns the model that `config_of` described, with new weights and not compiled."""
    model: object = deserialize_keras_object({name: config.get(name) for name in _NAMES if name in config})
    if not is_model(model):
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
    inventory = _Inventory()
    if is_distiller(config):
        _add_models_of_distiller(config, inventory)
    else:
        listed = _with_layers(config)
        if listed is None or _holds_code(
            listed
        ):  # what the weights are follows from operations that must run
            return
        inner = listed.get("config")
        if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
            msg = (
                f"the config must be that of a Sequential, with 'layers', a list; got class {config.get('class_name')!r} and "
                f"{inner!r:.200}"
            )
            raise ValueError(msg)
        inventory.add_model(inner, _shapes_to_build_for(config, inner))
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


def _shapes_to_build_for(config: Mapping[str, Any], inner: Mapping[str, Any]) -> list[Shape] | None:
    """Returns the shapes of samples that a file says a model was built for, unless its config has them or it isn't built."""
    built = (config.get("build_config") or {}).get("input_shape")
    given = _given_shapes(inner) is not None or not built
    return None if given else [InputLayer(batch_shape=built).sample_shape]


def _add_models_of_distiller(config: Mapping[str, Any], inventory: _Inventory) -> None:
    """Adds the layers of the teacher and the student to those whose weights a file must hold."""
    own = config.get("config")
    models: list[Any] = (
        [own.get(role) for role in ("teacher", "student")] if isinstance(own, Mapping) else [None]
    )
    if not all(map(is_of_model, models)):
        msg = f"the config of a Distiller must hold its 'teacher' and 'student', two models, got {own!r:.200}"
        raise ValueError(msg)
    for path, model in zip(paths_of([each["class_name"] for each in models]), models, strict=True):
        listed = _with_layers(model)
        if listed is not None and not _holds_code(listed):
            inner = listed["config"]
            learns = bool(inner.get("trainable", True))
            inventory.add_model(inner, _shapes_to_build_for({**config, **model}, inner), f"{path}/", learns)


def _holds_code(config: Any) -> bool:
    """Returns whether there are operations on symbols, or models with a `call` of their own, in a model at any depth."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if not isinstance(layers, list):
        return False
    return any(is_of_operation(each) or _with_layers(each) is None or _holds_code(each) for each in layers)


def _with_layers(config: Any) -> Any:
    """Returns a config of a layer or model that lists the layers; None for a model with a `call` of its own.

    The class of a user's model may have its own `get_config`, which doesn't list them. Then the model is made to find out.
    """
    if not isinstance(config, Mapping) or not is_of_model(config):
        return config
    inner = config.get("config")
    if isinstance(inner, Mapping) and "layers" not in inner and config.get("class_name") not in MODELS:
        model = deserialize_keras_object(config)
        return (
            None if model._attributes_of_user is not None else {**config, "config": model._config_of_parts()}
        )
    return config


def _graph_of(config: Any) -> GraphInConfig:
    """Returns the layers and calls in the config of a model. Those of a Sequential are a chain without input layers."""
    if isinstance(config, Mapping) and "output_layers" in config:
        return graph_in(config)
    layers = layers_in(config)
    calls = [
        CallInConfig(layer, [ValueSource(number - 1, 0)], None, CallArguments(), [])
        for number, layer in enumerate(layers)
    ]
    return GraphInConfig(layers, [], calls, [ValueSource(len(layers) - 1, 0)])


def _given_shapes(config: Any) -> list[Shape] | None:
    """Returns the shape of one sample of each input, if a model's config has them; else None."""
    if isinstance(config, Mapping) and "output_layers" in config:
        found = [layer_classes.get(start)._given_input_shape for start in graph_in(config).starts]
        return None if None in found else cast("list[Shape]", found)
    for first in map(_with_layers, layers_in(config)[:1]):
        if is_of_model(first):
            return _given_shapes(first["config"])
        shape = layer_classes.get(first)._given_input_shape
        return None if shape is None else [shape]
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
        self, config: Any, shapes: list[Shape] | None, root: str = "", learns: bool | None = None
    ) -> list[Shape] | None:
        """Adds the layers of a model, and returns the shape of one sample of each output, or None if it is unknown.

        Args:
            config: the config of the model.
            shapes: the shape of one sample of each input, if they are known.
            root: the prefix of all paths.
            learns: whether the layer of the outermost model that contains this one, or is it, is trainable; None for the
                outermost model itself.
        """
        given = _given_shapes(config)
        if (
            given is not None
            and shapes is not None
            and (len(given) != len(shapes) or not all(map(fits, shapes, given)))
        ):
            msg = f"a model takes samples of shape {_text(given)}, but gets {_text(shapes)} in the model around it"
            raise ValueError(msg)
        inputs = given or shapes
        graph = _graph_of(config)
        configs = [_with_layers(each) for each in graph.listed]
        keys = [identity_of(each) for each in configs]
        new = set(keys) - self._parts.keys()
        for key, each in zip(keys, configs, strict=True):
            if key not in self._parts:
                self._parts[key] = (each, None if is_of_model(each) else layer_classes.get(each))
        key_of = {id(each): key for each, key in zip(graph.listed, keys, strict=True)}
        # The files of a Functional model have each of its layers once, even if it is used several times.
        listed = list(dict.fromkeys(keys)) if graph.starts else keys
        paths = dict(reversed([*zip(listed, paths_of(map(self._kind, listed), root), strict=True)]))
        before, needs = self.needs, dict[Any, list[_Need]]()
        values: list[list[Shape] | None] = []

        def use(layer: Any, read: list[Shape] | None) -> list[Shape] | None:
            key = key_of[id(layer)]
            self.needs = needs.setdefault(key, [])
            found = self._add_use(key, paths[key], read, learns, key in new)
            new.discard(key)
            return found

        for number, start in enumerate(graph.starts):
            use(start, None if inputs is None else [inputs[number]])
        for call in graph.calls:
            part = self._parts[key_of[id(call.layer)]][1]
            if call.arguments and part is not None and part._is_custom and part._shape_arguments is None:
                part._shape_arguments = call_arguments(part.name, part.call, (), call.arguments)
            values.append(use(call.layer, _shapes_at(call.reads, inputs, values)))
        self.needs = before
        for key in dict.fromkeys(listed):
            self.needs += needs.get(key, [])
        return _shapes_at(graph.outputs, inputs, values)

    def _kind(self, key: Any) -> str:
        config, layer = self._parts[key]
        return str(config["class_name"]) if layer is None else type(layer).__name__

    def _add_use(
        self, key: Any, path: str, shapes: list[Shape] | None, learns: bool | None, new: bool
    ) -> list[Shape] | None:
        self._uses += 1
        if self._uses > MOST_USES:
            msg = f"a file may ask for {MOST_USES} uses of layers at most"
            raise ValueError(msg)
        config, layer = self._parts[key]
        if layer is None:
            inner = config["config"]
            found = self.add_model(
                inner, shapes, f"{path}/", inner.get("trainable", True) if learns is None else learns
            )
            return None if shapes is None else found  # as the model around it isn't built
        need = _Need(Slot(path), layer, None)
        outputs = None
        if shapes is not None:
            _require_size(shapes[0], layer.name)
            weights = sorted(layer._weights_for(shapes[0]), key=lambda weight: not weight.trainable)
            learning = layer.trainable and learns is not False
            slot = Slot(path, len(weights), sum(weight.trainable for weight in weights) if learning else 0)
            need = _Need(slot, layer, [weight.shape for weight in weights])
            outputs = layer._output_shapes_for(shapes)
            _require_size(outputs[0], layer.name)
        if new:
            self.needs.append(need)
        return outputs


def _text(shapes: Sequence[Shape]) -> str:
    return str(shapes[0] if len(shapes) == 1 else list(shapes))


def _shapes_at(
    sources: Sequence[ValueSource], inputs: list[Shape] | None, values: Sequence[list[Shape] | None]
) -> list[Shape] | None:
    """Returns the shapes of values, if all of them are known.

    Args:
        sources: what computes them.
        inputs: the shapes of the inputs of the model.
        values: the shapes of the outputs of each call so far.
    """
    found = []
    for call, output in sources:
        shapes = inputs if call < 0 else values[call]
        if shapes is None:
            return None
        found.append(shapes[-1 - call if call < 0 else output])
    return found


def _require_size(shape: Shape, name: str) -> None:
    if math.prod(filled(shape, 1)) > MOST_NUMBERS:
        msg = f"at layer {name!r} a sample has the shape {shape}: a file may ask for {MOST_NUMBERS} numbers at most"
        raise ValueError(msg)


def _refuse(constant: str) -> Any:
    msg = f"the config must hold finite numbers, got {constant}"
    raise ValueError(msg)
