"""Copies of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine._checks import flag, require
from engine.layers import InputLayer, Layer
from engine.models.functional import Functional
from engine.models.layered import Model
from engine.models.sequential import Sequential


def clone_model(
    model: Any,
    input_tensors: object = None,
    clone_function: Callable[[Layer], Any] | None = None,
    call_function: None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Sequential:
    """A model of the same layers with weights of its own, fresh ones.

    Args:
        model: what to copy.
        input_tensors: None; models have no tensors here.
        clone_function: returns the copy of a layer; default `type(layer).from_config(layer.get_config())`.
        call_function: None; it is for graphs of layers.
        recursive: of no account, as there are no models within models.
        kwargs: none.

    Returns:
        The copy, not compiled.
    """
    if not isinstance(model, Sequential):
        msg = f"`model` must be a model of engine.models, got {model!r}"
        raise TypeError(msg)
    for name, value in {"input_tensors": input_tensors, "call_function": call_function, **kwargs}.items():
        if value is not None:
            msg = f"`{name}` must be None, as models are no graphs of tensors here; got {value!r}"
            raise ValueError(msg)
    flag(recursive, "recursive")
    require(callable, clone_function, "clone_function", "a function that returns a layer")
    start = [] if model.inputs is None else [InputLayer(model.inputs.shape, name=model.inputs.name)]
    layers: list[Any] = []
    for layer in model.layers:
        if layer is model.inputs:
            continue
        copy = (
            type(layer).from_config(layer.get_config()) if clone_function is None else clone_function(layer)
        )
        if not isinstance(copy, (Layer, Model)):
            msg = f"`clone_function` must return a layer, got {copy!r} for layer {layer.name!r}"
            raise TypeError(msg)
        layers.append(copy)
    if not isinstance(model, Functional):
        return Sequential([*start, *layers], name=model.name)
    outputs: Any = start
    for layer in layers:
        outputs = layer(outputs)
    return Functional(start, outputs, model.name)
