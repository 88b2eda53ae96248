"""What runs the batches of a training or an evaluation: the core, or steps that are methods of the user's class.

The loops in `trainer` know a `Runner` alone. `CoreRunner` has the core run whole epochs; `StepRunner` passes batches to methods of the
user's class, compiled or in Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from engine._base.checks import Shape
from engine._core_interface.cpp import Program, Run, Totals
from engine._data.sources import Chunk, CoreArrays, Samples, Shuffle
from engine._data.target_forms import TargetForm
from engine._tracing.lazy import numbers_of
from engine._training.compile_arguments import Compiled
from engine._training.step_batches import ArrayPass
from engine.callbacks.base import Logs, Mode, NamedValues
from engine.metrics import Mean, Metric

# About how long a stretch of batches should take, and how many times as many batches as the one before it may have.
_STRETCH_SECONDS = 0.05
_GROWTH = 16

Step = Callable[[ArrayPass, int, int], tuple[int, Any]]
"""Runs a step of a model on the next batches of a pass: `step(batches, first, most)` runs `most` at most, from batch `first` on.
It returns how many it has run, and the logs of the last one."""

Poll = Callable[[int], object]


class Runner(Protocol):
    """Trains or evaluates batches, and has the loss and the metrics of a pass over them."""

    @property
    def depends_on_batches(self) -> bool:
        """Whether loss and metrics of the same samples depend on how these are cut into batches."""

    @property
    def batches(self) -> int:
        """The number of batches in the chunk that was passed to `feed` last; 0 before the first."""

    @property
    def totals(self) -> Any:
        """What `logs` is computed from, for backups."""

    @property
    def python_metrics(self) -> Sequence[Metric]:
        """The metrics whose states are not in `totals`, but in the metrics themselves."""

    def start_pass(self) -> None:
        """Resets loss and metrics."""

    def resume_totals(self, totals: Any) -> None:
        """Goes on from the totals of an earlier run; ValueError if they are those of other metrics."""

    def feed(self, chunk: Chunk) -> None:
        """Goes on with other batches, whose numbers begin with 0."""

    def advance(self, begin: int, end: int, poll: Poll | None = None) -> None:
        """Runs the batches from `begin` to `end` of the chunk.

        Args:
            begin: the number of the first batch.
            end: the number of the batch after the last.
            poll: called from time to time between two batches, with the number of the next one. An exception from it ends the
                run there.
        """

    def logs(self) -> Logs:
        """Returns loss and metrics by name after a batch."""

    def logs_of_pass(self) -> Logs:
        """Returns loss and metrics by name after the last batch of a pass."""

    def finish(self) -> None:
        """Ends a training: has the optimizer finish its variables."""


class _Running(NamedTuple):
    """A run of the core, its program, and the shape of the samples that both are for."""

    run: Run
    program: Program
    sample_shape: Shape


class CoreRunner:
    """Has the core run batches, as many as it is asked for in one call.

    Args:
        program_for: returns the model's compiled program for samples of a shape.
        compiled: optimizer, loss and metrics.
        mode: "train" or "test".
    """

    def __init__(self, program_for: Callable[[Shape], Program], compiled: Compiled, mode: Mode) -> None:
        self._program_for, self._compiled = program_for, compiled
        self._trains = mode == "train"
        self._begun: _Running | None = None
        self._forms: tuple[TargetForm, ...] = ()

    @property
    def depends_on_batches(self) -> bool:
        """Whether loss and metrics of the same samples depend on how these are cut into batches."""
        return self._compiled.depends_on_batches

    @property
    def batches(self) -> int:
        """The number of batches in the current chunk."""
        return 0 if self._begun is None else self._begun.run.batches

    @property
    def totals(self) -> Totals:
        """The sums of loss and metrics over the pass so far."""
        return self._running.run.totals

    @property
    def python_metrics(self) -> Sequence[Metric]:
        """The metrics that Python computes."""
        return self._compiled.python_metrics

    @property
    def _running(self) -> _Running:
        if self._begun is None:
            msg = "no batch has begun"
            raise RuntimeError(msg)
        return self._begun

    def start_pass(self) -> None:
        """Resets loss and metrics."""
        for metric in self._compiled.python_metrics:
            metric.reset_state()
        if self._begun is not None:
            self._begun.run.reset_totals()

    def resume_totals(self, totals: Totals) -> None:
        """Goes on from the totals of an earlier run."""
        self._running.run.resume_totals(totals)

    def feed(self, chunk: Chunk) -> None:
        """Goes on with other batches; for samples of another shape in a new run, which continues the totals."""
        arrays: CoreArrays = chunk.arrays
        before, shape, batches = self._begun, arrays.sample_shape, (arrays.dataset, *chunk[1:])
        if before is not None and before.sample_shape == shape:
            before.run.feed(*batches)
        else:
            program = self._program_for(shape)
            run = program.begin("train" if self._trains else "evaluate", *batches)
            if before is not None:
                run.resume_totals(before.run.totals)
            self._begun = _Running(run, program, shape)
        self._forms = arrays.forms

    def advance(self, begin: int, end: int, poll: Poll | None = None) -> None:
        """Runs batches of the chunk; the core calls `poll` about every 50 ms."""
        run, program, _ = self._running
        rates = None
        if self._trains:
            state = self._compiled.claim_optimizer()
            if state is not None:
                program.use_state(state)
            rates = self._compiled.optimizer._learning_rates(end - begin)
        run.advance(begin, end, rates, poll, self._compiled.host_for(self._forms))

    def logs(self) -> Logs:
        """Returns loss and metrics by name."""
        return self._compiled.logs(self.totals.sums)

    def logs_of_pass(self) -> Logs:
        """Returns what `logs` does, as the totals are those of the pass so far."""
        return self.logs()

    def finish(self) -> None:
        """Has the optimizer finish its variables."""
        self._compiled.optimizer.finalize_variable_values()


class ModelWithSteps(Protocol):
    """A model with steps of its own."""

    optimizer: Any

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that were given to `compile`, and those in attributes of the model."""

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the results of the metrics by name."""

    def reset_metrics(self) -> None:
        """Resets the states of the metrics."""


class StepRunner:
    """Passes batches to a step of a model, which is a method of the user's class.

    Args:
        model: the model.
        step: the step.
    """

    depends_on_batches = True

    def __init__(self, model: ModelWithSteps, step: Step) -> None:
        self._model, self._step = model, step
        self._pass: ArrayPass | None = None
        self._most = 1  # how many batches are run before `poll` is called, for Ctrl-C and the progress bar
        self.totals: Any = None
        """What the last step has returned."""

    @property
    def batches(self) -> int:
        """The number of batches of the pass."""
        return 0 if self._pass is None else len(self._pass)

    @property
    def python_metrics(self) -> Sequence[Metric]:
        """All metrics of the model."""
        return self._model.metrics

    def start_pass(self) -> None:
        """Resets the states of the metrics, and forgets what the last step has returned."""
        self._model.reset_metrics()
        self.totals = None

    def resume_totals(self, totals: Any) -> None:
        """Goes on from what the last step has returned in an earlier run."""
        self.totals = totals

    def feed(self, chunk: Chunk) -> None:
        """Goes on with another pass."""
        self._pass = ArrayPass(chunk)

    def advance(self, begin: int, end: int, poll: Poll | None = None) -> None:
        """Runs the batches from `begin` to `end`, in stretches that take a fraction of a second."""
        while begin < end and self._pass is not None:
            before = time.perf_counter()
            count, self.totals = self._step(self._pass, begin, min(self._most, end - begin))
            begin += count
            by_time = int(count * _STRETCH_SECONDS / (time.perf_counter() - before))
            self._most = min(max(1, by_time), _GROWTH * count)
            if poll is not None and begin < end:
                poll(begin)

    def logs(self) -> Logs:
        """Returns what the last step has returned."""
        return as_logs(self.totals)

    def logs_of_pass(self) -> Logs:
        """Returns the results of the metrics, if these are what the steps return; else what the last one has returned."""
        return logs_and_names(self._model, self.totals)[0]

    def finish(self) -> None:
        """Has the optimizer finish its variables."""
        if self._model.optimizer is not None:
            self._model.optimizer.finalize_variable_values()


def logs_and_names(model: ModelWithSteps, returned: Any) -> tuple[Logs, list[str]]:
    """Returns the logs of a pass, and the names of the results of the metrics, in their order.

    The logs are these results, if the steps return such names, and else what the last step has returned. A mean that no step
    has added to is left out: in its place is what the last step returned.

    Args:
        model: the model.
        returned: what the last step has returned.
    """
    logs, results = as_logs(returned), model.get_metrics_result()
    if logs.keys() == results.keys():
        others = {name: value for name, value in results.items() if not _is_same(value, logs[name])}
        if others:
            unused = {
                metric.name
                for metric in model.metrics
                if isinstance(metric, Mean) and not float(metric.count)
            }
            logs |= {name: value for name, value in as_logs(others).items() if name not in unused}
    return NamedValues(sorted(logs.items())), list(results)


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and one == other


def as_logs(logs: Any) -> Logs:
    """Returns what a step returned as numbers by name.

    Raises:
        TypeError: if it is no dict.
    """
    if logs is None:
        return {}
    if not isinstance(logs, Mapping):
        msg = f"train_step() and test_step() must return a dict from names to numbers, got {logs!r:.200}"
        raise TypeError(msg)
    return NamedValues({str(name): _number(value) for name, value in logs.items()})


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return float(value)
    array = np.asarray(numbers_of(value))
    return float(array) if array.size == 1 else array


def logs_of_batch(runner: Runner, samples: Samples, shuffle: Shuffle | None) -> Logs:
    """Runs samples as one batch, and returns loss and metrics by name."""
    runner.start_pass()
    runner.feed(next(samples.chunks(len(samples), shuffle)))
    runner.advance(0, 1)
    return runner.logs_of_pass()
