"""Copies of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from engine._base.checks import flag, require
from engine.layers import InputLayer, Layer
from engine.layers.operation import OperationPart
from engine.layers.part import Part
from engine.layers.symbols import CallArguments, KerasTensor, symbols_of
from engine.models.functional_config import beside_graph
from engine.models.model import Functional, Model
from engine.models.sequential import Sequential


class Cloning(NamedTuple):
    """How a model is copied.

    Args:
        clone_function: returns the copy of a layer; None makes it from the config.
        call_function: calls the copy of a layer; None calls it as the layer itself.
        within: whether the two are used for the layers of models within, one by one.
        copies: the copies of layers that were made before, by the original.
    """

    clone_function: Callable[[Any], Any] | None
    call_function: Callable[..., Any] | None
    within: bool
    copies: dict[Part, Part]


def clone_model(
    model: Any,
    input_tensors: object = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Any:
    """Returns a copy of a model with newly initialized weights, compiled if the model is compiled.

    Args:
        model: the model to copy.
        input_tensors: the symbolic inputs that the copy begins with, in the form of `model.input` or as a list; default
            new ones like those of the model.
        clone_function: function that takes a layer and returns its copy; default
            `type(layer).from_config(layer.get_config())`.
        call_function: function that calls the copy of a layer, `call_function(layer, inputs, **arguments)`, and returns
            its symbolic outputs, such as those of further layers; default `layer(inputs, **arguments)`. Not for a
            Sequential, whose layers are only listed.
        recursive: whether `clone_function` and `call_function` are called for the layers of nested models instead of the
            nested models.
        kwargs: none are accepted.

    Returns:
        The copy. If `model` is compiled, so is the copy, with a new optimizer in its initial state.

    Raises:
        ValueError: if `input_tensors` don't match the inputs of the model, or `call_function` is given for a Sequential.

    Example:
        >>> import engine as keras
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(8)(inputs)))
        >>> def with_dropout(layer, *inputs, **arguments):
        ...     return keras.layers.Dropout(0.5)(layer(*inputs, **arguments))
        >>> copy = keras.models.clone_model(model, call_function=with_dropout)
        >>> [type(layer).__name__ for layer in copy.layers]
        ['InputLayer', 'Dense', 'Dropout', 'Dense', 'Dropout']
    """
    if not isinstance(model, Model):
        msg = f"`model` must be a model of engine.models, got {model!r}"
        raise TypeError(msg)
    for name, value in kwargs.items():
        if value is not None:
            msg = f"clone_model() has no argument `{name}`, got {value!r}"
            raise ValueError(msg)
    require(callable, clone_function, "clone_function", "a function that returns a layer")
    require(callable, call_function, "call_function", "a function that calls a layer")
    if isinstance(model, Sequential) and call_function is not None:
        msg = (
            f"`call_function` is for functional models, but {model.name!r} is a Sequential, whose layers are listed and not "
            "called: leave it out, or pass keras.Model(model.inputs, model.outputs)"
        )
        raise ValueError(msg)
    cloning = Cloning(clone_function, call_function, flag(recursive, "recursive"), {})
    copy = _cloned(model, cloning, _starts_in(input_tensors, model))
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
    return copy


def _starts_in(input_tensors: object, model: Model) -> list[KerasTensor] | None:
    """Returns the symbols in the argument `input_tensors`, one for each input of the model, or None for None."""
    if input_tensors is None:
        return None
    several = len(model._built_graph.input_layers) > 1
    keys = model._built_graph.input_form.keys
    if keys and not isinstance(input_tensors, Mapping):
        msg = f"`input_tensors` must have the same structure as model.input, a dict with the keys {list(keys)}; got {input_tensors!r}"
        raise ValueError(msg)
    given = model._built_graph.input_form.flat(input_tensors)
    if several and isinstance(given, Mapping):
        given = model._input_data.arrays(given, "input_tensors")
    found = symbols_of(given)
    count = max(len(model._built_graph.input_layers), 1)
    if found is None or len(found) != count:
        msg = (
            f"`input_tensors` must be one symbolic input for each of the {count} inputs of the model, or a list of them; got "
            f"{input_tensors!r}"
        )
        raise ValueError(msg)
    return found


def _cloned(model: Model, cloning: Cloning, starts: Sequence[KerasTensor] | None = None) -> Model:
    """Returns a copy that isn't compiled.

    Args:
        model: the model.
        cloning: how it is copied.
        starts: the inputs of the copy; None copies those of the model.
    """
    of_config = model._body is not None or model._is_its_config
    if of_config and cloning.clone_function is None and starts is None:
        again = type(model).from_config(model.get_config())
        again.build_from_config(model.get_build_config() or {})
        return cast(Model, again)
    if starts is None:
        starts = [
            InputLayer.from_config(start.get_config())._as_tensor for start in model._built_graph.input_layers
        ]
    copies = cloning.copies
    for layer in model._built_graph.layers:
        if layer not in copies:
            copies[layer] = _copy_of(layer, cloning)
    graph, layers = model._built_graph, [copies[layer] for layer in model._built_graph.layers]
    if isinstance(model, Sequential):
        first = [
            each.start if isinstance(each.start, InputLayer) else InputLayer(batch_shape=each.shape)
            for each in starts
        ]
        return Sequential._of_parts([*first, *layers], model.name)
    if cloning.call_function is not None:
        return _called(model, layers, starts, cloning.call_function)
    calls = starts, layers, graph.wiring, graph.training_of_calls, graph.arguments
    others = beside_graph(model.get_config()) if type(model).get_config is not Model.get_config else {}
    return type(model)._of_calls(
        *calls, name=model.name, forms=(graph.input_form, graph.output_form), others=others
    )


def _copy_of(layer: Part, cloning: Cloning) -> Part:
    """Returns the copy of a layer, or of a model within."""
    copy: object
    if isinstance(layer, Model) and (cloning.within or cloning.clone_function is None):
        call_function = None if isinstance(layer, Sequential) or not cloning.within else cloning.call_function
        copy = _cloned(layer, cloning._replace(within=True, call_function=call_function))
    elif isinstance(layer, OperationPart):  # it has no weights
        copy = layer._again()
    elif cloning.clone_function is None:
        original = cast(Layer, layer)  # models are copied above
        copy = type(original).from_config(original.get_config())
    else:
        copy = cloning.clone_function(layer)
    if not isinstance(copy, Part):
        msg = f"`clone_function` must return a layer, got {copy!r} for layer {layer.name!r}"
        raise TypeError(msg)
    return copy


def _called(
    model: Model, layers: Sequence[Part], starts: Sequence[KerasTensor], call_function: Callable[..., Any]
) -> Model:
    """Returns the model in which `call_function` calls `layers`, which are the copies of those of `model`, on `starts`."""
    copies, graph = iter(layers), model._built_graph

    def call(
        part: Part, read: list[KerasTensor], training: bool | None, arguments: CallArguments | None
    ) -> list[KerasTensor]:
        options = {**({} if training is None else {"training": training}), **(arguments or {})}
        outputs = call_function(next(copies), part._packed_inputs(read), **options)
        found = symbols_of(outputs)
        if found is None or len(found) != part._output_count:
            msg = (
                f"`call_function` must return the {part._output_count} symbolic outputs of layer {part.name!r}, got "
                f"{outputs!r}"
            )
            raise TypeError(msg)
        return found

    ends = graph.run(starts, call)
    kind = type(model) if type(model).__init__ is Model.__init__ else Functional
    return kind(graph.input_form.packed(list(starts)), graph.output_form.packed(ends), model.name)
