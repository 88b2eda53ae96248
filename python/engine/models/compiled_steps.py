"""Steps of users that are compiled: `train_step` runs once with symbols, and each batch is then a call of the core.

A step is cut where an optimizer steps weights: each part is a function that computes gradients and steps. What metrics do is
noted, and done after each batch with the numbers that the functions return.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.random_state import next_key
from engine._base.tensor_like import Recording
from engine._core_interface.cpp import Float32, Program
from engine._tracing.extents import Extent
from engine._tracing.lazy import LazyTrace, RecordedArray, Recorder, as_recorded
from engine._tracing.symbolic import NeedsValuesError, mapped, needs_values, open_recorder
from engine._tracing.trace import Input, OfWeight, Origin, TracedArray
from engine.models.functions import FunctionLowering, Request
from engine.optimizers.variables import Tracked

# Penalties are a part of the losses that steps compute.
_PENALTY = re.compile(r"_(l1|l2|orthogonal|orthogonal_columns|host_penalty)$")
# Draws of different parts of a step, whose random numbers are counted alike, begin at seeds that are so far apart.
_SEEDS_APART = 0x9E3779B97F4A7C15


class _Step(NamedTuple):
    """An optimizer steps weights."""

    optimizer: Any
    tracked: list[Tracked]
    gradients: list[RecordedArray]


class _Noted(NamedTuple):
    """A call of a method of a metric."""

    metric: Any
    method: str
    args: Any
    options: Any


class Result:
    """Stands for the result of a metric, which is known after the step.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def _no_values(self, *_: Any) -> Any:
        raise needs_values(f"the result of metric {self.metric.name!r}", "arithmetic with it")

    __float__ = __int__ = __bool__ = __array__ = __format__ = _no_values
    __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = _no_values


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
            self._held[key] = (
                symbol,
                self.input_for(symbol, [each.fixed for each in symbol.extents], symbol.dtype),
            )
        return self._held[key][1]


class Capture(Recorder):
    """Records a whole step."""

    captures = True
    trace: StepTrace

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[StepTrace, _Step | None]] = []
        self.noted: list[_Noted] = []

    def _new_trace(self) -> LazyTrace:
        return StepTrace()

    def note(self, metric: Any, method: str, args: Any, options: Any) -> Any:
        """Notes a call of a method of a metric."""
        if method == "result":
            return Result(metric)
        if method == "reset_state":
            raise needs_values(f"metric {metric.name!r}", "reset_state()")
        self.noted.append(_Noted(metric, method, args, options))
        return None

    def step(self, optimizer: Any, tracked: list[Tracked], gradients: Sequence[Any]) -> None:
        """Notes that an optimizer steps weights, and goes on in another part."""
        if any(each.asks_python for each in tracked):
            raise needs_values("a weight", "a constraint that only Python can compute")
        given = [as_recorded(each, self.trace) for each in gradients]
        self.parts.append((self.trace, _Step(optimizer, tracked, given)))
        self.renew()


class _Part(NamedTuple):
    """A compiled part of a step."""

    program: Program
    arguments: list[Any]
    """Of each argument its array, the number of an array of the batch, or (part, result) of an earlier part."""
    optimizer: Any
    places: list[int]
    """For each weight of the optimizer its number in the program, or -1."""
    draws: bool


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
        capture.parts.append((capture.trace, None))
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
        self._parts: list[_Part] = []
        found = [self._compiled(number, *part) for number, part in reversed([*enumerate(capture.parts)])]
        self._parts = found[::-1]

    def _noted_result(self, value: Any) -> Any:
        """Notes that the numbers of a recorded array are needed after the step, and returns where they will be."""
        if not isinstance(value, RecordedArray):
            return value
        if value._numbers is not None:
            return value._numbers
        if id(value.trace) not in self._numbers:
            raise needs_values("an array of another step", "its numbers")
        return _Later(*self._result(value), tuple(each.fixed for each in value.extents), value.dtype)

    def _result(self, array: RecordedArray) -> tuple[int, int]:
        """Returns the part that computes an array, and the number of the result there."""
        part = self._numbers[id(array.trace)]
        wanted = self._wanted[part]
        return part, wanted.setdefault(array.origin, len(wanted))

    def _compiled(self, number: int, trace: StepTrace, step: _Step | None) -> _Part:
        gradients = [] if step is None else step.gradients
        origins = [*self._wanted[number], *(each.origin for each in gradients)]
        request = Request(trace, origins)
        lowering = _StepLowering(request, len(self._wanted[number]), step, number)
        program = Program.function(lowering.operations, lowering.results, lowering.batch, lowering.loans)
        arguments = list[Any]()
        for place in request.inputs:
            source = trace.sources.get(place)
            if source is None:
                arguments.append(trace.arguments[place])
            else:
                arguments.append(
                    _FromBatch(source) if isinstance(source, int) else _FromPart(*self._result(source))
                )
        if step is None:
            return _Part(program, arguments, None, [], lowering.draws)
        known = {(each.owner, each.number): each for each in step.optimizer._tracked}
        variables = [known.get(each) or Tracked("", False) for each in lowering.variables]
        program.compile([], step.optimizer._lower(variables), [])
        numbers = {variable: place for place, variable in enumerate(lowering.variables)}
        places = [numbers.get((each.owner, each.number), -1) for each in step.optimizer._tracked]
        return _Part(program, arguments, step.optimizer, places, lowering.draws)

    def run(self, batch: Any) -> Any:
        """Runs the step on a batch, and returns its logs."""
        given = tree.flatten(batch)
        results: list[list[Float32]] = []

        def argument(source: Any) -> Any:
            if isinstance(source, _FromBatch):
                return np.asarray(given[source.number], np.float32, order="C")
            return results[source.part][source.number] if isinstance(source, _FromPart) else source

        for part in self._parts:
            rate = 0.0
            step = 1
            if part.optimizer is not None:
                rate = float(part.optimizer._learning_rates(1)[0])
                part.optimizer._lend_to(part.program, part.places)
                step = part.optimizer._batches + 1
            elif part.draws:
                step = next_key()[1] + 1
            results.append(part.program.call([argument(each) for each in part.arguments], step, rate))

        def known(value: Any) -> Any:
            if isinstance(value, _Later):
                return results[value.part][value.number].reshape(value.shape).astype(value.dtype, copy=False)
            if isinstance(value, _FromBatch):
                return given[value.number]
            return value.metric.result() if isinstance(value, Result) else value

        for metric, method, args, options in self._noted:
            getattr(metric, method)(*_filled(known, args), **_filled(known, options))
        return _filled(known, self._logs)


class _FromBatch(NamedTuple):
    """Array `number` of the batch."""

    number: int


class _FromPart(NamedTuple):
    """Result `number` of an earlier part."""

    part: int
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
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_filled(function, each) for each in value)
    return value


class _StepLowering(FunctionLowering):
    """The core's operations for a part of a step.

    Args:
        request: the results, then the gradients.
        results: the number of results.
        step: what steps weights after them.
        part: the number of the part.
    """

    def __init__(self, request: Request, results: int, step: _Step | None, part: int) -> None:
        self._result_count, self._step, self._part = results, step, part
        super().__init__(request, ())

    def _lower(self, results: Sequence[Any], private: Sequence[Any]) -> None:
        kept = list(results[: self._result_count])
        if self._step is not None:
            # A weight that is a result is copied before it changes.
            kept = [self._copied(value, value.shape) if self._is_weight(value) else value for value in kept]
            for tracked, gradient in zip(self._step.tracked, results[self._result_count :], strict=True):
                shape = tuple(map(Extent, tracked.shape))
                variable = self._weight(OfWeight(tracked.owner, tracked.number))
                self._node("step", [variable, self._viewed(gradient, type(gradient.shape)(shape))], shape)
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

    def _is_weight(self, value: Any) -> bool:
        return any(number == value.number for number, _, _ in self._weight_places)


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
