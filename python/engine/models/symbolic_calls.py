"""Calls of layers on symbols in the order of a wiring, for configs and copies of models: the way back from wiring to symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.layers.operation import OperationPart
from engine.layers.recorded_calls import arguments_with_dtypes
from engine.layers.symbols import CallArguments, called_on, symbol_of
from engine.models.wiring import Wiring, values_along
from engine.utils.functional_calls import ValueSource


def called_in_turn(
    starts: Sequence[Any],
    parts: Sequence[Any],
    wiring: Wiring | tuple[Sequence[Sequence[ValueSource]], Sequence[ValueSource]],
    training_of_calls: Sequence[bool | None],
    arguments: Sequence[CallArguments | None],
) -> tuple[list[Any], list[Any]]:
    """Calls layers and models on symbols, and returns the symbolic inputs and outputs.

    Args:
        starts: the input layers.
        parts: layers and models, one as often as it is called.
        wiring: what each of them reads, and the outputs, by the numbers of values or by calls and their outputs.
        training_of_calls: the argument `training` of each call.
        arguments: the other arguments of each call, by name.

    Raises:
        ValueError: if one of `starts` is no input layer.
    """
    inputs: list[Any] = [symbol_of(start) for start in starts]
    if None in inputs:
        msg = f"a model must begin with Input(), got {starts!r:.200}"
        raise ValueError(msg)
    all_reads, ends = wiring
    calls = zip(parts, training_of_calls, arguments, strict=True)
    first = [0]  # the number of the first output of each call

    def number_of(source: int | ValueSource) -> int:
        if not isinstance(source, ValueSource):
            return source
        return source.call if source.call < 0 else first[source.call] + source.output

    def call_next(read: list[Any]) -> Sequence[Any]:
        part, training, others = next(calls)
        outputs = _called(part, read, training, others)
        first.append(first[-1] + len(outputs))
        return outputs

    reads = (map(number_of, each) for each in all_reads)
    return inputs, values_along(reads, map(number_of, ends), inputs, call_next)[1]


def _called(
    part: Any, read: Sequence[Any], training: bool | None, arguments: CallArguments | None
) -> Sequence[Any]:
    """Returns the symbolic outputs of one call."""
    if isinstance(part, OperationPart):
        part._dtypes = [each.dtype for each in read]
        return called_on(part, read)
    if training is False and getattr(part, "_is_by_call", False):
        training = None  # Keras' files say so of calls without the argument: fit() and model(x, training=True) decide
    if arguments is not None:
        part._note_input_structure(arguments.inputs, [each._sample for each in read])
    if part._may_be_recorded and arguments is not None:
        called = arguments_with_dtypes(arguments, [each.dtype for each in read])
        part._recorded_calls.note(len(read), called)
        return called_on(part, read, training, called)
    return [part(read[0], training=training, **arguments)] if arguments else called_on(part, read, training)
