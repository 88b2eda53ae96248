"""Recordings of traced functions: what layers, operations and models with Python code of their own compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import Shape
from engine._tracing.code import copy_of_input
from engine._tracing.extents import as_pairs, full_shape, has_unknown, in_common, sample_shape, with_length
from engine._tracing.primitives import elementwise, full, reduce
from engine._tracing.symbolic import Slot, filled_slots, mapped
from engine._tracing.trace import Computed, Input, Node, Origin, Trace, TracedArray, Use, as_traced

# Two lengths that are tried in place of an unknown one: what differs in the shapes of outputs depends on it.
_TRIED_LENGTHS = (64, 32)


class Recording(NamedTuple):
    """What a function has recorded."""

    trace: Trace
    outputs: list[TracedArray]
    packed: Any
    """What the function returned, with a slot in place of each symbol."""
    loss: TracedArray | None = None
    """What is added to the loss of the batch."""
    branches: Sequence[bool | None] = ()
    """For each entry True if it is for training alone, False for predictions alone, None for both. Empty: all for both."""

    def branch_of(self, entry: int) -> bool | None:
        """Returns whether an entry is for training alone (True), for predictions alone (False), or for both (None)."""
        return self.branches[entry] if entry < len(self.branches) else None

    @property
    def shapes(self) -> list[Any]:
        """The shape of one sample of each output."""
        return [sample_shape(output.extents) for output in self.outputs]

    def with_outputs(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each output, in the form in which the function returned them."""
        return filled_slots(self.packed, values)


def recording(
    function: Callable[..., Any], samples: Sequence[Shape], dtypes: Sequence[str], only_shapes: bool = False
) -> Recording:
    """Runs a function with symbols, and returns what it records.

    Args:
        function: takes one symbol for each input, and returns symbols in lists, tuples and dicts.
        samples: the shape of one sample of each input.
        dtypes: of the inputs.
        only_shapes: whether only the shapes and dtypes of the outputs are needed.
    """
    trace = Trace([full_shape(sample) for sample in samples], dtypes)
    trace.only_shapes = only_shapes
    with trace.as_current():
        result = function(*trace.inputs)
        outputs = list[TracedArray]()

        def slot_for(value: Any) -> Slot:
            outputs.append(as_traced(value, trace))
            return Slot(len(outputs) - 1)

        packed = slot_for(result) if _is_constant(result) else mapped(slot_for, result)
        total = _total(trace.losses)
    return Recording(trace, outputs, packed, total)


def _total(losses: Sequence[TracedArray]) -> TracedArray | None:
    """Returns the sum of what was added to the loss; None for nothing."""
    total: TracedArray | None = None
    for loss in losses:
        summed = reduce(loss, "sum", None, keepdims=False)
        total = summed if total is None else elementwise(lambda a, b: a + b, total, summed)
    return total


def _is_constant(result: Any) -> bool:
    return isinstance(result, (bool, int, float, np.ndarray, np.generic))


def with_both_branches(otherwise: Recording, in_training: Recording) -> Recording:
    """Returns one recording for both values of the argument `training`.

    Entries that both recordings have come once, and those of one alone belong to a branch. Where outputs differ, a node
    "choose" takes that of training or that of predictions, by what the batch is for.

    Args:
        otherwise: what is recorded with `training=False`.
        in_training: what is recorded with `training=True`. Its trace becomes that of the result.

    Raises:
        ValueError: if the two return different structures or shapes.
    """
    for recording, training in ((otherwise, False), (in_training, True)):
        for number, entry in enumerate(recording.trace.entries):
            if isinstance(entry, Use) and entry.training is training:  # `call` passes its own `training` on
                recording.trace.entries[number] = entry._replace(training=None)
    if otherwise.packed != in_training.packed:
        msg = "`call` must return the same structure for training=True and training=False"
        raise ValueError(msg)
    trace = in_training.trace
    new_numbers = list[int]()  # the number in `trace` of each entry of the other trace
    branches: list[bool | None] = [True] * len(trace.entries)

    def moved_origin(origin: Origin) -> Origin:
        return origin._replace(entry=new_numbers[origin.entry]) if isinstance(origin, Computed) else origin

    def moved(symbol: TracedArray) -> TracedArray:
        return TracedArray(trace, moved_origin(symbol.origin), symbol.extents, symbol.dtype)

    for entry in otherwise.trace.entries:
        moved_entry = entry._replace(
            inputs=tuple((moved_origin(origin), shape) for origin, shape in entry.inputs)
        )
        equal: int | None = next(
            (
                i
                for i, candidate in enumerate(trace.entries)
                if branches[i] is True and _same_entry(candidate, moved_entry)
            ),
            None,
        )
        if equal is None:
            trace.entries.append(moved_entry)
            branches.append(False)
            new_numbers.append(len(branches) - 1)
        else:
            branches[equal] = None
            new_numbers.append(equal)

    def chosen(yes: TracedArray, no: TracedArray) -> TracedArray:
        if yes.view == no.view:
            return yes
        if yes.extents != no.extents:
            msg = f"`call` must return one shape for training=True and training=False, got {yes!r} and {no!r}"
            raise ValueError(msg)
        return trace.add("choose", (yes, no), yes.extents, yes.dtype)

    outputs = [chosen(yes, moved(no)) for yes, no in zip(in_training.outputs, otherwise.outputs, strict=True)]
    loss = None
    if in_training.loss is not None and otherwise.loss is not None:
        loss = chosen(in_training.loss, moved(otherwise.loss))
    elif in_training.loss is not None or otherwise.loss is not None:
        nothing = full(trace, (), 0.0, "float32")
        yes = nothing if in_training.loss is None else in_training.loss
        loss = chosen(yes, nothing if otherwise.loss is None else moved(otherwise.loss))
    return Recording(trace, outputs, in_training.packed, loss, branches)


def _same_entry(first: Node | Use, other: Node | Use) -> bool:
    """Returns whether two entries compute the same. Seeds may differ, as both are drawn anew for each recording."""
    if isinstance(first, Node) and isinstance(other, Node):
        return (first.kind, first.inputs, first.shape) == (other.kind, other.inputs, other.shape) and all(
            name == "seed" or (name in other.fields and np.array_equal(value, other.fields[name]))
            for name, value in first.fields.items()
        )
    if isinstance(first, Use) and isinstance(other, Use):
        same = (first.part is other.part) and (first.inputs, first.training) == (other.inputs, other.training)
        return same and _same_arguments(first.arguments, other.arguments)
    return False


def _same_arguments(first: Any, other: Any) -> bool:
    if first is None or other is None:
        return first is other
    return bool(first.inputs == other.inputs and first.keys() == other.keys()) and all(
        first[key] is other[key]
        or (isinstance(first[key], (bool, int, float, str, tuple)) and first[key] == other[key])
        for key in first
    )


def shapes_by_trial(
    shapes_for: Callable[[Sequence[Shape]], list[Any]], samples: Sequence[Any], or_unknown: bool = False
) -> list[Any]:
    """Returns the shapes of outputs, with None for lengths that depend on unknown ones.

    Args:
        shapes_for: returns the shape of one sample of each output for inputs of shapes without None.
        samples: the shape of one sample of each input, with None or `UNKNOWN` for unknown lengths.
        or_unknown: whether `shapes_for` may be called with unknown lengths, if the outputs don't exist for all inputs of one
            length, as the sum of inputs of the lengths None and 3.
    """
    if not any(map(has_unknown, samples)):
        return shapes_for(samples)
    try:
        shorter, longer = (shapes_for(with_tried_length(samples, length)) for length in _TRIED_LENGTHS)
    except ValueError:
        if not or_unknown:
            raise
        return shapes_for(samples)
    return [_where_equal(first, second) for first, second in zip(shorter, longer, strict=True)]


def with_tried_length(samples: Sequence[Any], length: int = _TRIED_LENGTHS[0]) -> list[Any]:
    """Returns shapes of samples with `length` in place of each None."""
    return [with_length(sample, length) for sample in samples]


def _where_equal(first: Any, other: Any) -> Any:
    """Returns a shape with None where two shapes differ."""
    if len(full_shape(first)) != len(full_shape(other)):
        msg = f"the outputs must have as many axes for inputs of any length, got {first} and {other}"
        raise ValueError(msg)
    return in_common(first, other)


class Numbers(np.ndarray[Any, np.dtype[np.float32]]):
    """The constants of a node: `==` compares all of them at once, so that dicts with them can be compared."""

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, np.ndarray) and np.array_equal(self.view(np.ndarray), other)
        )

    __hash__ = None


def lowered_node(node: Node) -> dict[str, Any]:
    """Returns a node as the core reads it, without the numbers of its inputs."""
    fields = dict(node.fields)
    if isinstance(fields.get("numbers"), np.ndarray):
        fields["numbers"] = fields["numbers"].view(Numbers)
    shapes = [as_pairs(shape) for _, shape in node.inputs]
    return {"kind": node.kind, "input_shapes": shapes, "shape": as_pairs(node.shape), **fields}


def layer_operations(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the nodes of a function, as `lowered_function` returns them, as operations of a layer.

    Their field "back" says what they read, whichever operations come before them: the operation so many places before, which
    is the one before the first node for the input of the function.
    """
    return [
        {**node, "back": [number - max(position, -1) for position in node["inputs"]]}
        for number, node in enumerate(nodes)
    ]


# Fields of such operations that the core doesn't read.
LAYER_FIELDS = frozenset(("back", "groups"))


def numbered(operations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns a chain of operations in which nodes of functions have the numbers of the operations that they read."""
    lowered = list[Mapping[str, Any]]()
    for number, operation in enumerate(operations):
        if "back" in operation:
            rest = {name: value for name, value in operation.items() if name not in LAYER_FIELDS}
            operation = {**rest, "inputs": [number - offset for offset in operation["back"]]}  # noqa: PLW2901 # as the core reads it
        lowered.append(operation)
    return lowered


def lowered_function(recording: Recording) -> tuple[list[dict[str, Any]], int]:
    """Returns the nodes of a recorded function with one output, and the number of the node that computes the output.

    Raises:
        TypeError: if the function uses layers or weights.
    """
    (output,) = recording.outputs
    trace = recording.trace
    entries = list(trace.entries)
    origin = output.origin
    source = entries[origin.entry] if isinstance(origin, Computed) else None
    if not isinstance(origin, Computed) or not isinstance(source, Node) or source.shape != output.extents:
        entries.append(Node("reshape", (output.view,), output.extents, {}))
        origin = Computed(len(entries) - 1)
    if not output.trace.entries:  # the function returns what it got, which no operation computes
        entries[-1] = Node("map", (output.view,), output.extents, copy_of_input().fields)
    nodes = []
    for entry in entries:
        if not isinstance(entry, Node):
            msg = f"a loss or metric can't use layers, got {entry.part!r}: let the model compute its outputs"
            raise TypeError(msg)
        nodes.append({**lowered_node(entry), "inputs": [_number_of(read) for read, _ in entry.inputs]})
    return nodes, origin.entry


def _number_of(origin: Any) -> int:
    """Returns the number of a node, or -1, -2, ... for the first, second, ... input."""
    if isinstance(origin, Input):
        return -1 - origin.number
    if isinstance(origin, Computed):
        return origin.entry
    msg = f"a loss or metric can't use the weights of a layer, got one of {origin.owner!r}: use a regularizer"
    raise TypeError(msg)
