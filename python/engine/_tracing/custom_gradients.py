"""`ops.custom_gradient` in traced functions: a function of the user, the *rule*, computes the gradient of another one.

The rule is recorded behind the function, with a node "upstream" for the gradient with respect to the output. Its entries are
then removed from the trace, and become a field of a node "custom_gradient" that passes the output on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine._tracing.dispatch import records
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import Extent
from engine._tracing.primitives import broadcast_to
from engine._tracing.recordings import lowered_node
from engine._tracing.symbolic import is_symbolic, symbolics_in
from engine._tracing.trace import Computed, Fields, Node, Origin, Trace, TracedArray, as_traced, trace_of

# How the nodes of a rule name what they read: a number from 0 is a node of the rule, -1 is the gradient with respect to the
# output, -2 is the output, and -3, -4, ... are the arrays of the forward pass that the rule reads.
UPSTREAM, OUTPUT, FIRST_READ = -1, -2, -3
# The kinds of nodes that need more than the arrays that they read. A rule has none of them.
_NOT_OF_ARRAYS = frozenset((
    "variable", "weight", "custom_gradient", "gradients", "gradient", "argument", "assign", "step", "assign_after_batch",
    "add_loss", "choose", "mask_as_array", "with_mask",
))  # fmt: skip


@records("custom_gradient")
def custom_gradient(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> TracedArray:
    """The result of `f(*args)`, which returns it together with the rule for its gradients with respect to the arguments."""
    trace = trace_of(*symbolics_in([list(args), kwargs]))
    watched = getattr(trace, "watched", ())
    inputs = [
        as_traced(argument, trace) if is_symbolic(argument) or id(argument) in watched else argument
        for argument in args
    ]
    result, rule = f(*inputs, **kwargs)
    if isinstance(result, (list, tuple)):
        raise _refused(f"the function must return one array and its gradient, got {len(result)} arrays")
    y = as_traced(result, trace)
    first = len(trace.entries)
    try:
        gradients = _gradients(rule, trace.add("upstream", (), y.extents, y.dtype), inputs)
        entries = trace.entries[first:]
    finally:
        forget(trace, first)
    read, fields = rule_fields(trace, first, entries, gradients)
    return trace.add("custom_gradient", (y, *read), y.extents, y.dtype, **fields)


def give_rule(
    y: TracedArray,
    arguments: Sequence[TracedArray],
    rule: Callable[[TracedArray], Sequence[TracedArray | None]],
) -> None:
    """Gives the last node of a trace, whose inputs are `arguments`, a rule for its gradients.

    Args:
        y: the output of the node.
        arguments: its inputs.
        rule: returns the gradient with respect to each of them, or None, for the gradient with respect to the output.
    """
    trace, first = y.trace, len(y.trace.entries)
    try:
        gradients_of_rule = rule(trace.add("upstream", (), y.extents, y.dtype))
        gradients = [(x, dx) for x, dx in zip(arguments, gradients_of_rule, strict=False) if dx is not None]
        entries = trace.entries[first:]
    finally:
        forget(trace, first)
    read, fields = rule_fields(trace, first, entries, gradients, y.origin, arguments)
    node: Any = trace.entries[first - 1]
    inputs = tuple(array.view for array in read)
    trace.entries[first - 1] = node._replace(inputs=inputs, fields=Fields({**node.fields, **fields}))


def _gradients(
    rule: Callable[..., Any], upstream: TracedArray, arguments: Sequence[Any]
) -> list[tuple[TracedArray, TracedArray]]:
    """Records the rule, and returns pairs of an argument that is a symbol and the gradient with respect to it."""
    try:
        returned = rule(upstream)
    except Exception as error:
        why = "" if "'upstream'" in str(error) else f": {error}"
        raise _refused(
            f"the gradient must be computed by keras.ops from the one by the result, which has no numbers yet{why}"
        ) from error
    several = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    if len(several) != len(arguments):
        raise _refused(
            f"the gradient must be one array for each of {len(arguments)} arguments, got {len(several)}"
        )
    return [
        (argument, broadcast_to(as_traced(gradient, upstream.trace), argument.extents))
        for argument, gradient in zip(arguments, several, strict=True)
        if isinstance(argument, TracedArray) and gradient is not None
    ]


def rule_fields(  # noqa: PLR0917 # what belongs to a rule
    trace: Trace,
    first: int,
    entries: Sequence[Any],
    gradients: Sequence[tuple[TracedArray, TracedArray]],
    output: Origin | None = None,
    arguments: Sequence[TracedArray] = (),
) -> tuple[list[TracedArray], dict[str, Any]]:
    """Returns the arrays of the forward pass that a rule reads, and its fields in the node whose gradient it computes.

    Args:
        trace: the trace of all arrays.
        first: the number that the first one of `entries` had in the trace.
        entries: the entries of the rule. The first one is the node "upstream".
        gradients: pairs of an argument and the gradient with respect to it, as `_gradients` returns them.
        output: the output of the node, if that has been recorded.
        arguments: the first arrays that are read, whether the rule does or not.
    """
    read = list(arguments)
    indices = {array.origin: index for index, array in reversed([*enumerate(read)])}

    def number_of(origin: Origin, shape: tuple[Extent, ...]) -> int:
        if origin == output:
            return OUTPUT
        if isinstance(origin, Computed) and origin.entry == first:
            return UPSTREAM
        if isinstance(origin, Computed) and origin.entry > first:
            return origin.entry - first - 1
        if origin not in indices:
            indices[origin] = len(read)
            read.append(TracedArray(trace, origin, shape, "float32"))
        return FIRST_READ - indices[origin]

    nodes = list[dict[str, Any]]()
    for entry in entries[1:]:
        if not isinstance(entry, Node) or entry.kind in _NOT_OF_ARRAYS:
            reader = entry.kind if isinstance(entry, Node) else f"a call of {entry.part!r}"
            raise _refused(f"the gradient can't be computed by {reader}")
        nodes.append({**lowered_node(entry), "inputs": [number_of(*view) for view in entry.inputs]})
    # For each gradient the argument that it is for, as an index into `read`, and the node that computes it.
    by = [FIRST_READ - number_of(*argument.view) for argument, _ in gradients]
    results = [number_of(*gradient.view) for _, gradient in gradients]
    return read, {"nodes": nodes, "by": by, "results": results}


def forget(trace: Trace, first: int) -> None:
    """Removes the entries of a trace from number `first` on."""
    del trace.entries[first:]
    del trace.dtypes[first:]
    trace._constants = {
        key: value
        for key, value in trace._constants.items()
        if not isinstance(value.origin, Computed) or value.origin.entry < first
    }


def _refused(why: str) -> CannotRecordError:
    return CannotRecordError(f"{line_of_user()}: ops.custom_gradient can't be recorded: {why}")
