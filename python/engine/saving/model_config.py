"""Models as JSON in Keras' form, and models made from that, with checks that a config from a file is plausible."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import layers as layer_classes
from engine._base.checks import Shape, fits
from engine._tracing.extents import FullShape, full_shape, shape_of
from engine.layers import InputLayer, Layer
from engine.layers.call_arguments import call_arguments
from engine.layers.operation import OperationPart, is_of_operation, operation_from_config
from engine.layers.recorded_calls import arguments_with_dtypes
from engine.layers.symbols import CallArguments
from engine.layers.weights import WeightSpec
from engine.saving._model_weights import members, paths_of
from engine.saving.contents import MOST_EXPANSION, Reader, SavedLayer
from engine.saving.model_interface import SavedModel, is_model
from engine.utils import deserialize_keras_object, serialize_keras_object
from engine.utils.functional_calls import CallInConfig, GraphInConfig, ValueSource, graph_in
from engine.utils.serialization import (
    MODELS,
    identity_of,
    is_distiller,
    is_of_model,
    layers_in,
    require_known_class,
)

# The most numbers in one sample between two layers, as of an image of 4096 x 4096. A file that asks for more is damaged, or
# is meant to fill the memory.
MOST_NUMBERS = 2**24
# The most numbers that are made for a file of no size, as the weights and nodes of a model.
_NUMBERS_OF_EVERY_FILE = 2**24
# The most uses of layers in a model, at all depths: so many, and so many for each call in the config. Only models that
# contain each other several times ask for more, of which a small file can ask for billions.
_USES, _USES_OF_CALL = 2**14, 2**4
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


def most_numbers(size: int) -> int:
    """Returns how many numbers may be made for a model in a file of `size` bytes."""
    return _NUMBERS_OF_EVERY_FILE + MOST_EXPANSION * size // np.dtype(np.float32).itemsize


def require_sizes(config: Mapping[str, Any], reader: Reader) -> None:
    """Raises ValueError unless the file holds the weights that the model needs.

    This is checked before the model is made, so that a small file can't make it allocate large weights.

    Args:
        config: the config of the model.
        reader: the file.
    """
    needs = needs_of(config)
    if all(need.shapes is None for need in needs):
        return
    for (_, layer, shapes), source in zip(needs, reader.layers([need.slot for need in needs]), strict=True):
        if shapes is None or type(layer).load_own_variables is not Layer.load_own_variables:
            continue
        stored = source.shapes
        saved_shapes = [stored.get(str(position)) for position in range(len(stored))]
        if saved_shapes != shapes:
            msg = (
                f"the config of layer {layer.name!r} needs weights of shapes {shapes}, but the file has {saved_shapes!s:.200} "
                "for it"
            )
            raise ValueError(msg)


def needs_of(config: Mapping[str, Any]) -> list[_Need]:
    """Returns the weights that the layers of a model need; none for a model whose `call` says what they are.

    Raises:
        ValueError: if the config is no model's, asks for larger samples or more uses of layers than a config may, or has layers
            that don't fit together.
    """
    inventory = _Inventory()
    if is_distiller(config):
        _add_models_of_distiller(config, inventory)
    else:
        listed = _with_layers(config)
        if listed is None:
            return []
        inner = listed.get("config")
        if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
            require_known_class(config)
            msg = (
                f"the config must be that of a Sequential, with 'layers', a list; got class {config.get('class_name')!r} and "
                f"{inner!r:.200}"
            )
            raise ValueError(msg)
        inventory.add_model(inner, _inputs_to_build_for(config, inner))
    return inventory.needs


def _inputs_to_build_for(config: Mapping[str, Any], inner: Mapping[str, Any]) -> list[_Value] | None:
    """Returns the inputs that a file says a model was built for, unless its config has them or it isn't built."""
    built = (config.get("build_config") or {}).get("input_shape")
    has_shape = _declared_inputs(inner) is not None or not built
    return None if has_shape else [_Value(InputLayer(batch_shape=built).sample_shape)]


def _add_models_of_distiller(config: Mapping[str, Any], inventory: _Inventory) -> None:
    """Adds the layers of the teacher and the student to those whose weights a file must hold."""
    config_of_distiller = config.get("config")
    models: list[Any] = (
        [config_of_distiller.get(role) for role in ("teacher", "student")]
        if isinstance(config_of_distiller, Mapping)
        else [None]
    )
    if not all(map(is_of_model, models)):
        msg = f"the config of a Distiller must hold its 'teacher' and 'student', two models, got {config_of_distiller!r:.200}"
        raise ValueError(msg)
    for path, model in zip(paths_of([entry["class_name"] for entry in models]), models, strict=True):
        listed = _with_layers(model)
        if listed is not None:
            inner = listed["config"]
            learns = bool(inner.get("trainable", True))
            inventory.add_model(inner, _inputs_to_build_for(model, inner), f"{path}/", learns)


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


def _declared_inputs(config: Any) -> list[_Value] | None:
    """Returns the inputs of a model, if its config says what they are; else None."""
    if isinstance(config, Mapping) and "output_layers" in config:
        values = list[_Value]()
        for start in map(layer_classes.get, graph_in(config).starts):
            if start._given_input_shape is None:
                return None
            values.append(_Value(start._given_input_shape, getattr(start, "dtype", "float32")))
        return values
    for first in map(_with_layers, layers_in(config)[:1]):
        if is_of_model(first):
            return _declared_inputs(first["config"])
        shape = None if first is None else layer_classes.get(first)._given_input_shape
        return None if shape is None else [_Value(shape)]
    return None


class _Value(NamedTuple):
    """What is known of a value in a model: the shape of one sample, and the dtype."""

    shape: Shape
    dtype: str = "float32"


class _Need(NamedTuple):
    """The weights that a layer needs from a file.

    Args:
        slot: the position of the layer in the file.
        layer: the layer.
        shapes: the shapes of its weights; None if the shape of its inputs is unknown, so that it has no weights yet.
    """

    slot: SavedLayer
    layer: Layer
    shapes: list[Shape] | None


class _Inventory:
    """Collects the weights that the layers of a model need from a file. A layer that is used several times counts once."""

    def __init__(self) -> None:
        self.needs: list[_Need] = []
        # For each part, by its `identity_of`, the config, and the part; None for a model that lists its layers.
        self._parts: dict[Any, tuple[Any, Any]] = {}
        # For each model that was added, by its identity and its inputs, the outputs, and how many uses of layers it has.
        self._added: dict[Any, tuple[list[_Value] | None, int]] = {}
        self._uses, self._calls = 0, 0

    def add_model(
        self, config: Any, inputs: list[_Value] | None, root: str = "", learns: bool | None = None
    ) -> list[_Value] | None:
        """Adds the layers of a model, and returns its outputs, or None if they are unknown.

        Args:
            config: the config of the model.
            inputs: the inputs, if they are known.
            root: the prefix of all paths.
            learns: whether the layer of the outermost model that contains this one, or is it, is trainable; None for the
                outermost model itself.
        """
        declared = _declared_inputs(config)
        if declared is not None and inputs is not None:
            _require_same_inputs(inputs, declared)
        first_values = declared or inputs
        graph = _graph_of(config)
        self._calls += len(graph.calls)
        keys = [identity_of(layer) for layer in graph.listed]
        new = set(keys) - self._parts.keys()
        for key, part in zip(keys, graph.listed, strict=True):
            if key not in self._parts:
                self._parts[key] = _config_and_part(part)
        key_of = {id(layer): key for layer, key in zip(graph.listed, keys, strict=True)}
        # The files of a Functional model have each of its layers once, even if it is used several times.
        listed = list(dict.fromkeys(keys)) if graph.starts else keys
        paths = dict(reversed([*zip(listed, paths_of(map(self._kind, listed), root), strict=True)]))
        before, needs = self.needs, dict[Any, list[_Need]]()
        values: list[list[_Value] | None] = []

        def use(layer: Any, read: list[_Value] | None, call: CallInConfig | None) -> list[_Value] | None:
            key = key_of[id(layer)]
            self.needs = needs.setdefault(key, [])
            outputs = self._add_use(key, paths[key], read, call, learns=learns, new=key in new)
            new.discard(key)
            return outputs

        for number, start in enumerate(graph.starts):
            use(start, None if first_values is None else [first_values[number]], None)
        for call in graph.calls:
            values.append(use(call.layer, _values_at(call.reads, first_values, values), call))
        self.needs = before
        for key in dict.fromkeys(listed):
            self.needs += needs.get(key, [])
        return _values_at(graph.outputs, first_values, values)

    def _kind(self, key: Any) -> str:
        config, part = self._parts[key]
        return str(config["class_name"]) if part is None else type(part).__name__

    def _add_use(
        self,
        key: Any,
        path: str,
        read: list[_Value] | None,
        call: CallInConfig | None,
        *,
        learns: bool | None,
        new: bool,
    ) -> list[_Value] | None:
        self._count_uses(1)
        part = self._parts[key][1]
        if part is None:
            return self._add_inner(key, path, read, learns)
        if read is None:
            self.needs += [_Need(SavedLayer(path), part, None)] if new and isinstance(part, Layer) else []
            return None
        shapes, dtypes = [value.shape for value in read], [value.dtype for value in read]
        _require_size(shapes[0], part.name)
        if call is not None:
            _record_call(part, call, shapes, dtypes)
        has_code = not isinstance(part, Layer | OperationPart) or part._may_be_recorded
        if has_code:
            part._build_for_inputs(shapes)
        elif new and isinstance(part, Layer):
            self.needs.append(_need_of(part, path, part._weight_specs_for(shapes[0]), learns))
        outputs = part._output_shapes_for(shapes)
        for shape in outputs:
            _require_size(shape, part.name)
        if new and has_code:
            self.needs += _needs_of_code(part, path, learns)
        if call is not None:
            dtypes = part._output_dtypes_for(dtypes)
        return [_Value(*value) for value in zip(outputs, dtypes, strict=True)]

    def _add_inner(
        self, key: Any, path: str, read: list[_Value] | None, learns: bool | None
    ) -> list[_Value] | None:
        """Adds a use of a model. What the same model computes for the same inputs is known from its first use."""
        inner = self._parts[key][0]["config"]
        use_key = key, None if read is None else tuple(read)
        if use_key in self._added:
            outputs, uses = self._added[use_key]
            self._count_uses(uses)
        else:
            before = self._uses
            learns = inner.get("trainable", True) if learns is None else learns
            outputs = self.add_model(inner, read, f"{path}/", learns)
            self._added[use_key] = outputs, self._uses - before
        return None if read is None else outputs  # as the model around it isn't built

    def _count_uses(self, uses: int) -> None:
        self._uses += uses
        limit = _USES + _USES_OF_CALL * self._calls
        if self._uses > limit:
            msg = f"a config of {self._calls} calls of layers may ask for {limit} uses of layers at most, as models contain each other"
            raise ValueError(msg)


def _config_and_part(config: Any) -> tuple[Any, Any]:
    """Returns the config of a part of a model, and the part. For a model that lists its layers that is None."""
    if is_of_operation(config):
        return config, operation_from_config(config)
    if not is_of_model(config):
        return config, layer_classes.get(config)
    listed = _with_layers(config)
    return (config, deserialize_keras_object(config)) if listed is None else (listed, None)


def _record_call(part: Any, call: CallInConfig, shapes: Sequence[Shape], dtypes: Sequence[str]) -> None:
    """Tells an operation, or a part with Python code of its own, the arguments of a call on inputs of these shapes and dtypes."""
    if isinstance(part, OperationPart):
        part._with_operands(call.args, dtypes)
        return
    part._note_input_structure(call.arguments.inputs, shapes)
    if part._may_be_recorded:
        part._recorded_calls.note(len(dtypes), arguments_with_dtypes(call.arguments, dtypes))
    elif call.arguments and part._is_by_call and part._shape_arguments is None:
        part._shape_arguments = call_arguments(part.name, part.call, (), call.arguments)


def _need_of(layer: Layer, path: str, weights_listed: Sequence[WeightSpec], learns: bool | None) -> _Need:
    """Returns what a layer needs from a file.

    Args:
        layer: the layer.
        path: its path in the file.
        weights_listed: its weights.
        learns: whether the model around it is trainable, None for the outermost one.
    """
    weights = sorted(weights_listed, key=lambda weight: not weight.trainable)
    learning = layer.trainable and learns is not False
    slot = SavedLayer(path, len(weights), sum(weight.trainable for weight in weights) if learning else 0)
    return _Need(slot, layer, [weight.shape for weight in weights])


def _needs_of_code(part: Any, path: str, learns: bool | None) -> list[_Need]:
    """Returns what a built layer or model with a `call` of its own needs from a file, and the layers within it."""
    learns = part.trainable and learns is not False
    layers = [(path, part), *members(part, (), f"{path}/")]
    owned = [(name, layer if isinstance(layer, Layer) else layer._body) for name, layer in layers]
    return [_need_of(layer, name, layer._specs, learns) for name, layer in owned if layer is not None]


def _require_same_inputs(inputs: Sequence[_Value], expected: Sequence[_Value]) -> None:
    """Raises ValueError unless a model that says what its inputs are is called on such ones."""
    got, expected_shapes = [value.shape for value in inputs], [value.shape for value in expected]
    if len(got) != len(expected_shapes) or not all(map(fits, got, expected_shapes)):
        msg = f"a model takes samples of shape {_text(expected_shapes)}, but gets {_text(got)} in the model around it"
        raise ValueError(msg)


def _text(shapes: Sequence[Shape]) -> str:
    return str(shapes[0] if len(shapes) == 1 else list(shapes))


def _values_at(
    sources: Sequence[ValueSource], inputs: list[_Value] | None, values: Sequence[list[_Value] | None]
) -> list[_Value] | None:
    """Returns what is known of values, if all of them are known.

    Args:
        sources: what computes them.
        inputs: the inputs of the model.
        values: the outputs of each call so far.
    """
    selected = []
    for call, output in sources:
        source = inputs if call < 0 else values[call]
        if source is None:
            return None
        selected.append(source[-1 - call if call < 0 else output])
    return selected


def _require_size(shape: Shape | FullShape, name: str) -> None:
    lengths = shape_of(full_shape(shape), batch=1)
    if math.prod(1 if length is None else length for length in lengths) > MOST_NUMBERS:
        msg = f"at layer {name!r} the shape is {lengths}: a file may ask for {MOST_NUMBERS} numbers at most"
        raise ValueError(msg)


def _refuse(constant: str) -> Any:
    msg = f"the config must hold finite numbers, got {constant}"
    raise ValueError(msg)
