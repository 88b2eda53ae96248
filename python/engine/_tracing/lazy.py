"""Arrays that are recorded before they are computed: what layers and operations return while a gradient tape is open.

A `LazyTrace` holds what was recorded. A `RecordedArray` is an array of it, whose numbers are computed when something
needs them, together with all others that wait.

Recorded calls may also change weights, such as the averages of `BatchNormalization`:

- whoever reads weights calls `apply_pending_changes` first, so that what was recorded before has changed them;
- whoever changes weights calls `prepare_for_change` first, so that what was recorded before is computed with the old ones;
- `variable.assign` asks `captured_change` whether a trace records the change, in place of changing the weight now.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base.promotion import as_array
from engine._base.tensor_like import StoredArray, Tensor, mask_of, open_recorder, plain_array
from engine._core_interface.cpp import ContextValue
from engine._data.exact_integers import ExactIntegers, Reading
from engine._data.index_ranges import IndexRange
from engine._tracing import known_calls
from engine._tracing.dispatch import can_record, function_of_arrays, implementation
from engine._tracing.errors import CannotRecordError, NeedsValuesError, line_of_user, needs_values
from engine._tracing.extents import Extent, Extents, fixed_extents
from engine._tracing.lost_derivatives import (
    TakenNumbers,
    has_derivative,
    has_floats,
    no_rule,
    note_number,
    note_taken,
    require_not_read_by_numpy,
)
from engine._tracing.symbolic import (
    contains,
    current,
    is_symbolic,
    mapped,
    recorded_function,
    recorded_ufunc,
    sequence_like,
)
from engine._tracing.trace import (
    FLOAT32,
    Computed,
    DTypeName,
    Input,
    Node,
    OfWeight,
    Trace,
    TracedArray,
    Use,
    as_traced,
    dtype_named,
)

# Functions of `engine.ops` that get functions of the user. Tapes run them as written, on the numbers, and record what the
# user's functions do.
_HIGHER_ORDER = frozenset(
    {"cond", "switch", "while_loop", "fori_loop", "scan", "associative_scan", "map", "vectorized_map"}
)

# Those of them that choose between functions. All of these functions are recorded where the numbers aren't known.
_CHOICES = frozenset({"cond", "switch"})

# Functions of NumPy by which scripts take the numbers out of a batch of one sample, as for `np.random.choice(n, p=...)`.
# NumPy allows the rounding of float32 for the probabilities in its own arrays alone: these functions return such an array.
_SAME_NUMBERS = frozenset((np.squeeze, np.ravel, np.reshape))


class Recorder:
    """The open gradient tapes of a thread, which record into one trace."""

    captures = False
    """Whether a whole step is recorded to be compiled, so that nothing is computed meanwhile."""

    def __init__(self) -> None:
        self.trace: LazyTrace = self._new_trace()
        self.tapes: list[Any] = []

    def _new_trace(self) -> LazyTrace:
        return LazyTrace()

    @property
    def records(self) -> bool:
        """Whether one of the tapes is recording."""
        if self.captures:
            return True
        for tape in self.tapes:  # noqa: SIM110 # `any` of a generator takes twice as long
            if tape._is_open and not tape._paused:
                return True
        return False

    # What arrays know of it, an `ArrayRecorder`.

    is_recorded = staticmethod(is_symbolic)

    def ufunc(self, ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Records a universal function of NumPy, which watched arrays are given to."""
        return recorded_or_computed_ufunc(ufunc, method, inputs, options)

    def function(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records another function of NumPy, which watched arrays are given to."""
        return recorded_or_computed_function(function, args, kwargs)

    def method(self, name: str, array: Any, *args: Any, **options: Any) -> Any:
        """Returns the result of a method of a watched array, such as `array.sum()`, as the trace records it."""
        trace = self.trace if current.get() is None and self.records else current.get()
        return getattr(as_traced(array, trace), name)(*args, **options)

    def apply(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Applies an operation to weights and watched arrays alone, and records that if a tape is recording."""
        if not self.records:
            return function_of_arrays(operation)(*args, **kwargs)
        if not can_record(operation) and self.trace.computes:
            return _computed_operation(operation, args, kwargs)
        return known_calls.record(self.trace, operation, args, kwargs)

    def open_tapes(self) -> list[Any]:
        """Returns the tapes whose blocks have not ended."""
        return [tape for tape in self.tapes if tape._is_open]

    def renew(self) -> None:
        """Continues with a new trace, since weights that the present one has read are about to change."""
        require_no_region(self.trace)
        self.trace = self._new_trace()
        for tape in self.open_tapes():
            tape._join(self.trace)


def recorder() -> Recorder | None:
    """Returns the recorder of this thread; None if no open tape is recording, or a function is being traced."""
    recorder_open = open_recorder.get()
    if recorder_open is None or current.get() is not None or not recorder_open.records:
        return None
    recorder: Recorder = recorder_open
    return recorder


def capturing() -> Any:
    """Returns what records a whole step in this thread; None if no step is being recorded."""
    recorder_open = open_recorder.get()
    return recorder_open if recorder_open is not None and recorder_open.captures else None


_is_trial: ContextVar[bool] = ContextVar("_is_trial", default=False)


def on_trial() -> AbstractContextManager[Any]:
    """Within the block, weights keep their values: `call` of a layer runs for the shape of its outputs alone."""
    return ContextValue(_is_trial, True)


def captured_change(weight: Any, value: Any) -> bool:
    """Returns whether an assignment of a weight has nothing more to do: it is recorded, or it's a trial.

    Args:
        weight: a weight or a variable.
        value: the new value.
    """
    if current.get() is not None:
        return False
    if open_recorder.get() is not None:
        require_no_region(open_recorder.get().trace)
    if _is_trial.get() or _trace_assigns(weight, value):
        return True
    capture = capturing()
    if capture is None:
        return False
    capture.assign(weight, value)
    return True


def _trace_assigns(weight: Any, value: Any) -> bool:
    """Records an assignment in the trace of this thread, if that has read the weight, and returns whether it does.

    So derivatives go on through what was recorded before. A weight that trains, or is one of a layer of the library, is assigned
    otherwise: a tape does so at once, and in a step a segment ends.
    """
    recorder_open = recorder()
    if recorder_open is None or not weight._changes_in_traces:
        return False
    owner, number = weight._owner_and_number
    trace = recorder_open.trace
    if owner not in trace.owners:
        return False
    trace.assign(owner, number, weight.shape, value)
    return True


class PartCall(NamedTuple):
    """What a call of a layer or a model computes and changes."""

    shapes: tuple[Extents, ...]
    """The shapes of its outputs."""
    changed: frozenset[Any]
    """The owners of weights that it changes, such as moving averages."""
    may_make_mask: bool
    """Whether its outputs may have a mask though its inputs have none."""


class TraceFunctions(NamedTuple):
    """What computes traces. It knows how layers and models are lowered."""

    evaluate: Callable[[LazyTrace], None]
    """Computes all arrays of a trace that wait for their numbers."""
    masks: Callable[[LazyTrace, Sequence[TracedArray]], list[bool]]
    """Returns for each output of a layer or a model whether a mask reaches it, with one value for each of its rows."""
    call_of_part: Callable[[Any, Sequence[TracedArray], bool | None, Any], PartCall]
    """Returns what a call of a layer or a model computes and changes. Its weights are created.

    Its arguments are the layer or model, its inputs, and the arguments of the call: `training`, and the further ones.
    """


class LazyTrace(Trace):
    """What gradient tapes have recorded. All lengths in it are known."""

    functions: ClassVar[TraceFunctions]
    """What computes traces; `engine.models.functions` sets it when it is imported, as it imports this module."""
    computes = True
    """Whether its numbers can be computed at any time."""

    sources: Mapping[int, Any] = MappingProxyType({})
    """Where inputs come from that differ from call to call, by the number of the input."""

    region = ""
    """What maps the function that is being recorded for one element, such as "vmap"; else empty."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.arguments: list[NDArray[Any]] = []
        """The value of each input."""
        self.waiting: list[weakref.ref[RecordedArray]] = []
        """The arrays without numbers. One that the user has let go isn't computed."""
        self._tapes: list[weakref.ref[Any]] = []
        self.watched: dict[int, TracedArray] = {}
        """The arrays of the user that a tape watches, by their `id`."""
        self.earlier: dict[Any, list[NDArray[Any]]] = {}
        """The earlier values of weights that have changed since they were read, by their owner."""
        self.changes: list[tuple[int, frozenset[Any]]] = []
        """The entries that change weights, such as moving averages, and the owners of these weights."""
        self.applied = 0
        """How many of these entries have been computed, so that the weights have changed."""
        self.draw: int | None = None
        """The number of the random draws in the random stream, once something was drawn."""
        # Read-only arrays and symbols of other traces that are inputs, each with its input, by their `id`.
        self._held: dict[int, tuple[Any, TracedArray]] = {}
        self.taken: list[TakenNumbers] = []
        """The numbers that the user has taken out of the recording while a tape was recording."""
        # The traces of the thread that makes this one, among which it is while it holds something.
        self._of_thread = of_thread.traces

    @property
    def symbol(self) -> Any:
        return RecordedArray

    @property
    def may_differentiate(self) -> bool:
        """Whether a tape may still ask for derivatives."""
        for reference in self._tapes:
            tape = reference()
            if tape is not None and not tape._finished:
                return True
        return False

    def unfinished_tapes(self) -> list[Any]:
        """Returns the tapes that may still ask for derivatives of what is recorded here."""
        tapes = [reference() for reference in self._tapes]
        return [tape for tape in tapes if tape is not None and not tape._finished]

    def add_tape(self, tape: Any) -> None:
        """Notes that a tape records into this trace, which doesn't keep it alive."""
        self._tapes.append(weakref.ref(tape))

    def remove_tape(self, tape: Any) -> None:
        """Notes that a tape asks for no derivatives of what it has recorded here."""
        self._tapes = [reference for reference in self._tapes if reference() is not tape]

    def depends_on(self, part: Any) -> None:
        """Notes that a layer, a model or a variable is about to be read, where what is recorded will be compiled as it is."""

    def add(
        self, kind: str, inputs: Sequence[TracedArray], shape: Extents, dtype: str, **fields: Any
    ) -> TracedArray:
        if kind == "random" and self.computes:
            return self.argument(_drawn(shape, **fields))
        array = super().add(kind, inputs, shape, dtype, **fields)
        if kind == "assign_after_batch" and isinstance(inputs[0].origin, OfWeight):
            self._record_change(frozenset((inputs[0].origin.owner,)))
        return array

    def append(self, entry: Node | Use, dtype: str) -> Computed:
        if not self.entries:
            self._begin()
        return super().append(entry, dtype)

    def _record_change(self, owners: frozenset[Any]) -> None:
        """Notes that the last entry changes weights of these owners."""
        if not owners:
            return
        self.changes.append((len(self.entries) - 1, owners))
        self._assigned = {key: value for key, value in self._assigned.items() if key[0] not in owners}
        if _is_trial.get():
            keep_weights(self, owners)  # so that copies change
            self.applied = len(self.changes)
        elif self.computes:
            of_thread.pending_changes.add(self)

    @property
    def pending_changes(self) -> list[tuple[int, frozenset[Any]]]:
        """The entries that are still to change weights, and the owners of these weights."""
        return self.changes[self.applied :]

    def weight(self, owner: Any, number: int, shape: Sequence[int]) -> TracedArray:
        """Returns weight `number` of its owner, as the entries so far have changed it."""
        if not self.changes:  # nor is anything assigned
            return RecordedArray(self, OfWeight(owner, number), fixed_extents(tuple(shape)), FLOAT32)
        array = super().weight(owner, number, shape)
        changed = any(owner in owners for _, owners in self.changes) and (owner, number) not in self._assigned
        if owner._specs[number].trainable or not changed:
            return array
        return self.add("reshape", (array,), array.extents, "float32")  # which reads it at this place

    def call(
        self, part: Any, inputs: Sequence[TracedArray], training: bool | None = None, arguments: Any = None
    ) -> tuple[TracedArray, ...]:
        call = self.functions.call_of_part(part, inputs, training, arguments)
        self._require_readable(part, inputs)
        views = tuple([symbol.view for symbol in inputs])
        outputs: Any = self.append_call(Use(part, views, call.shapes, training, arguments))
        self._record_change(call.changed)
        if call.may_make_mask or any(mask_of(symbol) is not None for symbol in inputs):
            for array, masked in zip(outputs, self.functions.masks(self, outputs), strict=True):
                if masked:
                    array._keras_mask = self.add("mask_as_array", (array,), array.extents[:-1], "bool")
        return outputs  # type: ignore[no-any-return] # symbols

    def _require_readable(self, part: Any, inputs: Sequence[TracedArray]) -> None:
        """Raises ValueError if a layer or a model gets numbers that aren't indices of its embeddings, or that float32 rounds."""
        tokens = part._indices_below
        if tokens is not None:
            expected = f"the inputs of {part.name!r} must hold indices"
            sizes = [tokens] * len(inputs) if isinstance(tokens, int) else tokens
            for array, size in zip(inputs, sizes, strict=False):
                if size is not None:
                    self.require(array, IndexRange(size, expected))
        for array, reading in zip(inputs, part._input_readings, strict=False):
            if reading is Reading.EXACT and array.dtype != "float32":
                self.require(array, ExactIntegers(f"inputs of {part.name}"))

    def require(self, array: TracedArray, limits: IndexRange | ExactIntegers) -> None:
        """Raises ValueError if the numbers of an array are known, and aren't those that they must be."""
        numbers = getattr(array, "_numbers", None)
        if numbers is not None:
            limits.check(numbers)

    def argument(self, value: Any, dtype: str | None = None) -> RecordedArray:
        """Returns an array as a new input.

        Raises:
            TypeError: for something else than real numbers.
        """
        array = as_array(value)
        if array.dtype.kind not in "biuf":
            msg = f"a gradient tape takes real numbers, got an array of dtype {array.dtype}"
            raise TypeError(msg)
        numbers = np.array(array, np.float32, order="C")  # a copy, as the user may change the array
        self.arguments.append(numbers)
        name = dtype or ("float32" if array.dtype.kind == "f" else array.dtype.name)
        converted = numbers if name == "float32" else array.astype(name)
        argument = RecordedArray(
            self, Input(len(self.arguments) - 1), fixed_extents(array.shape), name, converted
        )
        self.inputs.append(argument)
        return argument

    def constant(self, value: Any) -> TracedArray:
        key = id(value)
        if key in self.watched:
            return self.watched[key]
        if isinstance(value, np.ndarray) and value.ndim and not value.flags.writeable:
            if key not in self._held:
                self._held[key] = value, self.argument(value)
            return self._held[key][1]
        return self.argument(value)

    def adopted(self, symbol: TracedArray) -> TracedArray:
        key = id(symbol)
        if key in self.watched:
            return self.watched[key]
        if key not in self._held:
            if symbol.computed_numbers is None:
                return super().adopted(symbol)
            self._held[key] = symbol, self.argument(symbol.computed_numbers, symbol.dtype)
        return self._held[key][1]

    def read_again(self, symbol: TracedArray) -> RecordedArray | None:
        """Returns a new input that gets the numbers of `symbol`, if that is an input that has others in each call; else None."""

    def earlier_arrays(self) -> list[tuple[RecordedArray, TracedArray]]:
        """Returns the arrays of other traces that are inputs of this one, each with its input."""
        return [
            (value, argument) for value, argument in self._held.values() if isinstance(value, RecordedArray)
        ]

    def inputs_from(self, earlier: Sequence[LazyTrace]) -> list[tuple[RecordedArray, TracedArray]]:
        """Returns the arrays of earlier traces that are inputs of this one, each with its input."""
        return [pair for pair in self.earlier_arrays() if any(pair[0].trace is trace for trace in earlier)]

    def as_array(self, symbol: RecordedArray) -> NDArray[Any]:
        """Returns an array of NumPy with the numbers of a recorded one, which stands for it in what is recorded from now on."""
        array = np.array(symbol.computed_numbers).view(Tensor)
        if self.may_differentiate:
            self.watched[id(array)] = symbol
            self._held[id(array)] = array, symbol  # so that no other array gets its `id`
        return array

    def evaluate(self) -> None:
        """Computes all arrays that wait for their numbers, and changes the weights that are to be changed."""
        of_thread.pending_changes.discard(self)
        try:
            self.functions.evaluate(self)
        finally:
            self.waiting, self.applied = [], len(self.changes)
            if not self.may_differentiate:
                self._release()

    def _begin(self) -> None:
        """Lists the trace among those that hold something."""
        key, listed = id(self), self._of_thread
        listed[key] = weakref.ref(self, partial(listed.pop, key))  # `pop` gets the reference as its default

    def _release(self) -> None:
        """Forgets what was recorded, as all arrays have their numbers, and no tape asks for derivatives."""
        self._of_thread.pop(id(self), None)
        self.entries, self.dtypes, self.arguments, self.inputs = [], [], [], []
        self._held, self.watched, self.earlier = {}, {}, {}
        self.changes, self.applied, self._assigned, self.taken = [], 0, {}, []
        recorder_open = open_recorder.get()
        if recorder_open is not None and recorder_open.trace is self:
            recorder_open.renew()

    def pending(self) -> list[RecordedArray]:
        """Returns the arrays that wait for their numbers."""
        arrays = [reference() for reference in self.waiting]
        return [array for array in arrays if array is not None and array._numbers is None]

    @property
    def owners(self) -> set[Any]:
        """The owners of the weights that were read: layers and variables."""
        return set(self.read_owners())

    def read_owners(self) -> Iterator[Any]:
        """Yields the owners of the weights that were read, in their order; some come several times."""
        for entry in self.entries:
            for origin, _ in entry.inputs:
                if type(origin) is OfWeight:
                    yield origin.owner
            if type(entry) is Use:
                yield from entry.part._layers_of_weights


def require_no_region(trace: LazyTrace) -> None:
    """Raises CannotRecordError if weights are about to change in a function that is recorded for one element of a batch."""
    if trace.region:
        msg = f"{line_of_user()}: {trace.region} can't map a function that changes weights: change them outside of it"
        raise CannotRecordError(msg)


class _OfThread(threading.local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.traces: dict[int, weakref.ref[LazyTrace]] = {}
        """The traces that were made in the thread and hold something, by their `id`."""
        self.pending_changes = set[LazyTrace]()
        """The traces that are still to change weights, even if nothing else refers to them any more."""


of_thread = _OfThread()


def _present_traces() -> list[LazyTrace]:
    """Returns the traces that hold something: those of this thread, and that of its open tapes.

    A thread may run in a copy of another thread's context, and so has the tapes of that one.
    """
    if not of_thread.traces and open_recorder.get() is None:
        return []
    # The copy is made at once: another thread may let go of a trace meanwhile.
    found = [reference() for reference in of_thread.traces.copy().values()]
    recorder = open_recorder.get()
    if recorder is not None:
        found.append(recorder.trace)
    return [trace for trace in dict.fromkeys(found) if trace is not None]


def apply_pending_changes() -> None:
    """Makes the traces of this thread change the weights that they are to change, before these are read."""
    if of_thread.pending_changes and current.get() is None:
        for trace in list(of_thread.pending_changes):
            trace.evaluate()


def prepare_for_change(owners: Iterable[Any] | None = None) -> None:
    """Prepares the traces of this thread for a change of weights that they have read.

    Arrays that wait for their numbers are computed with the present weights. Where a tape may still ask for derivatives, the
    trace keeps a copy of these weights, and recording continues in another trace.

    Args:
        owners: the layers and variables whose weights change; None means all.

    Raises:
        NeedsValuesError: if a whole step is being recorded.
    """
    if capturing() is not None:
        raise needs_values("a weight", "a change of it")
    changing = None if owners is None else set(owners)
    for trace in _present_traces():
        if not trace.computes or not trace.entries:
            continue
        if not any(changing is None or owner in changing for owner in trace.read_owners()):
            continue
        trace.evaluate()
        if trace.may_differentiate:
            keep_weights(trace, trace.owners if changing is None else trace.owners & changing)
        recorder_open = open_recorder.get()
        if recorder_open is not None and recorder_open.trace is trace:
            recorder_open.renew()


def keep_weights(trace: LazyTrace, owners: Iterable[Any]) -> None:
    """Stores the weights of layers and variables in a trace, which reads them from there from now on."""
    for owner in owners:
        if owner not in trace.earlier:
            trace.earlier[owner] = [np.array(array, np.float32) for array in owner._own_values]


def shape_for_samples(shape: Extents, count: int) -> Extents:
    """Returns a shape without lengths that depend on the number of samples, which is `count`."""
    return tuple(Extent(extent.fixed + extent.per_sample * count) for extent in shape)


def _drawn(shape: Extents, distribution: str, low: float, high: float, **seeds: int) -> NDArray[Any]:
    """Returns the numbers of a node "random"."""
    (seed,) = seeds.values()
    lengths = tuple(extent.fixed for extent in shape)
    numbers: NDArray[Any] = function_of_arrays(distribution)(lengths, low, high, seed=seed % 2**63)
    return numbers


class RecordedArray(TracedArray):
    """An array whose numbers are computed when they are needed, as by `float(x)`, `np.asarray(x)` or `print(x)`.

    Arithmetic, NumPy's functions, those of `engine.ops`, layers and losses accept it, and record what they do.

    Args:
        trace: what it is recorded in.
        origin: what computes it.
        shape: of the array.
        dtype: its name.
        numbers: its numbers; None if they are computed later.
    """

    trace: LazyTrace
    _keras_mask: Any = None
    """The mask that Keras attaches to the outputs of layers, True for each timestep to keep, as a recorded array; or None."""

    def __init__(
        self, trace: LazyTrace, origin: Any, shape: Extents, dtype: str, numbers: NDArray[Any] | None = None
    ) -> None:
        # What the base class does, without another call.
        self.trace, self.origin, self.extents = trace, origin, shape
        self.dtype = dtype if type(dtype) is DTypeName else dtype_named(dtype)
        self._numbers = numbers
        if numbers is None:
            trace.waiting.append(weakref.ref(self))

    # Numbers.

    @property
    def computed_numbers(self) -> NDArray[Any]:
        """The numbers, which are computed now if they are not there yet."""
        if self._numbers is None and not self.trace.computes:
            where = f"function that {self.trace.region} maps" if self.trace.region else "step"
            raise needs_values(f"<array of a {where}, shape={self.shape}>", "float() or np.asarray() of it")
        if self._numbers is None:
            self.trace.evaluate()
        if self._numbers is None:  # this array was made after its trace had been computed
            self.trace.waiting.append(weakref.ref(self))
            self.trace.evaluate()
        numbers: Any = self._numbers
        return numbers  # type: ignore[no-any-return] # they are there

    def _taken(self, action: str) -> NDArray[Any]:
        """Returns the numbers to the user, who has asked for them by `action`."""
        numbers = self.computed_numbers
        if recorder() is not None:
            note_taken(self, action)
        return numbers

    def set_numbers(self, numbers: NDArray[np.float32]) -> None:
        """Sets the numbers, which the core has computed."""
        lengths = tuple([extent.fixed for extent in self.extents])
        array = numbers if numbers.shape == lengths else numbers.reshape(lengths)
        self._numbers = array if self.dtype is FLOAT32 else array.astype(self.dtype)

    @property
    def value(self) -> NDArray[Any]:
        """The numbers as an array of NumPy."""
        return self.computed_numbers

    def numpy(self) -> NDArray[Any]:
        """Returns the numbers as a new array of NumPy."""
        return np.array(self._taken("numpy()"))

    def __array__(  # type: ignore[override] # unlike other symbols it has numbers
        self, dtype: Any = None, copy: bool | None = None
    ) -> NDArray[Any]:
        if recorder() is not None:
            require_not_read_by_numpy(self)
        return np.array(self.computed_numbers, dtype) if copy else np.asarray(self.computed_numbers, dtype)

    def item(self, *index: Any) -> Any:
        """Returns one number as a number of Python."""
        return self._taken("item()").item(*index)

    def tolist(self) -> Any:
        """Returns the numbers in lists."""
        return self._taken("tolist()").tolist()

    def __bool__(self) -> bool:
        return bool(self.computed_numbers)

    def __float__(self) -> float:
        if recorder() is not None:
            note_number(self, "float()")
        return float(self.computed_numbers)

    def __int__(self) -> int:
        if recorder() is not None:
            note_number(self, "int()")
        return int(self.computed_numbers)

    def __index__(self) -> int:
        return self.computed_numbers.__index__()

    def __format__(self, form: str) -> str:
        return format(self.computed_numbers[()] if not self.extents else self.computed_numbers, form)

    def __repr__(self) -> str:
        return f"<RecordedArray shape={self.shape}, dtype={self.dtype}, numpy={self.computed_numbers}>"

    def __str__(self) -> str:
        return str(self.computed_numbers)

    def __contains__(self, value: Any) -> bool:
        return bool(value in self.computed_numbers)

    # What traces ask of it.

    @property
    def _sample(self) -> Any:
        return tuple(extent.fixed for extent in self.extents[1:])

    def reshaped(self, shape: Extents) -> RecordedArray:
        numbers = self._numbers
        if numbers is not None:
            numbers = numbers.reshape([extent.fixed for extent in shape])
        return RecordedArray(self.trace, self.origin, tuple(shape), self.dtype, numbers)

    def as_dtype(self, dtype: str) -> RecordedArray:
        numbers = None if self._numbers is None else self._numbers.astype(dtype)
        return RecordedArray(self.trace, self.origin, self.extents, dtype, numbers)

    @property
    def is_plain(self) -> bool:
        """Whether an array of NumPy can replace this one: its numbers are known, and no tape may ask for derivatives."""
        return self._numbers is not None and not self.trace.may_differentiate

    def _record(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trace = current.get()
        if trace is None:
            if operation in _HIGHER_ORDER:
                of_numbers = operation not in _CHOICES or self._may_compute()
                return (function_of_arrays if of_numbers else implementation)(operation)(*args, **kwargs)
            trace = trace_for((args, kwargs))
        if trace is None or not can_record(operation):
            return _computed_operation(operation, args, kwargs)
        return known_calls.record(trace, operation, args, kwargs)

    def _may_compute(self) -> bool:
        """Whether the numbers of what is recorded now can be computed at once."""
        recorder_open = recorder()
        return self.trace.computes and (recorder_open is None or recorder_open.trace.computes)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Records a universal function of NumPy, or computes it at once if no derivative is known."""
        return recorded_or_computed_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Records another function of NumPy, or computes it at once if no derivative is known."""
        result = recorded_or_computed_function(function, args, kwargs)
        if function in _SAME_NUMBERS and isinstance(result, RecordedArray) and result.trace.computes:
            return result.trace.as_array(result)
        return result

    def stopped(self) -> RecordedArray:
        """Returns the same numbers, through which no derivative is computed."""
        return self.trace.add("stop_gradient", (self,), self.extents, self.dtype)  # type: ignore[return-value] # of this trace


def recorded_or_computed_ufunc(
    ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Records a universal function of NumPy, or computes it at once where nothing is recorded or it has no derivative."""
    name = f"np.{ufunc.__name__}{'' if method == '__call__' else f'.{method}'}"

    def computed(given: Any) -> Any:
        return getattr(ufunc, method)(*given[0], **given[1])

    def recorded() -> Any:
        return recorded_ufunc(ufunc, method, inputs, options)

    return _recorded_or_computed(name, recorded, computed, (inputs, options))


def recorded_or_computed_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Records another function of NumPy, or computes it at once where nothing is recorded or it has no derivative."""
    module = getattr(function, "__module__", "numpy").replace("numpy", "np", 1)

    def computed(given: Any) -> Any:
        return function(*given[0], **given[1])

    def recorded() -> Any:
        return recorded_function(function, args, kwargs)

    return _recorded_or_computed(f"{module}.{function.__name__}", recorded, computed, (args, kwargs))


def _recorded_or_computed(
    name: str, record: Callable[[], Any], compute: Callable[[Any], Any], given: tuple[Any, Any]
) -> Any:
    """Returns the result of a function of NumPy.

    Args:
        name: of the function.
        record: records it.
        compute: computes it, for arguments without recorded arrays.
        given: its arguments by position and by keyword.

    Raises:
        CannotRecordError: if it can't be recorded, and the numbers aren't known or a derivative would be lost.
    """
    trace = trace_for(given)
    if current.get() is None and trace is None:
        return compute(numbers_of(given))
    try:
        return record()
    except CannotRecordError as error:
        try:
            result = compute(numbers_of(given))
        except NeedsValuesError:
            raise error from None
        if trace is not None:
            _require_no_derivative(name.rpartition(".")[2], name, result, given, error)
        return result


def _computed_operation(operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the result of a function of `engine.ops` that can't be recorded.

    Raises:
        CannotRecordError: if a derivative would be lost.
    """
    result = function_of_arrays(operation)(*numbers_of(args), **numbers_of(kwargs))
    name = operation.rpartition(".")[2]
    _require_no_derivative(name, f"ops.{name}", result, (args, kwargs))
    return result


def _require_no_derivative(
    function: str, name: str, result: Any, given: Any, reason: Exception | None = None
) -> None:
    """Raises CannotRecordError if an open tape may ask for a derivative of what was computed without recording it.

    Args:
        function: what computed it.
        name: the same, as users write it.
        result: what it returned.
        given: its arguments.
        reason: why it could not be recorded; None for lack of a rule.
    """
    recorder_open = recorder()
    if recorder_open is None or not has_floats(function, result):
        return
    found = list[RecordedArray]()

    def collected(value: Any) -> Any:
        if not isinstance(value, TracedArray) or isinstance(value, RecordedArray):
            found.append(as_recorded(value, recorder_open.trace))
        return value

    mapped(collected, given)
    if any(map(has_derivative, found)):
        raise no_rule(name, reason) from None


def trace_for(values: Any) -> LazyTrace | None:
    """Returns the trace that an operation on `values` is recorded in; None if it is computed at once."""
    recorder_open = recorder()
    if recorder_open is not None:
        return recorder_open.trace
    first: LazyTrace | None = None

    def find_trace(value: Any) -> Any:
        nonlocal first
        if first is None and isinstance(value, RecordedArray) and not value.is_plain:
            first = value.trace
        return value

    mapped(find_trace, values)
    return first


def without_mask(value: Any) -> Any:
    """Returns a recorded array without its mask; other values as they are."""
    return value.as_dtype(value.dtype) if isinstance(value, RecordedArray) else value


def numbers_of(values: Any) -> Any:
    """Returns `values` with arrays of NumPy in place of recorded ones, at any depth of lists, tuples and dicts."""
    return mapped(_numbers, values)


def _numbers(value: Any) -> Any:
    if isinstance(value, RecordedArray):
        return value.computed_numbers
    if isinstance(value, StoredArray):
        return np.asarray(value)
    return plain_array(value)


def as_recorded(value: Any, trace: LazyTrace) -> RecordedArray:
    """Returns a recorded array, a weight or an array as a recorded array of `trace`."""
    if isinstance(value, RecordedArray) and value.trace is trace:
        return value
    if isinstance(value, TracedArray):
        return trace.adopted(value)  # type: ignore[return-value] # of this trace
    weight = getattr(value, "_weight_in", None)
    return trace.constant(value) if weight is None else weight(trace)  # type: ignore[return-value] # of this trace


def recorded_masks(masks: Any, inputs: Any, trace: LazyTrace) -> Any:
    """Returns the masks of inputs as recorded arrays of `trace`.

    Args:
        masks: one mask, or a structure of them like that of the inputs; None where there is none.
        inputs: the inputs.
        trace: where the masks are recorded.
    """
    if masks is None:
        return None
    if isinstance(masks, Mapping) and isinstance(inputs, Mapping):
        return {name: recorded_masks(each, inputs.get(name), trace) for name, each in masks.items()}
    if isinstance(masks, (list, tuple)) and isinstance(inputs, (list, tuple)):
        pairs = zip_longest(masks, inputs[: len(masks)])
        return sequence_like(masks, (recorded_masks(mask, each, trace) for mask, each in pairs))
    return as_recorded(masks, trace)


def recorded_inputs(values: Any, part: Any) -> Any:
    """Returns the inputs of a layer or model in the form in which it is called on them, and applies changes of its weights.

    While a tape is recording, arrays become recorded ones. Otherwise recorded arrays whose numbers are there become
    arrays of NumPy.

    Args:
        values: the inputs.
        part: the layer or model.
    """
    if current.get() is not None or (open_recorder.get() is None and not of_thread.traces):
        return values
    if open_recorder.get() is None:
        apply_pending_changes()
    recorder_open = recorder()
    if recorder_open is None:
        return mapped(_plain, values) if contains(values, RecordedArray) else values
    recorder_open.trace.depends_on(part)
    return _wrapped(values, recorder_open.trace, part)


def _plain(value: Any) -> Any:
    return value.computed_numbers if isinstance(value, RecordedArray) and value.is_plain else value


def _wrapped(value: Any, trace: LazyTrace, part: Any) -> Any:
    """Returns `value` with recorded arrays in place of arrays, weights and lists of numbers, at any depth."""
    if isinstance(value, RecordedArray):
        return recorded_with_mask(value, trace, part)
    if is_symbolic(value) and not hasattr(value, "_weight_in") and not isinstance(value, np.ndarray):
        return value  # a symbol of a model
    if isinstance(value, dict):
        return {key: _wrapped(item, trace, part) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not _is_numbers(value):
        return sequence_like(value, (_wrapped(item, trace, part) for item in value))
    if value is None or isinstance(value, (str, bool)):
        return value
    return recorded_with_mask(value, trace, part)


def recorded_with_mask(value: Any, trace: LazyTrace, part: Any) -> RecordedArray:
    """Returns an input of a layer or a model as `as_recorded` does, with the mask of a tensor, or of an array of another trace."""
    array, mask = as_recorded(value, trace), mask_of(value)
    if array is value or mask is None:
        return array
    return part._with_mask([array, as_recorded(mask, trace)])  # type: ignore[no-any-return] # a recorded array


def _is_numbers(value: Any) -> bool:
    """Returns whether a list is an array: numbers, or lists of numbers."""
    first = next(iter(value), None)
    while isinstance(first, (list, tuple)):
        first = next(iter(first), None)
    return isinstance(first, (int, float, np.generic))
