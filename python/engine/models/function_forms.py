"""Forms of arguments of a compiled function: what varies between them, and what is recorded for any length of an axis.

The form of an array is its shape and dtype, that of a list, tuple or dict has the forms in it, and that of another argument is its
class and value, or its `id`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import SAMPLES, Extent, FullShape
from engine._tracing.lazy import RecordedArray, shape_for_samples
from engine._tracing.recordings import Recording, recording
from engine._tracing.trace import Computed, Input, Node, Origin, TracedArray
from engine.models.compiled_steps import is_array
from engine.models.functions import concrete_fields

Shape = tuple[int, ...]

# The most forms of an argument that a warning lists.
_MOST_LISTED = 4


def form_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the form of a call, as people are told of it. Compiled calls are found by the core's own key of it."""
    return _form(args), _form(kwargs) if kwargs else None


def _form(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return (type(value), *map(_form, value))
    if isinstance(value, dict) and tree.is_nested(value):  # a dict of another class is an argument as it is
        return (type(value), *((name, _form(each)) for name, each in value.items()))
    if is_array(value):
        array = np.asarray(value)
        return array.shape, array.dtype
    return (type(value), value) if isinstance(value, (bool, int, str, bytes, type(None))) else id(value)


def without_lengths(form: Any) -> Any:
    """Returns a form with the number of axes in the place of each shape."""
    if not isinstance(form, tuple):
        return form
    if _is_of_array(form):
        return len(form[0]), form[1]
    return tuple(map(without_lengths, form))


def _is_of_array(form: Any) -> bool:
    return isinstance(form, tuple) and len(form) == 2 and isinstance(form[1], np.dtype)  # noqa: PLR2004 # shape and dtype


class VaryingAxes(NamedTuple):
    """The axes of some arrays that have one length, which varies from call to call.

    Attributes:
        shapes: of the arrays, with None for this length.
    """

    shapes: tuple[tuple[int | None, ...], ...]

    def length(self, shapes: Sequence[Shape]) -> int | None:
        """Returns the length in other shapes of as many axes; None if they differ in more than that."""
        found = set[int]()
        for mine, others in zip(self.shapes, shapes, strict=True):
            for length, other in zip(mine, others, strict=True):
                if length is None:
                    found.add(other)
                elif length != other:
                    return None
        return found.pop() if len(found) == 1 else None


def varying_axes(shapes: Sequence[Shape], earlier: Sequence[Shape]) -> VaryingAxes | None:
    """Returns the axes in which shapes of one form differ from those of an earlier one.

    None if they differ in several lengths, or if a length is 0 or 1, at which arrays are broadcast or empty.
    """
    pairs = list(zip(shapes, earlier, strict=True))
    differing = {pair for one, other in pairs for pair in zip(one, other, strict=True) if pair[0] != pair[1]}
    if len(differing) != 1 or min(min(pair) for pair in differing) <= 1:
        return None
    return VaryingAxes(
        tuple(
            tuple(length if length == before else None for length, before in zip(one, other, strict=True))
            for one, other in pairs
        )
    )


class AnyLength:
    """A function that is recorded for any length of some axes.

    Args:
        function: takes a list of symbols, one for each array.
        axes: the axes.
        dtypes: of the arrays.

    Raises:
        Exception: whatever the function raises, or CannotRecordError where the length must be known.
    """

    def __init__(
        self, function: Callable[[list[Any]], Any], axes: VaryingAxes, dtypes: Sequence[str]
    ) -> None:
        samples: Any = [
            FullShape(SAMPLES if length is None else Extent(length) for length in shape)
            for shape in axes.shapes
        ]
        self.axes = axes
        self._recording: Recording = recording(lambda *symbols: function(list(symbols)), samples, dtypes)
        for entry in self._recording.trace.entries:
            if not isinstance(entry, Node) or not all(
                isinstance(origin, (Input, Computed)) for origin, _ in entry.inputs
            ):
                msg = "it calls layers or reads weights"
                raise CannotRecordError(msg)
            if entry.kind == "gather" and entry.inputs[0][1][entry.fields["batch_axes"]].per_sample:
                msg = "it takes elements at indices along the axis, which must be checked for each length"
                raise CannotRecordError(msg)
        if self._recording.loss is not None:
            msg = "it calls add_loss()"
            raise CannotRecordError(msg)

    def length_in(self, shapes: Sequence[Shape]) -> int | None:
        """Returns the length of the axes in the shapes of a call; None if what is recorded isn't for these."""
        length = self.axes.length(shapes)
        if length is None or length <= 1:
            return None
        return length if all(_exists(entry, length) for entry in self._recording.trace.entries) else None

    def replayed(self, length: int, symbols: Sequence[RecordedArray]) -> Any:
        """Records the function for one length, without its Python, and returns what it returns.

        Args:
            length: the length.
            symbols: one for each array.
        """
        trace, values = symbols[0].trace, dict[Origin, TracedArray]()
        values.update({Input(number): symbol for number, symbol in enumerate(symbols)})
        recorded = self._recording.trace
        for number, (entry, dtype) in enumerate(zip(recorded.entries, recorded.dtypes, strict=True)):
            node: Any = entry
            reads = [
                values[origin].reshaped(shape_for_samples(shape, length)) for origin, shape in node.inputs
            ]
            fields = concrete_fields(node.kind, node.fields, length)
            shape = shape_for_samples(node.shape, length)
            values[Computed(number)] = trace.add(node.kind, reads, shape, dtype, **fields)
        return self._recording.with_outputs(
            [
                values[output.origin]
                .reshaped(shape_for_samples(output.extents, length))
                .as_dtype(output.dtype)
                for output in self._recording.outputs
            ]
        )


def _exists(entry: Any, length: int) -> bool:
    """Returns whether a node of a recording for any length has a shape for this one, and slices what is there."""
    shape = shape_for_samples(entry.shape, length)
    if any(extent.fixed < 0 for extent in shape):
        return False
    if entry.kind != "slice":
        return True
    begins = concrete_fields("slice", entry.fields, length)["begin"]
    lengths = shape_for_samples(entry.inputs[0][1], length)
    ends = [
        (begin, begin + (count.fixed - 1) * step, total.fixed)
        for (begin, _), step, count, total in zip(begins, entry.fields["step"], shape, lengths, strict=True)
        if count.fixed
    ]
    return all(0 <= begin < total and 0 <= last < total for begin, last, total in ends)


def what_varies(function: Callable[..., Any], forms: Sequence[Any]) -> str:
    """Returns which arguments have varied between forms, with some of what they were, and what to do.

    Args:
        function: the function of the user.
        forms: pairs of the form of the arguments by position, and that of the arguments by keyword.
    """
    by_name = dict[str, dict[Any, None]]()
    names = _parameter_names(function)
    for args, kwargs in forms:
        for place, form in enumerate(args[1:]):
            name = names[place] if place < len(names) else f"argument {place}"
            by_name.setdefault(name, {})[form] = None
        for name, form in (kwargs or (dict,))[1:]:
            by_name.setdefault(name, {})[form] = None
    varying: Mapping[str, Any] = {name: list(found) for name, found in by_name.items() if len(found) > 1}
    texts, advice = list[str](), dict[str, None]()
    for name, found in varying.items():
        listed = ", ".join(map(_text_of_form, found[:_MOST_LISTED]))
        texts.append(f"`{name}` was {listed}{', ...' if len(found) > _MOST_LISTED else ''}")
        advice[_advice(found)] = None
    if not texts:
        return "the number of its arguments varies"
    return f"{' and '.join(texts)}: {'; '.join(advice)}"


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # as for functions of NumPy
        return []
    return [
        each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]


def _text_of_form(form: Any) -> str:
    if _is_of_array(form):
        return f"{form[1]} {form[0]}"
    if isinstance(form, tuple) and form and isinstance(form[0], type):
        if form[0] in (bool, int, str, bytes, type(None)):
            return repr(form[1])
        return f"a {form[0].__name__} of {len(form) - 1}"
    return "another object"


def _advice(forms: Sequence[Any]) -> str:
    if all(isinstance(form, tuple) for form in forms):
        if len(set(map(without_lengths, forms))) < len(forms):
            return (
                "give arrays of a few shapes, as by padding them, or let `keras.function(f, reduce_retracing=True)` record once for "
                "any length"
            )
        return "pass a number that changes as an array or a float"
    return "make an object that is passed once, before the calls"
