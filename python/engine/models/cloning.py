"""Copies of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.layers import InputLayer, Layer
from engine.models.functional import Functional
from engine.models.layered import Model
from engine.models.sequential import Sequential


def clone_model(
    model: Any,
    input_tensors: object = None,
    clone_function: Callable[[Layer], Any] | None = None,
) -> Sequential:
    """A model of the same layers with weights of its own, fresh ones.

    Args:
        model: what to copy.
        input_tensors: None; models have no tensors here.
        clone_function: returns the copy of a layer; default `type(layer).from_config(layer.get_config())`.

    Returns:
        The copy, not compiled.
    """
    if not isinstance(model, Sequential):
        msg = f"`model` must be a model of engine.models, got {model!r}"
        raise TypeError(msg)
    if input_tensors is not None:
        msg = f"`input_tensors` must be None, as models have no tensors here; got {input_tensors!r}"
        raise ValueError(msg)
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
