"""Steps of users that are compiled: `train_step` runs once with symbols, and the core then runs whole stretches of batches.

A step is divided into *segments*: each ends where weights change, by an optimizer or by `assign`, and becomes one function of
the core. Calls of metrics are not recorded but listed; they are made after a stretch of batches, with what the functions
returned for each batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine import tree
from engine._base.random_state import next_key, related_seed
from engine._base.tensor_like import Tensor, open_recorder
from engine._core_interface.cpp import (
    CallTable,
    ContextValue,
    Float32,
    FunctionSequence,
    Program,
    StepCall,
    WeightArray,
)
from engine._data.exact_integers import ExactIntegers
from engine._data.index_ranges import IndexRange
from engine._data.sources import Samples
from engine._tracing.errors import CannotRecordError, NeedsValuesError, needs_values, text_with_line
from engine._tracing.extents import Extent, FullShape
from engine._tracing.integer_bounds import IntegerBounds, IntegersRoundedError, is_of_integers, magnitude_of
from engine._tracing.lazy import (
    LazyTrace,
    RecordedArray,
    Recorder,
    as_recorded,
    of_thread,
    prepare_for_change,
)
from engine._tracing.symbolic import current, mapped, sequence_like
from engine._tracing.trace import Input, OfWeight, Origin, TracedArray
from engine._tracing.versions import Dependencies, Versioned
from engine._training.draws import draw_position, drawing_from
from engine._training.fit_arguments import BATCH_SIZE
from engine._training.step_batches import ArrayPass, StepArrays, Stretch, batches_of
from engine.metrics import Mean
from engine.metrics.metric import in_core
from engine.models.functions import FunctionLowering, Request
from engine.optimizers.variables import Tracked

# The most numbers that the functions of a step may return for a stretch, which limits its length.
_MOST_NUMBERS = 1 << 22

# The number of compiled steps that a model keeps for a method, one for each form of batches.
_MOST_STEPS = 16

LateValue = tuple[Any, ...]
"""A value that is known after a step, as `StepCall` reads it."""

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


class _OptimizerStep(NamedTuple):
    """An optimizer steps weights."""

    optimizer: Any
    tracked: list[Tracked]
    gradients: list[RecordedArray]


class _Assignment(NamedTuple):
    """A weight gets another value."""

    owner: Any
    number: int
    value: RecordedArray


class _MetricCall(NamedTuple):
    """A call of a method of a metric."""

    metric: Any
    method: str
    args: Any
    options: Any


class Result:
    """Stands for a number that is known after the step, such as the result of a metric.

    Args:
        what: the number, for messages.
        read: returns the number.
    """

    def __init__(self, what: str, read: Callable[[], Any]) -> None:
        self._what, self.read = what, read

    @property
    def late_value(self) -> LateValue:
        """The number as `StepCall` reads it."""
        return "read", self.read

    def _no_values(self, *_: Any) -> Any:
        raise needs_values(self._what, "arithmetic with it")

    __float__ = __int__ = __bool__ = __array__ = __format__ = _no_values
    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = _no_values
    __mod__ = __floordiv__ = __pow__ = __lt__ = __le__ = __gt__ = __ge__ = _no_values


_Change = _OptimizerStep | _Assignment | None
"""What changes weights at the end of a segment; None for the last one, which may end without a change."""


class StepTrace(LazyTrace):
    """The segment of a step that is being recorded.

    Args:
        dependencies: where to note the layers, models and variables that the step reads.
    """

    computes = False

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__()
        self._dependencies = dependencies
        self.sources: dict[int, Any] = {}
        """An int is the number of an array in the flat batch; a recorded array is a result of an earlier segment.
        """
        self.limits = set[tuple[int, IndexRange | ExactIntegers]]()
        """What arrays of the flat batch must hold, by their numbers."""

    @property
    def may_differentiate(self) -> bool:
        """True, since nothing is computed yet."""
        return True

    def depends_on(self, part: Any) -> None:
        """Notes that a layer, a model or a variable is about to be read."""
        self._dependencies.add(part)

    def weight(self, owner: Any, number: int, shape: Sequence[int]) -> TracedArray:
        """Returns weight `number` of its owner."""
        self.depends_on(owner)
        return super().weight(owner, number, shape)

    def input_for(self, source: Any, shape: Sequence[int], dtype: str) -> RecordedArray:
        """Returns an input that gets its numbers from `source` in each batch; see `sources`."""
        self.arguments.append(np.zeros(shape, np.float32))
        number = len(self.arguments) - 1
        self.sources[number] = source
        found = RecordedArray(self, Input(number), tuple(map(Extent, shape)), dtype)
        self.inputs.append(found)
        return found

    def read_again(self, symbol: TracedArray) -> RecordedArray | None:
        """Returns a new input for the array of the flat batch that a symbol stands for; None if it stands for none."""
        number = _number_in_batch(symbol) if isinstance(symbol, RecordedArray) else None
        if number is None:
            return None
        return self.input_for(number, [each.fixed for each in symbol.extents], symbol.dtype)

    def require(self, array: TracedArray, limits: IndexRange | ExactIntegers) -> None:
        """Says what an array must hold, which is checked before the step runs if it comes from the batch."""
        source = self.sources.get(array.origin.number) if isinstance(array.origin, Input) else None
        if isinstance(source, int):
            self.limits.add((source, limits))
        else:
            super().require(array, limits)

    def adopted(self, symbol: TracedArray) -> TracedArray:
        """Returns an array of an earlier segment as an input of this one."""
        if not isinstance(symbol, RecordedArray) or symbol._numbers is not None:
            return super().adopted(symbol)
        key = id(symbol)
        if key in self.watched:
            return self.watched[key]
        if key not in self._held:
            number = _number_in_batch(symbol)
            source = symbol if number is None else number
            shape = [each.fixed for each in symbol.extents]
            self._held[key] = symbol, self.input_for(source, shape, symbol.dtype)
        return self._held[key][1]


def _number_in_batch(array: RecordedArray) -> int | None:
    """Returns which array of the flat batch `array` is, if no operation has changed it; else None."""
    trace, origin = array.trace, array.origin
    if not isinstance(trace, StepTrace) or not isinstance(origin, Input):
        return None
    source, original = trace.sources.get(origin.number), trace.inputs[origin.number]
    unchanged = (original.extents, original.dtype) == (array.extents, array.dtype)
    return source if isinstance(source, int) and unchanged else None


class Capture(Recorder):
    """Records a whole step."""

    captures = True
    trace: StepTrace

    def __init__(self) -> None:
        self.dependencies = Dependencies()
        super().__init__()
        self.segments: list[tuple[StepTrace, _Change]] = []
        self.metric_calls: list[_MetricCall] = []

    def _new_trace(self) -> LazyTrace:
        return StepTrace(self.dependencies)

    def record(self, step: Callable[[Any], Any], batch: Any) -> Any:
        """Runs a step with symbols in place of the arrays of a batch, and returns what it returns."""
        numbers = iter(range(len(tree.flatten(batch))))

        def symbol(value: Any) -> Any:
            number = next(numbers)
            if value is None or isinstance(value, str):
                return value
            array = np.asarray(value)
            if array.dtype.kind == "c":
                msg = f"an argument of dtype {array.dtype} can't be recorded: give its real and its imaginary part"
                raise CannotRecordError(msg)
            return self.trace.input_for(number, array.shape, array.dtype.name)

        with ContextValue(open_recorder, self):
            returned = step(tree.map_structure(symbol, batch))
        self.segments.append((self.trace, None))  # what comes after the last change of weights
        return returned

    def note(self, metric: Any, method: str, args: Any, options: Any) -> Any:
        """Lists a call of a method of a metric, to be made after the step, and returns what stands for its result."""
        if method == "result":
            return self.later(f"the result of metric {metric.name!r}", metric.result)
        if method == "reset_state":
            raise needs_values(f"metric {metric.name!r}", "reset_state()")
        self.metric_calls.append(_MetricCall(metric, method, args, options))
        return None

    def later(self, what: str, read: Callable[[], Any]) -> Result:
        """Returns what stands for a number that is known after the step, such as the number of steps of an optimizer."""
        return Result(what, read)

    def step(self, optimizer: Any, tracked: list[Tracked], gradients: Sequence[Any]) -> None:
        """Ends the segment with an optimizer's step, and begins the next one.

        The core applies the constraints that it knows. Those of users are recorded, and assign the weights.
        """
        if any(each._replace(constraint=None).needs_python for each in tracked):
            raise needs_values("a weight", "a regularizer that only Python can compute")
        recorded = [as_recorded(each, self.trace) for each in gradients]
        self.segments.append((self.trace, _OptimizerStep(optimizer, tracked, recorded)))
        self.renew()
        for each in tracked:
            if each.constraint is not None and each.constraint._is_custom:
                weight = each.owner._weights[each.number]
                try:
                    self.assign(weight, each.constraint(as_recorded(weight, self.trace)))
                except Exception as error:
                    raise needs_values("a weight", "a constraint that only Python can compute") from error

    def assign(self, weight: Any, value: Any) -> None:
        """Ends the segment with the assignment of a weight or a variable, and begins the next one."""
        owner, number = weight._owner_and_number
        array, shape = as_recorded(value, self.trace), owner._specs[number].shape
        if not isinstance(weight._array, WeightArray):
            raise needs_values(repr(weight), "assign()")
        if tuple(each.fixed for each in array.extents) != shape:
            msg = f"the weight {weight.path!r} must get a value of its shape {shape}, got {array.shape}"
            raise ValueError(msg)
        self.segments.append((self.trace, _Assignment(owner, number, array)))
        self.renew()


class _Segment(NamedTuple):
    """A compiled segment of a step."""

    program: Program
    optimizer: Any
    places: list[int]
    """For each variable of the program its index among the optimizer's weights, or -1 if it is none of them."""
    draws: bool
    """Whether it draws random numbers."""
    names: list[str]
    """Of the variables of the program."""


class CompiledStep:
    """A step that is compiled for batches of one form: one structure, with one shape and dtype for each array.

    Args:
        step: the method of the user, such as `train_step`.
        batch: an example: arrays in any structure. Their shapes and dtypes are used, not their numbers.
        read: layers, models and variables that the method reads, beside those that it calls.
        may_round: whether the step runs, after a warning the first time, even if it may round integers.

    Attributes:
        dependencies: all that it reads.

    Raises:
        Exception: whatever the method raises when it gets symbols.
    """

    def __init__(
        self,
        step: Callable[[Any], Any],
        batch: Any,
        read: Iterable[Versioned] = (),
        may_round: bool = False,
    ) -> None:
        self._may_round, self._told_of_rounding = may_round, False
        capture = Capture()
        self.dependencies = capture.dependencies
        for each in read:
            self.dependencies.add(each)
        with self.dependencies.collecting():
            logs = capture.record(step, batch)
        self._segment_numbers = {id(trace): number for number, (trace, _) in enumerate(capture.segments)}
        self._limits = {found for trace, _ in capture.segments for found in trace.limits}
        # For each segment what it must return, and the number of each result: for logs, metrics and later segments.
        self._wanted: list[dict[Origin, int]] = [{} for _ in capture.segments]
        self._logs = (
            mapped(self._stand_in, logs) if isinstance(logs, (dict, list, tuple)) else self._stand_in(logs)
        )
        self._metric_calls = [
            each._replace(
                args=mapped(self._masked_stand_in, each.args),
                options=mapped(self._masked_stand_in, each.options),
            )
            for each in capture.metric_calls
        ]
        self._read: list[int] = []  # the numbers of the arrays of the flat batch that the functions read
        if not self._wanted[-1] and not capture.segments[-1][0].changes:
            del capture.segments[-1]
        self._kept = list(self._segment_results_in([self._logs, *self._metric_calls]))
        self._changes_weights = any(change is not None or trace.changes for trace, change in capture.segments)
        self._integers = self._bounds(capture.segments)
        # The results that are magnitudes of integers within the step.
        self._magnitudes = [self._result(magnitude_of(array)) for array in self._integers.measured]
        # The last segment is compiled first: compiling one determines which results earlier ones must return.
        pairs = [self._compiled(number, *each) for number, each in reversed([*enumerate(capture.segments)])]
        pairs.reverse()
        self._segments = [segment for segment, _ in pairs]
        self._sequence = FunctionSequence([(segment.program, arguments) for segment, arguments in pairs])
        self._kept_places = list(dict.fromkeys((each.segment, each.number) for each in self._kept))
        self._numbers_kept = sum(math.prod(each.shape) for each in self._kept)
        metrics = [each.metric for each in self._metric_calls]
        # Whether metrics may get all batches of a stretch at once; one that is called twice in a step must not.
        self._adds_up = len(set(map(id, metrics))) == len(metrics) and all(map(_adds_up, self._metric_calls))
        self.call = self._prepared_call()
        """Runs the step on one batch, which is a list of arrays that may have different lengths."""

    def _bounds(self, segments: Sequence[tuple[StepTrace, _Change]]) -> IntegerBounds:
        """Returns bounds for the integers of the step."""
        needed = [
            [*wanted, *(each.origin for each in _arrays_of(change))]
            for wanted, (_, change) in zip(self._wanted, segments, strict=False)
        ]
        origins = [[*wanted] for wanted in self._wanted]
        integers = [
            (each.segment, origins[each.segment][each.number])
            for each in self._kept
            if is_of_integers(each.dtype)
        ]
        try:
            return IntegerBounds([trace for trace, _ in segments], needed, integers)
        except IntegersRoundedError as error:
            msg = f"{error} Compute with floats where rounding doesn't matter"
            raise CannotRecordError(msg) from None

    def _require_exact(self, ranges: Sequence[tuple[int, int]], magnitudes: Sequence[float] | None) -> None:
        """Checks integers that are beyond their limits.

        Args:
            ranges: the least and the largest integer of each array that the functions read.
            magnitudes: of what is measured; None before the functions have run.

        Raises:
            IntegersRoundedError: if the functions may round integers. It is a warning, the first time, where the step goes on:
                if it may round, or weights have changed.
        """
        goes_on = self._may_round or (magnitudes is not None and self._changes_weights)
        if goes_on and self._told_of_rounding:
            return
        try:
            self._integers.require(dict(zip(self._read, ranges, strict=True)), magnitudes)
        except IntegersRoundedError as error:
            if not goes_on:
                raise
            self._told_of_rounding = True
            msg = f"integers of a compiled step may have been rounded: {error} Compute with floats where that doesn't matter"
            warnings.warn(msg, UserWarning, stacklevel=2)

    def _stand_in(self, value: Any) -> Any:
        """Returns what stands for a recorded array until the step has run: where its numbers will be. Other values stay."""
        if not isinstance(value, RecordedArray):
            return value
        if value._numbers is not None:
            return value._numbers
        number = _number_in_batch(value)
        if number is not None:
            return _BatchArray(number)
        if id(value.trace) not in self._segment_numbers:
            raise needs_values("an array of another step", "float() or np.asarray() of it")
        return _SegmentResult(*self._result(value), tuple(each.fixed for each in value.extents), value.dtype)

    def _masked_stand_in(self, value: Any) -> Any:
        """Returns what `_stand_in` returns, together with what stands for the mask if the array has one."""
        mask = value._keras_mask if isinstance(value, RecordedArray) else None
        found = self._stand_in(value)
        return found if mask is None else _MaskedArray(found, self._stand_in(mask))

    def _result(self, array: RecordedArray) -> tuple[int, int]:
        """Makes an array a result of the segment that computes it, and returns the numbers of that segment and result."""
        segment = self._segment_numbers[id(array.trace)]
        wanted = self._wanted[segment]
        return segment, wanted.setdefault(array.origin, len(wanted))

    def _compiled(
        self, number: int, trace: StepTrace, change: _Change
    ) -> tuple[_Segment, list[Float32 | int | tuple[int, int]]]:
        """Returns a compiled segment, and where its arguments come from, as `FunctionSequence` reads it."""
        origins = [*self._wanted[number], *(each.origin for each in _arrays_of(change))]
        request = Request(trace, origins)
        wanted = len(self._wanted[number])
        lowering = _SegmentLowering(request, wanted, change, number, self.dependencies)
        program = Program.function(lowering.operations, lowering.results, lowering.batch, lowering.arrays)
        arguments = list[Any]()
        for input_number in request.inputs:
            source = trace.sources.get(input_number)
            if source is None:
                arguments.append(np.asarray(trace.arguments[input_number], np.float32, order="C"))
            elif isinstance(source, int):
                if source not in self._read:
                    self._read.append(source)
                arguments.append(self._read.index(source))
            else:
                arguments.append(self._result(source))
        names = [str(owner._weights[index].path) for owner, index in lowering.variables]
        if not isinstance(change, _OptimizerStep):
            return _Segment(program, None, [], lowering.draws, names), arguments
        optimizer = change.optimizer
        place_of = {each.key: place for place, each in enumerate(optimizer._tracked)}
        places = [place_of.get(each, -1) for each in lowering.variables]
        variables = [Tracked("", False) if place < 0 else optimizer._tracked[place] for place in places]
        program.compile([], optimizer._lower(variables), [], state=optimizer._state)
        return _Segment(program, optimizer, places, lowering.draws, names), arguments

    def _segment_results_in(self, value: Any) -> Iterator[_SegmentResult]:
        """Yields the results of segments in `value`, at any depth of lists, tuples and dicts."""
        if isinstance(value, _SegmentResult):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from self._segment_results_in(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                yield from self._segment_results_in(each)

    def explained(self, threads: int) -> str:
        """Returns the graph of each segment and its schedule for so many threads (0: as many as there are), for people."""
        texts = list[str]()
        for number, segment in enumerate(self._segments, 1):
            graph, schedule = segment.program.to_text("function", 1, threads, segment.names)
            texts.append(f"Segment {number} of the step.\n\n{graph}\n{schedule}")
        return "\n".join(texts)

    @property
    def most_batches(self) -> int:
        """The most batches of a stretch, as all results of a stretch are in memory at once."""
        return max(1, _MOST_NUMBERS // max(1, self._numbers_kept))

    def _prepared_call(self) -> StepCall:
        return StepCall(
            self._sequence,
            self._read,
            [segment.optimizer for segment in self._segments],
            [segment.draws for segment in self._segments],
            _next_draw,
            [(number, limits.check) for number, limits in self._limits],
            self._limits_of_integers(),
            [
                (metric, method, _late_value(args), _late_value(options))
                for metric, method, args, options in self._metric_calls
            ],
            _late_value(self._logs),
            Tensor,
        )

    def _limits_of_integers(self) -> Any:
        """Returns how large integers may be, as `StepCall` reads it."""
        bounds = self._integers
        if not bounds.limits and not self._magnitudes:
            return None
        limits = [bounds.limits.get(number) for number in self._read]
        return limits, [(*place, bounds.most) for place in self._magnitudes], self._require_exact

    def run(self, stretch: Stretch) -> Any:
        """Runs the step on each batch of a stretch, and returns the logs of the last one.

        Raises:
            ValueError: if samples or targets aren't what they must be, such as indices in a range. No weight has changed then.
            IntegersRoundedError: as `_require_exact`.
        """
        for number, limits in self._limits:
            stretch.arrays.require(number, limits)
        has_limits = self._limits_of_integers() is not None
        ranges = [stretch.arrays.range_of(number) for number in self._read] if has_limits else []
        if has_limits:
            self._require_exact(ranges, None)
        for segment in self._segments:
            if segment.optimizer is not None:
                segment.program.use_state(segment.optimizer._state)
        steps, rates = self._counts_and_rates(stretch.batches)
        arrays = stretch.arrays.readable
        found = self._sequence.run(
            [arrays[number] for number in self._read],
            stretch.order,
            stretch.first,
            stretch.rows,
            stretch.batches,
            steps,
            rates,
            self._kept_places + self._magnitudes,
        )
        if self._magnitudes:
            self._require_exact(ranges, [float(each.max()) for each in found[len(self._kept_places) :]])
        results = _Results(stretch, dict(zip(self._kept_places, found, strict=False)))
        if self._adds_up:
            for call in self._metric_calls:
                _add_all(call, results)
        else:
            for batch in range(stretch.batches):
                for metric, method, args, options in self._metric_calls:
                    of_batch = partial(results.of_batch, batch)
                    getattr(metric, method)(*_filled(of_batch, args), **_filled(of_batch, options))
        return _filled(partial(results.of_batch, stretch.batches - 1), self._logs)

    def _counts_and_rates(self, batches: int) -> tuple[list[Int64], list[Float64]]:
        """Returns two arrays (batches,) for each segment: the counts of its optimizer's steps or random draws, and the rates.

        An optimizer that steps several times in a batch counts each of these steps, and has a learning rate for each.
        """
        steps: list[Int64] = [np.ones(batches, np.int64) for _ in self._segments]
        rates: list[Float64] = [np.zeros(batches) for _ in self._segments]
        by_optimizer = dict[int, list[int]]()
        for number, segment in enumerate(self._segments):
            if segment.optimizer is not None:
                by_optimizer.setdefault(id(segment.optimizer), []).append(number)
        for numbers in by_optimizer.values():
            optimizer, count = self._segments[numbers[0]].optimizer, len(numbers)
            all_rates = optimizer._learning_rates(batches * count)
            all_steps = optimizer._batches + 1 + np.arange(batches * count)
            for turn, number in enumerate(numbers):
                steps[number], rates[number] = all_steps[turn::count], all_rates[turn::count]
        drawing = [
            number for number, each in enumerate(self._segments) if each.draws and each.optimizer is None
        ]
        for batch in range(batches):
            for number in drawing:
                steps[number][batch] = _next_draw()
        return steps, rates


class _Results:
    """What the functions of a step returned for the batches of a stretch.

    Args:
        stretch: the batches.
        found: arrays (batches, ...) by the numbers of the segment and of its result.
    """

    def __init__(self, stretch: Stretch, found: dict[tuple[int, int], Float32]) -> None:
        self._stretch, self._found = stretch, found

    def of_batch(self, batch: int, value: Any) -> Any:
        """Returns what `value`, a stand-in, stands for in batch number `batch` of the stretch; another value as it is."""
        if isinstance(value, _SegmentResult):
            return value.of_batch(self._found[value.segment, value.number], batch)
        if isinstance(value, _BatchArray):
            return self._stretch.rows_of(value.number, batch, 1)
        return value.read() if isinstance(value, Result) else value

    def of_all(self, value: Any) -> Any:
        """Returns what `value` stands for in all batches of the stretch, joined along the first axis."""
        if isinstance(value, _SegmentResult):
            array = self._found[value.segment, value.number]
            return array.reshape(-1, *value.shape[1:]).astype(value.dtype, copy=False)
        return (
            self._stretch.rows_of(value.number, 0, self._stretch.batches)
            if isinstance(value, _BatchArray)
            else value
        )


def _adds_up(call: _MetricCall) -> bool:
    """Whether a metric may get the rows of many batches in one call, as its state is a sum over rows or numbers."""
    metric, _, args, options = call
    if options or call.method != "update_state":
        return False
    if type(metric).update_state is Mean.update_state:
        return len(args) == 1 and isinstance(args[0], _SegmentResult) and args[0].shape == ()
    outputs = args[1] if len(args) > 1 else None
    outputs = outputs.array if isinstance(outputs, _MaskedArray) else outputs
    if not isinstance(outputs, _SegmentResult) or len(outputs.shape) < 2:  # noqa: PLR2004 # a vector may be one sample
        return False
    return in_core(metric) and all(
        isinstance(each, (_BatchArray, _MaskedArray))
        or (isinstance(each, _SegmentResult) and bool(each.shape))
        for each in args
    )


def _add_all(call: _MetricCall, results: _Results) -> None:
    """Adds all batches of a stretch to a metric."""
    metric, _, args, _ = call
    if not isinstance(metric, Mean):
        metric.update_state(*(_filled(results.of_all, each) for each in args))
        return
    total, numbers = float(metric.total), results.of_all(args[0]).tolist()
    # One after the other, so that the sum doesn't depend on how batches are divided into stretches.
    for number in numbers:
        total += number
    metric._set_sums(total, float(metric.count) + len(numbers))


def new_call_table(most: int) -> CallTable:
    """Returns a table for what is compiled for forms of arguments, which keeps those `most` forms that came last."""
    return CallTable(open_recorder, current, of_thread, prepare_for_change, tree._sorted, most)


class CompilableStep:
    """A step of a model, which the core runs if it can be compiled.

    Args:
        model: the model.
        name: the method, such as "train_step".
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._name = model, name

    def __call__(self, batches: ArrayPass, first: int, most: int) -> tuple[int, Any]:
        """Runs the next batches of a pass, as a `Step` does; more than one only if the step is compiled."""
        example = batches.example(first)
        compiled = self._compiled_for(example)
        if compiled is None:
            return 1, self._in_python(batches.batch(first))
        stretch = batches.stretch(first, min(most, compiled.most_batches))
        if not stretch.rows:  # the example is the batch
            return 1, compiled.call.run(tree.flatten(example))
        return stretch.batches, compiled.run(stretch)

    def known_for(self, batch: Any) -> tuple[CompiledStep, list[NDArray[Any]]] | None:
        """Returns the step that was compiled for the form of a batch, and the arrays in the batch; None if none was."""
        model, name = self._model, self._name
        table: CallTable | None = model._compiled_steps.get(name)
        if table is None or model._run_eagerly or name in model._eager_steps:
            return None
        return table.step_for((getattr(type(model), name), batch), {})  # a class may get another method

    def _in_python(self, batch: Any) -> Any:
        """Runs the step as it is written, and returns its logs. The first time it warns, with the reason."""
        model, name = self._model, self._name
        try:
            logs = getattr(model, name)(batch)
        except BaseException:
            if model._eager_steps.get(name) is not None:  # an error of this batch says nothing of the step
                del model._eager_steps[name]
            raise
        refusal = model._eager_steps.get(name)
        if refusal is not None:
            model._eager_steps[name] = None  # told once
            warn_of_python(
                f"{type(model).__name__}.{name}", refusal, "`compile(run_eagerly=True)` asks for that"
            )
        return logs

    def _compiled_for(self, batch: Any) -> CompiledStep | None:
        """Returns the step compiled for the form of a batch: its structure, shapes and dtypes.

        None with `run_eagerly`, or if the step can't be compiled: then it runs as it is written.
        """
        model, name = self._model, self._name
        if model._run_eagerly or name in model._eager_steps or open_recorder.get() is not None:
            return None
        found = self.known_for(batch)
        if found is not None:
            return found[0]
        # All forms of batches draw from where the first one began: so it doesn't matter when they come, as after a backup.
        now = draw_position(model)
        began = model._step_draws.setdefault(name, now)
        try:
            with nullcontext() if began == now else drawing_from(model, began):
                compiled = CompiledStep(getattr(model, name), batch, [model], may_round=True)
        except Exception as error:
            if not refused(error):
                raise
            model._eager_steps[name] = error
            return None
        table: CallTable = model._compiled_steps.setdefault(name, new_call_table(_MOST_STEPS))
        form = table.form((getattr(type(model), name), batch), {})
        table.add(form, compiled, compiled.dependencies.versions_and_states, compiled.call)
        return compiled

    def takes(self, samples: Samples) -> bool:
        """Whether the step takes samples, as far as it says so when it gets symbols. It changes nothing.

        Where it needs values, or fails for another reason than the samples, nobody knows, and the answer is True.
        """
        model, capture = self._model, Capture()
        try:
            with drawing_from(model, draw_position(model)):
                capture.record(getattr(model, self._name), next(batches_of(samples, BATCH_SIZE)))
            for number, limits in {found for trace, _ in capture.segments for found in trace.limits}:
                cast("StepArrays", samples.arrays).require(number, limits)
        except Exception as error:  # code of the user may raise anything
            return isinstance(error, NeedsValuesError) or not isinstance(error, ValueError)
        return True


class _BatchArray(NamedTuple):
    """Stands for array `number` of the flat batch."""

    number: int

    @property
    def late_value(self) -> LateValue:
        """The array as `StepCall` reads it."""
        return "argument", self.number


class _SegmentResult(NamedTuple):
    """Stands for result `number` of a segment until the step has run."""

    segment: int
    number: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def late_value(self) -> LateValue:
        """The result as `StepCall` reads it."""
        dtype = None if self.dtype == "float32" else self.dtype
        return "result", self.segment, self.number, self.shape, dtype

    def of_batch(self, found: Float32, batch: int) -> NDArray[Any]:
        """Returns the result of one batch, where `found` (batches, ...) has those of all."""
        array: NDArray[Any] = found[batch].reshape(self.shape)
        return array if self.dtype == "float32" else array.astype(self.dtype)


class _MaskedArray(NamedTuple):
    """Stands for an array with a mask."""

    array: Any
    mask: Any

    @property
    def late_value(self) -> LateValue:
        """The array as `StepCall` reads it."""
        return "masked", _late_value(self.array), _late_value(self.mask)


def _filled(function: Callable[[Any], Any], value: Any) -> Any:
    """Returns `value` with the result of `function` in place of each stand-in, at any depth of lists, tuples and dicts."""
    if isinstance(value, _MaskedArray):
        return np.asarray(function(value.array)).view(Tensor).masked(function(value.mask))
    if isinstance(value, (_SegmentResult, _BatchArray, Result)):
        return function(value)
    if isinstance(value, dict):
        return {key: _filled(function, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return sequence_like(value, (_filled(function, each) for each in value))
    return value


def _late_value(value: Any) -> LateValue:
    """Returns a stand-in, or a structure with stand-ins in it, as `StepCall` reads it."""
    if isinstance(value, (_SegmentResult, _BatchArray, _MaskedArray, Result)):
        return value.late_value
    if isinstance(value, dict):
        return "dict", {key: _late_value(each) for key, each in value.items()}
    if not isinstance(value, (list, tuple)):
        return "constant", value
    parts = [*map(_late_value, value)]
    if type(value) in (list, tuple):
        return type(value).__name__, parts
    return "made", partial(sequence_like, value), ("list", parts)


def _next_draw() -> int:
    """Returns the number of the next random draw."""
    return next_key()[1] + 1


def _arrays_of(change: _Change) -> list[RecordedArray]:
    """Returns what a change of weights is computed from."""
    if isinstance(change, _Assignment):
        return [change.value]
    return [] if change is None else change.gradients


class _SegmentLowering(FunctionLowering):
    """The core's operations for a segment of a step.

    Args:
        request: what is computed: the results, then the gradients or the value that weights are changed by.
        results: how many of these are results.
        change: what changes weights at the end of the segment.
        segment: the number of the segment.
        dependencies: where to note what is read.
    """

    def __init__(
        self, request: Request, results: int, change: _Change, segment: int, dependencies: Dependencies
    ) -> None:
        self._result_count, self._change, self._segment = results, change, segment
        super().__init__(request, (), dependencies)

    def _lower(self, results: Sequence[Any], private: Sequence[Any]) -> None:
        kept, arrays = list(results[: self._result_count]), results[self._result_count :]
        change = self._change
        if change is not None:
            # A weight that is a result is copied before it changes.
            kept = [self._copied(value, value.shape) if self._is_weight(value) else value for value in kept]
        if isinstance(change, _OptimizerStep):
            for tracked, gradient in zip(change.tracked, arrays, strict=True):
                self._changed("step", OfWeight(tracked.owner, tracked.number), gradient)
        elif change is not None:
            self._changed("assign", OfWeight(change.owner, change.number), arrays[0])
        super()._lower(kept, private)
        for operation in self.operations:
            if "seed" in operation:  # as segments count their draws from the same number
                operation["seed"] = related_seed(operation["seed"], self._segment)
            for name in [name for name in operation if name.endswith("_constraint")]:
                if operation[name]["kind"] == "host":  # its assignment is a segment of its own
                    del operation[name]

    def _changed(self, kind: str, weight: OfWeight, array: Any) -> None:
        """Adds a node that changes a weight."""
        variable = self._weight(weight)
        shape = tuple(variable.shape)
        self._node(kind, [variable, self._viewed(array, FullShape(shape))], shape)


def refused(error: Exception) -> bool:
    """Whether a step that raised `error` when it got symbols is run in Python instead; any other error is raised."""
    return isinstance(
        error,
        (
            NeedsValuesError,
            TypeError,
            ValueError,
            AttributeError,
            NotImplementedError,
            KeyError,
            RuntimeError,
        ),
    )


def warn_of_python(what: str, error: Exception, silence: str) -> None:
    """Warns that a step runs in Python, with the reason.

    Args:
        what: the step.
        error: what it raised when it got symbols.
        silence: how to say that this is meant.
    """
    reason = text_with_line(error)
    msg = f"{what} can't be compiled, so it runs in Python each time, which is slower; {silence}. The reason: {reason}"
    warnings.warn(msg, UserWarning, stacklevel=2)


def is_array(value: Any) -> bool:
    """Returns whether an argument is an array, whose numbers are read anew in each call, or a float, which is one."""
    return isinstance(value, float) or (
        hasattr(value, "__array__") and not hasattr(value, "_owner_and_number")
    )
