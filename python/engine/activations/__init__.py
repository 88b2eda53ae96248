"""Activation functions of NumPy arrays, computed by the same kernels as within layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from engine._base.checks import WrongTypeError, nearest
from engine._base.lazy_imports import on_first_use
from engine._base.registered_objects import registered_or_built_in
from engine._base.spec import Registry, Spec
from engine._base.spec import serialize as spec_config
from engine._core_interface.cpp import Float32
from engine._core_interface.operations import ActivationFields
from engine.activations import piecewise, rows, smooth
from engine.activations._apply import operations
from engine.activations.piecewise import *
from engine.activations.piecewise import threshold_operation
from engine.activations.rows import *
from engine.activations.smooth import *

# Each module lists its activations by itself.
__all__ = [
    "deserialize",
    "get",
    "hard_swish",
    "serialize",
    "swish",
]
__all__ += piecewise.__all__
__all__ += rows.__all__
__all__ += smooth.__all__

swish, hard_swish = silu, hard_silu

Activation = Callable[..., Float32]

BY_ROW: tuple[Activation, ...] = (softmax, log_softmax, sparsemax)
"""The activations whose results depend on whole rows."""

_functions: tuple[Activation, ...] = (*operations, glu, threshold)
_known = {function.__name__: function for function in _functions}
_names: Mapping[str, Activation] = {**_known, "swish": silu, "hard_swish": hard_silu}


def get(identifier: object) -> Callable[..., Any]:
    """Returns the activation for an identifier.

    A custom function gets arrays (n, ...). For training it needs an attribute `gradient`: a function
    `gradient(inputs, upstream)` that returns the gradient of the loss with respect to the inputs, where `upstream`
    is that of the outputs. A layer such as `layers.LeakyReLU(0.1)` can be used if it has no weights and doesn't
    change shapes.

    Args:
        identifier: a name such as "relu", a function, a layer, a config dict, or None for `linear`. For a function of
            TensorFlow or Keras, such as `tf.nn.relu`, this returns the engine's own of that name.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
        TypeError: if `identifier` is of another type.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str):
        registered = registered_or_built_in(identifier, lambda name: name.lower() in _names)
        if registered is not None:
            return get(registered)
        if identifier.lower() not in _names:
            names_text = ", ".join(sorted(_names))
            msg = f"unknown `activation` {identifier!r}{nearest(identifier, _names)} Known: {names_text}"
            raise ValueError(msg)
        return _names[identifier.lower()]
    if isinstance(identifier, type) and issubclass(identifier, Registry.of["layer"].base):
        identifier = identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return _engine_equivalent(identifier)
    msg = f"`activation` must be a name, a function of engine.activations or a layer, got {identifier!r}"
    raise WrongTypeError(msg)


def _engine_equivalent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the engine's activation for the same function of TensorFlow or Keras, such as `tf.nn.relu`; others as they are."""
    library = str(getattr(function, "__module__", "")).removeprefix("engine.").partition(".")[0]
    # TensorFlow's own names of some functions end in the version of its interface, as that of `tf.nn.softmax` does.
    name = str(getattr(function, "__name__", "")).removesuffix("_v2")
    return _names.get(name, function) if library in {"tensorflow", "keras"} else function


def serialize(activation: object) -> str | dict[str, Any]:
    """Returns a description of `activation` for `deserialize`: a function's name, or a layer's config dict."""
    function: object = get(activation)
    return spec_config(function) if isinstance(function, Spec) else str(cast(FunctionType, function).__name__)


def deserialize(config: object, custom_objects: Mapping[str, Activation] | None = None) -> Callable[..., Any]:
    """Returns the activation that `serialize` described.

    Args:
        config: a name, or a dict with `class_name` and `config`.
        custom_objects: dict from names to custom activations.
    """
    if isinstance(config, Mapping):
        if config.get("class_name") == "function":
            return deserialize(config["config"], custom_objects)
        layer: Callable[..., Any] = Registry.of["layer"].get(config)
        return layer
    custom = (custom_objects or {}).get(config) if isinstance(config, str) else None
    return custom or get(config)


def in_core(activation: object) -> bool:
    """Returns whether the core knows the activation: a function of this module, also with other constants by `partial`.

    Raises:
        ValueError: for `threshold` without its constants.
    """
    if activation is threshold:
        msg = (
            "threshold can't be the activation of a layer, as it has constants without default: give them by "
            "functools.partial(threshold, threshold=0.5, default_value=0.0)"
        )
        raise ValueError(msg)
    if isinstance(activation, partial):
        return activation.func is threshold or (in_core(activation.func) and activation.func not in BY_ROW)
    return isinstance(activation, FunctionType) and activation in operations


@cache
def lower(activation: Activation) -> ActivationFields:
    """Returns the fields of a core operation for an activation that `in_core` accepts.

    Raises:
        TypeError: if the core doesn't know the activation: a layer, `glu`, a function of the user.
    """
    if isinstance(activation, partial):
        make = threshold_operation if activation.func is threshold else operations[activation.func]
        return make(*activation.args, **activation.keywords)
    fields_of = operations.get(activation)
    if fields_of is None:
        msg = f"`activation` must be a name or a function of engine.activations here, got {activation!r}"
        raise WrongTypeError(msg)
    return fields_of(*(cast(FunctionType, inspect.unwrap(activation)).__defaults__ or ()))


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
