"""Copies of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from engine._base.checks import flag, require
from engine.layers import InputLayer, Layer
from engine.layers.layer import Part
from engine.layers.symbols import symbols_of
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
        input_tensors: the `Input` that the copy begins with, or a list of them, one for each input of the model; default
            new ones like those of the model.
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
    for name, value in {"call_function": call_function, **kwargs}.items():
        if value is not None:
            msg = f"`{name}` must be None, as the layers are called as in `model`; got {value!r}"
            raise ValueError(msg)
    within = flag(recursive, "recursive")
    require(callable, clone_function, "clone_function", "a function that returns a layer")
    copy = _cloned(model, clone_function, within, {}, _starts_in(input_tensors, len(model._starts)))
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
    return copy


def _starts_in(input_tensors: object, count: int) -> list[InputLayer] | None:
    """Returns the input layers of `input_tensors`, or None for None; `count` is the number of inputs of the model."""
    if input_tensors is None:
        return None
    starts = [symbol.start for symbol in symbols_of(input_tensors) or ()]
    if len(starts) != max(count, 1) or not all(isinstance(start, InputLayer) for start in starts):
        msg = (
            f"`input_tensors` must be one Input() for each of the {max(count, 1)} inputs of the model, or a list of them; got "
            f"{input_tensors!r}"
        )
        raise ValueError(msg)
    return cast("list[InputLayer]", starts)


def _cloned(
    model: Model,
    clone_function: Callable[[Any], Any] | None,
    within: bool,
    copies: dict[Part, Part],
    starts: list[InputLayer] | None = None,
) -> Model:
    """Returns a copy that isn't compiled.

    Args:
        model: the model.
        clone_function: as given to `clone_model`.
        within: whether to copy the layers of nested models one by one.
        copies: the copies of layers that were made before, by the original.
        starts: the input layers of the copy; None copies those of the model.
    """
    if starts is None:
        starts = [InputLayer.from_config(start.get_config()) for start in model._starts]
    for layer in model._layers:
        if layer in copies:
            continue
        copy: object
        if isinstance(layer, Model) and (within or clone_function is None):
            copy = _cloned(layer, clone_function, True, copies)
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
