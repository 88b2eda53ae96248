"""Steps of users that are compiled: `train_step` runs once with symbols, and the core then runs whole stretches of batches.

A step is cut where an optimizer steps weights: each part is a function that computes gradients and steps. What metrics do is
noted, and done after a stretch with the numbers that the functions returned for its batches.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from engine import tree
from engine._base.random_state import next_key
from engine._base.tensor_like import Recording
from engine._core_interface.cpp import Float32, FunctionSequence, Program
from engine._tracing.extents import Extent, FullShape
from engine._tracing.lazy import LazyTrace, RecordedArray, Recorder, as_recorded
from engine._tracing.symbolic import NeedsValuesError, mapped, needs_values, open_recorder
from engine._tracing.trace import Input, OfWeight, Origin, TracedArray
from engine._training.step_batches import ArrayPass, Stretch
from engine.layers.layer import settings
from engine.metrics import Mean
from engine.metrics.metric import in_core
from engine.models.functions import FunctionLowering, Request
from engine.optimizers.variables import Tracked

# Penalties are a part of the losses that steps compute.
_PENALTY = re.compile(r"_(l1|l2|orthogonal|orthogonal_columns|host_penalty)$")
# Draws of different parts of a step, whose random numbers are counted alike, begin at seeds that are so far apart.
_SEEDS_APART = 0x9E3779B97F4A7C15
# The most numbers that the functions of a step return for a stretch.
_MOST_NUMBERS = 1 << 22

# The number of compiled steps that a model keeps, one for each form of batches.
_MOST_STEPS = 16

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


class _Step(NamedTuple):
    """An optimizer steps weights."""

    optimizer: Any
    tracked: list[Tracked]
    gradients: list[RecordedArray]


class _Assignment(NamedTuple):
    """A weight gets another value."""

    owner: Any
    number: int
    value: RecordedArray


class _Noted(NamedTuple):
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

    def _no_values(self, *_: Any) -> Any:
        raise needs_values(self._what, "arithmetic with it")

    __float__ = __int__ = __bool__ = __array__ = __format__ = _no_values
    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = _no_values
    __mod__ = __floordiv__ = __pow__ = __lt__ = __le__ = __gt__ = __ge__ = _no_values


_Change = _Step | _Assignment | None
"""What changes weights at the end of a part."""


class StepTrace(LazyTrace):
    """A part of a step that is being recorded."""

    computes = False

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[int, Any] = {}
        """Of inputs that differ from batch to batch: the number of an array of the batch, or an array of an earlier part."""

    @property
    def may_differentiate(self) -> bool:
        """Always, as nothing is computed yet."""
        return True

    def input_for(self, source: Any, shape: Sequence[int], dtype: str) -> RecordedArray:
        """Returns an input that is filled in for each batch."""
        self.arguments.append(np.zeros(shape, np.float32))
        number = len(self.arguments) - 1
        self.sources[number] = source
        found = RecordedArray(self, Input(number), tuple(map(Extent, shape)), dtype)
        self.inputs.append(found)
        return found

    def adopted(self, symbol: TracedArray) -> TracedArray:
        """Returns an array of an earlier part as an input of this one."""
        if not isinstance(symbol, RecordedArray) or symbol._numbers is not None:
            return super().adopted(symbol)
        key = id(symbol)
        if key in self.watched:
            return self.watched[key]
        if key not in self._held:
            place = _place_in_batch(symbol)
            source = symbol if place is None else place
            shape = [each.fixed for each in symbol.extents]
            self._held[key] = symbol, self.input_for(source, shape, symbol.dtype)
        return self._held[key][1]


def _place_in_batch(array: RecordedArray) -> int | None:
    """Returns the number of the array of the batch that `array` is, unchanged; None if it is another one."""
    trace, origin = array.trace, array.origin
    if not isinstance(trace, StepTrace) or not isinstance(origin, Input):
        return None
    source, given = trace.sources.get(origin.number), trace.inputs[origin.number]
    same = (given.extents, given.dtype) == (array.extents, array.dtype)
    return source if isinstance(source, int) and same else None


class Capture(Recorder):
    """Records a whole step."""

    captures = True
    trace: StepTrace

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[StepTrace, _Change]] = []
        self.noted: list[_Noted] = []

    def _new_trace(self) -> LazyTrace:
        return StepTrace()

    def note(self, metric: Any, method: str, args: Any, options: Any) -> Any:
        """Notes a call of a method of a metric."""
        if method == "result":
            return self.later(f"the result of metric {metric.name!r}", metric.result)
        if method == "reset_state":
            raise needs_values(f"metric {metric.name!r}", "reset_state()")
        self.noted.append(_Noted(metric, method, args, options))
        return None

    def later(self, what: str, read: Callable[[], Any]) -> Result:
        """Returns what stands for a number that is known after the step, such as the number of steps of an optimizer."""
        return Result(what, read)

    def step(self, optimizer: Any, tracked: list[Tracked], gradients: Sequence[Any]) -> None:
        """Notes that an optimizer steps weights, and goes on in another part."""
        if any(each.asks_python for each in tracked):
            raise needs_values("a weight", "a constraint that only Python can compute")
        given = [as_recorded(each, self.trace) for each in gradients]
        self.parts.append((self.trace, _Step(optimizer, tracked, given)))
        self.renew()

    def assign(self, weight: Any, value: Any) -> None:
        """Notes that a weight or a variable gets another value, and goes on in another part."""
        owner, number = weight._variable
        array, shape = as_recorded(value, self.trace), owner._specs[number].shape
        if np.dtype(getattr(weight, "dtype", np.float32)) != np.float32:
            raise needs_values(repr(weight), "assign()")
        if tuple(each.fixed for each in array.extents) != shape:
            msg = f"the weight {weight.path!r} must get a value of its shape {shape}, got {array.shape}"
            raise ValueError(msg)
        self.parts.append((self.trace, _Assignment(owner, number, array)))
        self.renew()


class _Part(NamedTuple):
    """A compiled part of a step."""

    program: Program
    optimizer: Any
    places: list[int]
    """For each variable of the program the number of the optimizer's weight that it is, or -1."""
    draws: bool
    names: list[str]
    """Of the variables of the program."""


class CompiledStep:
    """A step for batches of one form.

    Args:
        step: the method of the user, such as `train_step`.
        batch: arrays in any structure.

    Raises:
        Exception: whatever the method raises when it gets symbols.
    """

    def __init__(self, step: Callable[[Any], Any], batch: Any) -> None:
        capture = Capture()
        token = open_recorder.set(capture)
        Recording.tapes += 1
        try:
            places = iter(range(len(tree.flatten(batch))))

            def symbol(value: Any) -> Any:
                place = next(places)
                if value is None or isinstance(value, str):
                    return value
                array = np.asarray(value)
                return capture.trace.input_for(place, array.shape, array.dtype.name)

            logs = step(tree.map_structure(symbol, batch))
        finally:
            Recording.tapes -= 1
            open_recorder.reset(token)
        capture.parts.append((capture.trace, None))  # what comes after the last change of weights
        self._numbers = {id(trace): number for number, (trace, _) in enumerate(capture.parts)}
        self._wanted: list[dict[Origin, int]] = [{} for _ in capture.parts]
        self._logs = (
            mapped(self._noted_result, logs)
            if isinstance(logs, (dict, list, tuple))
            else self._noted_result(logs)
        )
        self._noted = [
            each._replace(
                args=mapped(self._noted_result, each.args), options=mapped(self._noted_result, each.options)
            )
            for each in capture.noted
        ]
        self._read: list[int] = []  # numbers of the arrays of a batch that the functions read
        if not self._wanted[-1]:
            del capture.parts[-1]
        # From the last to the first, as a part may ask an earlier one for a result.
        found = [self._compiled(number, *part) for number, part in reversed([*enumerate(capture.parts)])]
        self._parts = [part for part, _ in found[::-1]]
        self._sequence = FunctionSequence([(part.program, arguments) for part, arguments in found[::-1]])
        self._kept = list(self._places_of_later([self._logs, *self._noted]))
        self._numbers_kept = sum(math.prod(each.shape) for each in self._kept)
        metrics = [each.metric for each in self._noted]
        self._adds_up = len(set(map(id, metrics))) == len(metrics) and all(map(_adds_up, self._noted))

    def _noted_result(self, value: Any) -> Any:
        """Notes that the numbers of a recorded array are needed after the step, and returns where they will be."""
        if not isinstance(value, RecordedArray):
            return value
        if value._numbers is not None:
            return value._numbers
        place = _place_in_batch(value)
        if place is not None:
            return _FromBatch(place)
        if id(value.trace) not in self._numbers:
            raise needs_values("an array of another step", "its numbers")
        return _Later(*self._result(value), tuple(each.fixed for each in value.extents), value.dtype)

    def _result(self, array: RecordedArray) -> tuple[int, int]:
        """Returns the part that computes an array, and the number of the result there."""
        part = self._numbers[id(array.trace)]
        wanted = self._wanted[part]
        return part, wanted.setdefault(array.origin, len(wanted))

    def _compiled(
        self, number: int, trace: StepTrace, change: _Change
    ) -> tuple[_Part, list[Float32 | int | tuple[int, int]]]:
        """Returns a part, and where its arguments come from."""
        origins = [*self._wanted[number], *(each.origin for each in _arrays_of(change))]
        request = Request(trace, origins)
        lowering = _StepLowering(request, len(self._wanted[number]), change, number)
        program = Program.function(lowering.operations, lowering.results, lowering.batch, lowering.loans)
        arguments = list[Any]()
        for place in request.inputs:
            source = trace.sources.get(place)
            if source is None:
                arguments.append(np.asarray(trace.arguments[place], np.float32, order="C"))
            elif isinstance(source, int):
                if source not in self._read:
                    self._read.append(source)
                arguments.append(self._read.index(source))
            else:
                arguments.append(self._result(source))
        names = [str(owner._weight_object(index).path) for owner, index in lowering.variables]
        if not isinstance(change, _Step):
            return _Part(program, None, [], lowering.draws, names), arguments
        optimizer = change.optimizer
        numbers = {(each.owner, each.number): place for place, each in enumerate(optimizer._tracked)}
        places = [numbers.get(each, -1) for each in lowering.variables]
        variables = [Tracked("", False) if place < 0 else optimizer._tracked[place] for place in places]
        optimizer._lend_to(program, places)
        program.compile([], optimizer._lower(variables), [])
        return _Part(program, optimizer, places, lowering.draws, names), arguments

    def _places_of_later(self, value: Any) -> Iterator[_Later]:
        """Yields all numbers in `value` that are known after a step."""
        if isinstance(value, _Later):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from self._places_of_later(each)
        elif isinstance(value, (list, tuple)):
            for each in value:
                yield from self._places_of_later(each)

    def explained(self, threads: int) -> str:
        """Returns the graph of each part and its schedule for so many threads (0: as many as there are), for people."""
        texts = list[str]()
        for number, part in enumerate(self._parts, 1):
            graph, schedule = part.program.to_text("function", 1, threads, part.names)
            texts.append(f"Part {number} of the step.\n\n{graph}\n{schedule}")
        return "\n".join(texts)

    @property
    def most_batches(self) -> int:
        """The most batches of a stretch, whose results must be kept in memory."""
        return max(1, _MOST_NUMBERS // max(1, self._numbers_kept))

    def run(self, stretch: Stretch) -> Any:
        """Runs the step on each batch of a stretch, and returns the logs of the last one."""
        for part in self._parts:
            if part.optimizer is not None:
                part.optimizer._lend_to(part.program, part.places)
        steps, rates = self._numbering(stretch.batches)
        arrays = stretch.samples.readable
        places = list(dict.fromkeys((each.part, each.number) for each in self._kept))
        found = self._sequence.run(
            [arrays[number] for number in self._read],
            stretch.order,
            stretch.first,
            stretch.rows,
            stretch.batches,
            steps,
            rates,
            places,
        )
        results = _Results(stretch, dict(zip(places, found, strict=True)))
        if self._adds_up:
            for noted in self._noted:
                _add_all(noted, results)
        else:
            for batch in range(stretch.batches):
                for metric, method, args, options in self._noted:
                    of_batch = partial(results.of_batch, batch)
                    getattr(metric, method)(*_filled(of_batch, args), **_filled(of_batch, options))
        return _filled(partial(results.of_batch, stretch.batches - 1), self._logs)

    def _numbering(self, batches: int) -> tuple[list[Int64], list[Float64]]:
        """Returns for each part the numbers that its random draws or optimizer steps have in each batch, and learning rates."""
        steps: list[Int64] = [np.ones(batches, np.int64) for _ in self._parts]
        rates: list[Float64] = [np.zeros(batches) for _ in self._parts]
        by_optimizer = dict[int, list[int]]()
        for number, part in enumerate(self._parts):
            if part.optimizer is not None:
                by_optimizer.setdefault(id(part.optimizer), []).append(number)
        for numbers in by_optimizer.values():
            optimizer, count = self._parts[numbers[0]].optimizer, len(numbers)
            all_rates = optimizer._learning_rates(batches * count)
            all_steps = optimizer._batches + 1 + np.arange(batches * count)
            for turn, number in enumerate(numbers):
                steps[number], rates[number] = all_steps[turn::count], all_rates[turn::count]
        drawing = [number for number, part in enumerate(self._parts) if part.draws and part.optimizer is None]
        for batch in range(batches):
            for number in drawing:
                steps[number][batch] = next_key()[1] + 1
        return steps, rates


class _Results:
    """What the functions of a step returned for the batches of a stretch.

    Args:
        stretch: the batches.
        found: arrays (batches, ...) by part and number of the result.
    """

    def __init__(self, stretch: Stretch, found: dict[tuple[int, int], Float32]) -> None:
        self._stretch, self._found = stretch, found

    def of_batch(self, batch: int, value: Any) -> Any:
        """Returns what a batch has in the place of `value`."""
        if isinstance(value, _Later):
            array = self._found[value.part, value.number][batch]
            return array.reshape(value.shape).astype(value.dtype, copy=False)
        if isinstance(value, _FromBatch):
            return self._stretch.rows_of(value.number, batch, 1)
        return value.read() if isinstance(value, Result) else value

    def of_all(self, value: Any) -> Any:
        """Returns what all batches have in the place of `value`, joined along the first axis."""
        if isinstance(value, _Later):
            array = self._found[value.part, value.number]
            return array.reshape(-1, *value.shape[1:]).astype(value.dtype, copy=False)
        return (
            self._stretch.rows_of(value.number, 0, self._stretch.batches)
            if isinstance(value, _FromBatch)
            else value
        )


def _adds_up(noted: _Noted) -> bool:
    """Whether a metric may look at the rows of many batches at once, as it adds up what it finds in each row or number."""
    metric, _, args, options = noted
    if options or noted.method != "update_state":
        return False
    if type(metric).update_state is Mean.update_state:
        return len(args) == 1 and isinstance(args[0], _Later) and args[0].shape == ()
    return in_core(metric) and all(
        isinstance(each, _FromBatch) or (isinstance(each, _Later) and bool(each.shape)) for each in args
    )


def _add_all(noted: _Noted, results: _Results) -> None:
    """Adds all batches of a stretch to a metric."""
    metric, _, args, _ = noted
    if not isinstance(metric, Mean):
        metric.update_state(*map(results.of_all, args))
        return
    total, numbers = float(metric.total), results.of_all(args[0]).tolist()
    for (
        number
    ) in numbers:  # one after the other, so that it doesn't matter how batches are divided into stretches
        total += number
    metric._hold(total, float(metric.count) + len(numbers))


class CompilableStep:
    """A step of a model, which the core runs if it can be compiled.

    Args:
        model: the model.
        name: the method, such as "train_step".
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._name = model, name

    def __call__(self, batch: Any) -> Any:
        """Runs the step on a batch, and returns its logs."""
        model, name = self._model, self._name
        compiled = self._compiled_for(batch)
        if compiled is not None:
            return compiled.run(Stretch.of_one(batch))
        logs = getattr(model, name)(batch)
        refusal = model._eager_steps.get(name)
        if refusal is not None:
            model._eager_steps[name] = None  # told once
            warn_of_python(
                f"{type(model).__name__}.{name}", refusal, "`compile(run_eagerly=True)` asks for that"
            )
        return logs

    def for_stretches(self, batches: Iterator[Any]) -> Callable[[int], tuple[int, Any]] | None:
        """Returns what runs the next batches of arrays; None where the step must run batch by batch."""
        example = batches.example() if isinstance(batches, ArrayPass) else None
        compiled = None if example is None else self._compiled_for(example)
        if compiled is None:
            return None

        def run(most: int) -> tuple[int, Any]:
            stretch = cast(ArrayPass, batches).stretch(min(most, compiled.most_batches))
            return stretch.batches, compiled.run(stretch)

        return run

    def _compiled_for(self, batch: Any) -> CompiledStep | None:
        """Returns a step compiled for batches like `batch`; what it does with symbols is recorded once for each form.

        None with `run_eagerly`, or if the step looks at numbers: then it runs as it is written.
        """
        model, name = self._model, self._name
        if model._run_eagerly or name in model._eager_steps or open_recorder.get() is not None:
            return None
        flat = tree.flatten(batch)
        form = repr(tree.map_structure(lambda each: getattr(each, "shape", None), batch))
        key = (name, form, tuple(str(getattr(each, "dtype", "")) for each in flat), settings.version)
        compiled: CompiledStep | None = model._compiled_steps.get(key)
        if compiled is None:
            try:
                compiled = CompiledStep(getattr(model, name), batch)
            except Exception as error:
                if not refused(error):
                    raise
                model._eager_steps[name] = error
                return None
            while len(model._compiled_steps) >= _MOST_STEPS:
                del model._compiled_steps[next(iter(model._compiled_steps))]
            model._compiled_steps[(name, *key[1:3], settings.version)] = compiled
        return compiled


class _FromBatch(NamedTuple):
    """Array `number` of the batch."""

    number: int


class _Later(NamedTuple):
    """Result `number` of a part, which is needed after the step."""

    part: int
    number: int
    shape: tuple[int, ...]
    dtype: str


def _filled(function: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, (_Later, _FromBatch, Result)):
        return function(value)
    if isinstance(value, dict):
        return {key: _filled(function, each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(function, each) for each in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(function, each) for each in value)
    return value


def _arrays_of(change: _Change) -> list[RecordedArray]:
    """Returns what a change of weights is computed from."""
    if isinstance(change, _Assignment):
        return [change.value]
    return [] if change is None else change.gradients


class _StepLowering(FunctionLowering):
    """The core's operations for a part of a step.

    Args:
        request: the results, then what weights are changed by.
        results: the number of results.
        change: what changes weights after them.
        part: the number of the part.
    """

    def __init__(self, request: Request, results: int, change: _Change, part: int) -> None:
        self._result_count, self._change, self._part = results, change, part
        super().__init__(request, ())

    def _lower(self, results: Sequence[Any], private: Sequence[Any]) -> None:
        kept, arrays = list(results[: self._result_count]), results[self._result_count :]
        change = self._change
        if change is not None:
            # A weight that is a result is copied before it changes.
            kept = [self._copied(value, value.shape) if self._is_weight(value) else value for value in kept]
        if isinstance(change, _Step):
            for tracked, gradient in zip(change.tracked, arrays, strict=True):
                self._changed("step", OfWeight(tracked.owner, tracked.number), gradient)
        elif change is not None:
            self._changed("assign", OfWeight(change.owner, change.number), arrays[0])
        super()._lower(kept, private)
        for place, operation in enumerate(self.operations):
            fields = {
                name: value
                for name, value in operation.items()
                if not _PENALTY.search(name) or name.startswith("activity")
            }
            if "seed" in fields:
                fields["seed"] = (fields["seed"] + self._part * _SEEDS_APART) % 2**64
            self.operations[place] = fields

    def _changed(self, kind: str, weight: OfWeight, array: Any) -> None:
        """Adds a node that changes a weight."""
        variable = self._weight(weight)
        shape = tuple(variable.shape)
        self._node(kind, [variable, self._viewed(array, FullShape(shape))], shape)


def refused(error: Exception) -> bool:
    """Whether a step that raised `error` with symbols may do without: it looked at numbers, or did what isn't recorded."""
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
    msg = f"{what} can't be compiled, so it runs in Python each time, which is slower; {silence}. The reason: {error}"
    warnings.warn(msg, UserWarning, stacklevel=2)
