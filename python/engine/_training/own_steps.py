"""Steps that are methods of the user's class, such as `train_step`, as the loops of `fit`, `evaluate` and `predict` run them.

For the trainer a `StepProgram` is what the program of a model is otherwise: it begins runs, which pass each batch to the method
as arrays in the structure in which `fit` got them. `StepResults` says what is in the logs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from engine._base.older_names import NamedValues
from engine._data.given_targets import TargetForm
from engine._tracing.lazy import numbers_of
from engine._training.compile_arguments import Compiled
from engine._training.step_batches import ArrayPass
from engine.callbacks.base import Logs
from engine.metrics import Mean, Metric

# About how long a stretch of batches should take, and how many times as many batches as the one before it may have.
_STRETCH_SECONDS = 0.05
_GROWTH = 16


class Step(Protocol):
    """A step of a model, such as its `train_step`."""

    def __call__(self, batches: ArrayPass, first: int = 0, most: int = 1) -> tuple[int, Any]:
        """Runs the next batches of a pass.

        Args:
            batches: the pass.
            first: the number of the first batch to run.
            most: the most batches to run.

        Returns:
            How many batches were run, and the logs of the last one.
        """


class ModelWithSteps(Protocol):
    """A model with steps of its own."""

    name: str
    optimizer: Any

    @property
    def _train_batch(self) -> Step: ...

    @property
    def _test_batch(self) -> Step: ...

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that were given to `compile`, and those in attributes of the model."""

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the results of the metrics by name."""

    def reset_metrics(self) -> None:
        """Resets the states of the metrics."""


class StepTotals(NamedTuple):
    """What the last step of a run has returned."""

    found: Any


class StepRun:
    """A run of the core's in which a method of the user's class does the work. It has the methods of `Run`.

    Args:
        step: the method.
        batches: the batches, which are passed to it.
    """

    def __init__(self, step: Step, batches: ArrayPass) -> None:
        self._step, self._pass, self._found = step, batches, None
        self._most = (
            1  # how many batches are run before the caller is asked again, for Ctrl-C and the progress bar
        )

    @property
    def batches(self) -> int:
        """The number of batches of the pass."""
        return len(self._pass)

    @property
    def totals(self) -> StepTotals:
        """What the last step has returned."""
        return StepTotals(self._found)

    def feed(self, batches: ArrayPass) -> None:
        """Goes on with another pass."""
        self._pass = batches

    def reset_totals(self) -> None:
        """Forgets what the last step has returned."""
        self._found = None

    def advance(self, begin: int, end: int, rates: Any = None, poll: Any = None, host: Any = None) -> None:
        """Runs the batches from `begin` to `end`, and calls `poll` with the number of the next one from time to time."""
        del rates, host
        while begin < end:
            before = time.perf_counter()
            count, self._found = self._step(self._pass, begin, min(self._most, end - begin))
            begin += count
            by_time = int(count * _STRETCH_SECONDS / (time.perf_counter() - before))
            self._most = min(max(1, by_time), _GROWTH * count)
            if poll is not None and begin < end:
                poll(begin)


class StepProgram:
    """Begins the runs of a model with steps of its own. It has this method of `Program`.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelWithSteps) -> None:
        self._model = model

    def begin(self, mode: Literal["train", "evaluate"], batches: ArrayPass) -> StepRun:
        """Returns a run over a pass."""
        return StepRun(self._model._train_batch if mode == "train" else self._model._test_batch, batches)


class StepResults:
    """Loss and metrics of a model with steps of its own, as `Compiled` has those of other models.

    Args:
        model: the model.
        compiled: what it was compiled with.
    """

    depends_on_batches = True

    def __init__(self, model: ModelWithSteps, compiled: Compiled) -> None:
        self._model, self._compiled = model, compiled

    @property
    def names(self) -> list[str]:
        """The names of the metrics, which the logs may have."""
        return list(self._model.get_metrics_result())

    def direction(self, name: str) -> str | None:
        """Returns "up" if more of `name` in the logs is better, "down" if less is better, None if it is unknown."""
        own = {each.name: each._direction for each in self._model.metrics}
        return self._compiled.direction(name) or own.get(name)

    def start_pass(self) -> None:
        """Resets the states of the metrics."""
        self._model.reset_metrics()

    def host_for(self, forms: tuple[TargetForm, ...]) -> None:
        """Returns None: a step calls whatever it needs by itself."""

    def learning_rates(self, program: object, batches: int) -> None:
        """Returns None: a step asks the optimizer by itself."""

    def finish(self) -> None:
        """Has the optimizer finish its variables."""
        if self._model.optimizer is not None:
            self._model.optimizer.finalize_variable_values()

    def logs(self, totals: Any) -> Logs:
        """Returns what the last step has returned."""
        return as_logs(totals.found)

    def logs_of_pass(self, totals: Any) -> Logs:
        """Returns the results of the metrics, if these are what the steps return; else what the last one has returned.

        A mean that no step has added to is left out: in its place is what the last step returned.
        """
        logs, results = as_logs(totals.found), self._model.get_metrics_result()
        if logs.keys() == results.keys():
            unused = {
                each.name for each in self._model.metrics if isinstance(each, Mean) and not float(each.count)
            }
            logs |= {name: value for name, value in as_logs(results).items() if name not in unused}
        return NamedValues(sorted(logs.items()))

    def result(self, logs: Logs, return_dict: bool) -> Any:
        """Returns logs as `evaluate` does: as a dict, or in the order of the metrics, or the one that there is."""
        if return_dict:
            return logs
        names = [name for name in self.names if name in logs]
        values = [logs[name] for name in [*names, *(name for name in logs if name not in names)]]
        return values[0] if len(values) == 1 else values


def as_logs(found: Any) -> Logs:
    """Returns what a step returned as numbers by name.

    Raises:
        TypeError: if it is no dict.
    """
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        msg = f"train_step() and test_step() must return a dict from names to numbers, got {found!r:.200}"
        raise TypeError(msg)
    return NamedValues((str(name), _number(value)) for name, value in numbers_of(dict(found)).items())


def _number(value: Any) -> Any:
    array = np.asarray(value)
    return float(array) if array.size == 1 else array
