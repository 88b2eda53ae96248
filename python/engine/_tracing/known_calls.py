"""What functions of `engine.ops` record, found once for arguments of one kind.

A function such as `ops.mean` works out axes, shapes, dtypes and instructions before it appends its nodes. When a gradient
tape records it for the first time, it does so in a trace of its own. Later calls with arrays of the same shapes and dtypes,
and with the same other arguments, append these nodes to the traces of their tapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.random_state import giving_back
from engine._data.exact_integers import ExactIntegers
from engine._data.index_ranges import IndexRange
from engine._tracing.dispatch import implementation
from engine._tracing.errors import CannotRecordError
from engine._tracing.extents import Extents, fixed_extents
from engine._tracing.symbolic import Slot, current, filled_slots, mapped
from engine._tracing.trace import (
    FLOAT32,
    Computed,
    Input,
    Node,
    Origin,
    Trace,
    TracedArray,
    Use,
    as_traced,
    dtype_named,
)

# The number of calls that are kept. If there are more, all are found again.
_MOST_CALLS = 4096
# Classes of arguments that are known by their values.
_PLAIN = frozenset(
    (int, float, bool, str, type(None), type(...), np.bool_, np.int32, np.int64, np.float32, np.float64)
)
# Kinds of nodes that hold something of the call by which they are recorded.
_OF_ONE_CALL = frozenset(("constants", "custom_gradient", "assign_after_batch"))
# The dtypes of arrays that traces keep.
_KEPT = {
    np.dtype(name): dtype_named(name)
    for name in ("float32", "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
}


def record(trace: Trace, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records a call of the function `name` of `engine.ops`, and returns its result.

    Args:
        trace: where.
        name: of the function.
        args: its arguments by position.
        kwargs: its arguments by name.
    """
    known = None if current.get() is not None else _known(trace, name, args, kwargs)
    if known is not None:
        call, arrays = known
        return call.recorded_in(trace, [as_traced(array, trace) for array in arrays])

    def in_trace(value: Any) -> Any:
        return as_traced(value, trace) if isinstance(value, TracedArray) else value

    with trace.as_current():
        return implementation(name)(*mapped(in_trace, args), **mapped(in_trace, kwargs))


class _KnownNode(NamedTuple):
    """A node of a call.

    It reads arrays by their places: first come those among the arguments, then the results of the nodes.
    """

    kind: str
    inputs: tuple[tuple[int, Extents], ...]
    shape: Extents
    fields: Mapping[str, Any]
    dtype: str


class _KnownCall(NamedTuple):
    """What a call records."""

    nodes: list[_KnownNode]
    results: list[tuple[int, tuple[Extents, str] | None]]
    """For each array that the function returns its place, and its shape and dtype; None for an argument as it is."""
    packed: Any
    """What the function returns, with a slot in place of each array."""

    def recorded_in(self, trace: Trace, arrays: Sequence[TracedArray]) -> Any:
        """Appends the nodes to a trace, for arrays of it, and returns what the function returns."""
        origins: list[Origin] = [array.origin for array in arrays]
        for kind, inputs, shape, fields, dtype in self.nodes:
            views = tuple([(origins[place], extents) for place, extents in inputs])
            origins.append(trace.append(Node(kind, views, shape, fields), dtype))
        found = list[TracedArray]()
        for place, view in self.results:
            if view is None:
                found.append(arrays[place])
            elif place < len(arrays):
                found.append(arrays[place].reshaped(view[0]).as_dtype(view[1]))
            else:
                found.append(trace.symbol(trace, origins[place], *view))
        return found[0] if type(self.packed) is Slot else filled_slots(self.packed, found)


# By the name of the function and its arguments; None for calls that depend on more than these.
_calls: dict[tuple[Any, ...], Any] = {}
_UNKNOWN = object()


def _known(
    trace: Trace, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[_KnownCall, list[Any]] | None:
    """Returns what a call records, and the arrays among its arguments; None if each call must be recorded by itself."""
    found = _Arguments(trace)
    if not (all(map(found.add, args)) and all(map(found.add_named, kwargs.items()))):
        return None
    arrays = found.arrays
    # An operation reads arrays that view the same numbers once.
    origins = [each.origin if isinstance(each, TracedArray) else place for place, each in enumerate(arrays)]
    places = tuple(map(origins.index, origins))
    key = (name, *found.key, places)
    call = _calls.get(key, _UNKNOWN)
    if call is _UNKNOWN:
        if len(_calls) >= _MOST_CALLS:
            _calls.clear()
        arrays = [as_traced(array, trace) for array in arrays]
        call = _calls[key] = _recorded_apart(name, args, kwargs, arrays, places)
    return None if call is None else (call, arrays)


class _Arguments:
    """The arguments of a call.

    Args:
        trace: the trace that records the call.

    Attributes:
        arrays: the arrays among them, in order.
        key: what the nodes of the call may depend on.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.arrays: list[Any] = []
        self.key: list[Any] = []

    def add(self, value: Any) -> bool:
        """Adds an argument; returns False if nodes may depend on more than the key can hold of it."""
        kind = type(value)
        if kind in _PLAIN:
            self.key += (kind, value or (repr(value),))  # as 0.0 == -0.0
            return True
        if isinstance(value, TracedArray) or hasattr(value, "_weight_in"):
            array = as_traced(value, self._trace)
            self.arrays.append(array)
            self.key += (TracedArray, array.extents, array.dtype)
            return isinstance(value, TracedArray) or array.dtype is FLOAT32
        if isinstance(value, np.ndarray):
            dtype = _KEPT.get(value.dtype)
            self.arrays.append(value)
            self.key += (TracedArray, fixed_extents(value.shape), dtype)
            return value.ndim > 0 and dtype is not None
        if kind is list or kind is tuple:
            self.key += (kind, len(value))
            return all(map(self.add, value))
        if kind is slice:
            self.key.append(slice)
            return self.add((value.start, value.stop, value.step))
        return False

    def add_named(self, argument: tuple[str, Any]) -> bool:
        """Adds an argument with its name, as `add` does."""
        self.key.append(argument[0])
        return self.add(argument[1])


class _TraceOfCall(Trace):
    """A trace of one call."""

    def __init__(self) -> None:
        super().__init__([], [])

    def append(self, entry: Node | Use, dtype: str) -> Computed:
        if isinstance(entry, Node) and entry.kind == "random":
            msg = "each call draws its own numbers"
            raise CannotRecordError(msg)
        return super().append(entry, dtype)

    def require(self, array: TracedArray, limits: IndexRange | ExactIntegers) -> None:
        """Raises CannotRecordError: every call must check its own numbers."""
        msg = "the numbers of an array are checked"
        raise CannotRecordError(msg)


def _recorded_apart(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    arrays: Sequence[TracedArray],
    places: Sequence[int],
) -> _KnownCall | None:
    """Records a call in a trace of its own; returns None if what it records holds for this call alone.

    Args:
        name: of the function.
        args: its arguments by position.
        kwargs: its arguments by name.
        arrays: the arrays among them.
        places: for each array the place of the first one that views the same numbers.
    """
    trace = _TraceOfCall()
    symbols = [
        TracedArray(trace, Input(place), array.extents, array.dtype)
        for place, array in zip(places, arrays, strict=True)
    ]
    waiting, results = iter(symbols), list[TracedArray]()

    def slot_for(result: TracedArray) -> Slot:
        results.append(result)
        return Slot(len(results) - 1)

    try:
        with_symbols = [_with_symbols(value, waiting) for value in args]
        named = {key: _with_symbols(value, waiting) for key, value in kwargs.items()}
        with giving_back(), trace.as_current():  # the call by itself draws again
            packed = mapped(slot_for, implementation(name)(*with_symbols, **named))
    except Exception:  # the call by itself says what is wrong
        return None
    found = [place for place in (_place_of(result, symbols) for result in results) if place is not None]
    nodes = list[_KnownNode]()
    for entry, dtype in zip(trace.entries, trace.dtypes, strict=True):
        if isinstance(entry, Use) or entry.line or entry.kind in _OF_ONE_CALL:
            return None
        inputs = tuple((_place(origin, len(arrays)), extents) for origin, extents in entry.inputs)
        nodes.append(_KnownNode(entry.kind, inputs, entry.shape, entry.fields, dtype))
    return _KnownCall(nodes, found, packed) if len(found) == len(results) else None


def _with_symbols(value: Any, symbols: Iterator[TracedArray]) -> Any:
    """Returns an argument with the next symbols in place of the arrays in it."""
    if isinstance(value, (list, tuple)):
        return type(value)(_with_symbols(each, symbols) for each in value)
    if isinstance(value, slice):
        return slice(*_with_symbols((value.start, value.stop, value.step), symbols))
    is_array = isinstance(value, (TracedArray, np.ndarray)) or hasattr(value, "_weight_in")
    return next(symbols) if is_array else value


def _place(origin: Origin, arrays: int) -> int:
    """Returns the place of what a node reads or computes."""
    return arrays + origin.entry if isinstance(origin, Computed) else origin.number


def _place_of(
    result: TracedArray, symbols: Sequence[TracedArray]
) -> tuple[int, tuple[Extents, str] | None] | None:
    """Returns the place of a result, with its shape and dtype; None if it is one of several views of an argument."""
    for place, symbol in enumerate(symbols):
        if result is symbol:
            return place, None
    if isinstance(result.origin, Input) and [each.origin for each in symbols].count(result.origin) > 1:
        return None
    return _place(result.origin, len(symbols)), (result.extents, result.dtype)
