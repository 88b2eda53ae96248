"""Objects as plain Python values in Keras' form, and back, and functions that read the configs of models.

A config of a model lists its layers and how they are connected. `engine.saving` and `engine.models` read it with these.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import numpy as np

from engine._base.checks import flag
from engine._base.registered_objects import (
    custom_object_scope,
    instance_from_config,
    is_of_engine,
    registered_by,
)
from engine._base.spec import Spec, array_of_config, described, serialize
from engine._core_interface.cpp import ContextValue

_PLAIN = (str, int, float, bool, type(None))
_LIBRARIES = ("engine", "keras")
# The modules whose classes and functions a config may name. Nothing in them has side effects, so that a config from a file
# can't do harm.
_PACKAGES = {
    "activations",
    "constraints",
    "distillation",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "random",
    "regularizers",
}
_FORMULAS = ("activations", "losses", "metrics")
_NO_FORMULAS = {"deserialize", "metric_for_training", "get", "lower", "serialize"}
MODELS = ("Functional", "Model", "Sequential")
_DISTILLER = "Distiller"  # the library's model with a `call`
_ENSEMBLE = "Ensemble"
# The key that has the same value in all configs of one object, as in Keras.
_SHARED = "shared_object_id"
_known: ContextVar[dict[Any, Any] | None] = ContextVar("_known", default=None)


def sharing() -> AbstractContextManager[dict[Any, Any]]:
    """Returns a context manager, which returns the dict of the objects that occurred so far in a model and the models within it. Nested blocks share it."""
    outer = _known.get()
    return ContextValue(_known, {} if outer is None else outer)


def described_parts(parts: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the configs of layers and models. Those of an object that occurs several times are marked as the same one."""
    configs = []
    with sharing() as shared_parts:
        for part in parts:
            configs.append(config := serialize_keras_object(part))
            first = shared_parts.setdefault(part, config)
            if first is not config:
                config[_SHARED] = first.setdefault(_SHARED, list(shared_parts).index(part))
    return configs


def identity_of(config: Any) -> Any:
    """Returns a key for a config that `layers_in` returned. Configs of the same object, and only these, have equal keys."""
    if not isinstance(config, Mapping):
        return object()
    number = config.get(_SHARED)
    return (_SHARED, number) if isinstance(number, int) else id(config)


def serialize_keras_object(obj: Any) -> Any:  # noqa: PLR0911 # one for each kind
    """Returns a description of `obj` as plain Python values.

    Args:
        obj: a layer, loss, optimizer, model or similar object; a function; a number, string or array; or a list,
            tuple or dict of these.

    Returns:
        For an object a dict with `module`, `class_name`, `config` and `registered_name`.

    Raises:
        TypeError: if `obj` is of another type.
    """
    if isinstance(obj, _PLAIN):
        return obj
    if isinstance(obj, (Mapping, list, tuple)):
        return _contents(obj)
    if isinstance(obj, (np.ndarray, np.generic)):
        numbers = {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
        return numbers if isinstance(obj, np.ndarray) else obj.item()
    if isinstance(obj, slice):
        ends = {"start": obj.start, "stop": obj.stop, "step": obj.step}
        return {"class_name": "__slice__", "config": _contents(ends)}
    if obj is ...:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, Spec) or hasattr(obj, "get_config"):
        return _described_object(obj)
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode()}}
    if callable(obj) and not isinstance(obj, type) and hasattr(obj, "__name__"):
        return described(obj, "function", obj.__name__)
    msg = f"{obj!r} can't be serialized: it is no plain value and has no `get_config`"
    raise TypeError(msg)


def _described_object(obj: Any) -> dict[str, Any]:
    """Returns the description of an object with a config. What the `get_config` of a user returns may have objects within."""
    kind = type(obj)
    config = (
        serialize(obj)
        if isinstance(obj, Spec)
        else described(kind, kind.__name__, obj.get_config()) | vars(kind).get("_saved_as", {})
    )
    return config if is_of_engine(kind) else {**config, "config": _with_objects_described(config["config"])}


def _with_objects_described(config: Any) -> Any:
    """Returns a config with descriptions in place of objects and functions, at any depth."""
    if isinstance(config, Mapping):
        return {key: _with_objects_described(value) for key, value in config.items()}
    if type(config) in (list, tuple):
        return type(config)(map(_with_objects_described, config))
    is_object = hasattr(config, "get_config") or inspect.isfunction(config)
    return serialize_keras_object(config) if is_object and not isinstance(config, type) else config


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """Returns the object that `serialize_keras_object` described.

    Args:
        config: what `serialize_keras_object` returned.
        custom_objects: dict from names to custom classes and functions.
        safe_mode: Ignored. Code stored in a config is never run.

    Raises:
        ValueError: if a class is unknown.
    """
    flag(safe_mode, "safe_mode")
    with custom_object_scope(custom_objects):
        return _deserialized(config)


def _contents(obj: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> Any:
    if isinstance(obj, Mapping):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    values = [serialize_keras_object(value) for value in obj]
    return values if isinstance(obj, list) else {"class_name": "__tuple__", "config": {"value": values}}


def _deserialized(config: Any) -> Any:
    if isinstance(config, list):
        return [_deserialized(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config:
        return {key: _deserialized(value) for key, value in config.items()}
    return _deserialized_by_class(str(config["class_name"]), config.get("config") or {}, config)


_BUILT_INS: Mapping[str, Callable[[Any], Any]] = {
    "__tuple__": lambda inner: tuple(_deserialized(value) for value in inner["value"]),
    "__numpy__": array_of_config,
    "__bytes__": lambda inner: str(inner["value"]).encode(),
    "__slice__": lambda inner: slice(*(_deserialized(inner[end]) for end in ("start", "stop", "step"))),
    "__ellipsis__": lambda _: ...,
}


def _deserialized_by_class(name: str, inner: Any, config: Mapping[str, Any]) -> Any:
    if name == "__lambda__":
        msg = (
            "a Python lambda is code in a file, which is never run here: give the function a name, and register it "
            "with @register_keras_serializable() or pass it in `custom_objects`"
        )
        raise ValueError(msg)
    if name in _BUILT_INS:
        return _BUILT_INS[name](inner)
    if name == "function":
        return _class_named(str(inner), config)
    return instance_from_config(_class_named(name, config), inner)


def _class_named(name: str, config: Mapping[str, Any]) -> Any:
    """Returns the class or function that a config names, the user's or the library's."""
    registered = registered_by(config, name)
    if registered is not None:
        return registered
    is_function = config["class_name"] == "function"
    module = str(config.get("module") or "")
    library, *path = module.replace("keras.src", "keras").split(".")
    module_paths = (
        [path[: 2 if path[1:2] == ["schedules"] else 1] or ["models"]] if library in _LIBRARIES else []
    )
    if is_function and module == "builtins":
        module_paths = [[package] for package in _FORMULAS]
    for module_path in module_paths:
        function = _public(".".join(["engine", *module_path]), name) if module_path[0] in _PACKAGES else None
        formula = (
            module_path[0] in _FORMULAS
            and name not in _NO_FORMULAS
            and callable(function)
            and not isinstance(function, type)
        )
        if function is not None and (formula if is_function else hasattr(function, "from_config")):
            return function
    msg = (
        f"unknown class or function {name!r} of module {config.get('module')!r}: pass it in `custom_objects`, or "
        "register it with @register_keras_serializable()"
    )
    raise ValueError(msg)


def require_known_class(config: Mapping[str, Any]) -> None:
    """Raises ValueError, with what to do, if a config names a class that is neither the library's nor registered."""
    name = str(config.get("class_name"))
    if name != "function":
        _class_named(name, config)


def _public(module: str, name: str) -> Any:
    """Returns the object of a name if the module makes it public; else None."""
    public_module = importlib.import_module(module)
    return getattr(public_module, name) if name in public_module.__all__ else None


def is_of_model(config: Any) -> bool:
    """Returns whether a config is that of a model and not of a layer."""
    if not isinstance(config, Mapping):
        return False
    name = str(config.get("class_name"))
    registered = registered_by(config, name)
    if registered is None:
        return name in {*MODELS, _DISTILLER, _ENSEMBLE}
    from engine.layers.layer import Layer
    from engine.layers.part import Part

    return isinstance(registered, type) and issubclass(registered, Part) and not issubclass(registered, Layer)


def is_distiller(config: Mapping[str, Any]) -> bool:
    """Returns whether a config is that of a `Distiller` of the library, and not of a user's class of this name."""
    return config.get("class_name") == _DISTILLER and registered_by(config, _DISTILLER) is None


def layers_in(config: object) -> list[Any]:
    """Returns the configs of the layers of a Sequential, from the input to the output.

    Args:
        config: what the model's `get_config` returned.

    Raises:
        ValueError: if it is no config of a model.
    """
    if not isinstance(config, Mapping) or "name" not in config or not isinstance(config.get("layers"), list):
        msg = f"a config of a model must be a dict with 'name' and 'layers', a list; got {config!r:.200}"
        raise ValueError(msg)
    layers = list(config["layers"])
    shape = config.get("build_input_shape")
    first = layers[0] if layers else None
    if shape and isinstance(first, Mapping) and first.get("class_name") not in (*MODELS, "InputLayer"):
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape}})
    return layers
