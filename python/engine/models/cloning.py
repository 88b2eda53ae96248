"""Copies of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from engine._base.checks import flag, require
from engine.layers import InputLayer, Layer
from engine.layers.layer import Part
from engine.layers.operation import OperationPart
from engine.models.model import Model
from engine.models.sequential import Sequential


def clone_model(
    model: Any,
    input_tensors: object = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Any:
    """Returns a copy of a model with newly initialized weights, compiled if the model is compiled.

    Args:
        model: the model to copy.
        input_tensors: must be None.
        clone_function: function that takes a layer and returns its copy; default
            `type(layer).from_config(layer.get_config())`.
        call_function: must be None.
        recursive: whether `clone_function` is called for the layers of nested models instead of the nested models.
        kwargs: none are accepted.

    Returns:
        The copy. If `model` is compiled, so is the copy, with a new optimizer in its initial state.
    """
    if not isinstance(model, Model):
        msg = f"`model` must be a model of engine.models, got {model!r}"
        raise TypeError(msg)
    for name, value in {"input_tensors": input_tensors, "call_function": call_function, **kwargs}.items():
        if value is not None:
            msg = f"`{name}` must be None, as the layers are called as in `model`; got {value!r}"
            raise ValueError(msg)
    within = flag(recursive, "recursive")
    require(callable, clone_function, "clone_function", "a function that returns a layer")
    copy = _cloned(model, clone_function, within, {})
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
    return copy


def _cloned(
    model: Model, clone_function: Callable[[Any], Any] | None, within: bool, copies: dict[Part, Part]
) -> Model:
    """Returns a copy that isn't compiled. `copies` has the copies of layers that were made before, by the original."""
    starts = [InputLayer.from_config(start.get_config()) for start in model._starts]
    for layer in model._layers:
        if layer in copies:
            continue
        copy: object
        if isinstance(layer, Model) and (within or clone_function is None):
            copy = _cloned(layer, clone_function, True, copies)
        elif isinstance(layer, OperationPart):  # it has no weights
            copy = layer._again()
        elif clone_function is None:
            original = cast(Layer, layer)  # models are copied above
            copy = type(original).from_config(original.get_config())
        else:
            copy = clone_function(layer)
        if not isinstance(copy, Part):
            msg = f"`clone_function` must return a layer, got {copy!r} for layer {layer.name!r}"
            raise TypeError(msg)
        copies[layer] = copy
    layers = [copies[layer] for layer in model._layers]
    if isinstance(model, Sequential):
        return Sequential._of_parts([*starts, *layers], model.name)
    calls = starts, layers, model._wiring, model._modes, model._arguments
    return type(model)._of_calls(*calls, name=model.name, structures=model._structures)
