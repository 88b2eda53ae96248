"""Steps that are methods of the user's class, such as `train_step`, as the loops of `fit` and `evaluate` run them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from engine._data.sources import Chunk
from engine._tracing.lazy import numbers_of
from engine._training.runner import Poll
from engine._training.step_batches import ArrayPass
from engine.callbacks.base import Logs, NamedValues
from engine.metrics import Mean, Metric

# About how long a stretch of batches should take, and how many times as many batches as the one before it may have.
_STRETCH_SECONDS = 0.05
_GROWTH = 16

Step = Callable[[ArrayPass, int, int], tuple[int, Any]]
"""Runs a step of a model on the next batches of a pass: `step(batches, first, most)` runs `most` at most, from batch `first` on.
It returns how many it has run, and the logs of the last one."""


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

    def start_pass(self) -> None:
        """Resets the states of the metrics, and forgets what the last step has returned."""
        self._model.reset_metrics()
        self.totals = None

    def resume_totals(self, totals: Any) -> None:
        """Goes on from what the last step has returned in an earlier run."""
        self.totals = totals

    def feed(self, chunk: Chunk) -> None:
        """Goes on with another pass."""
        (self._pass,) = chunk.batches

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
        """Returns the results of the metrics, if these are what the steps return; else what the last one has returned.

        A mean that no step has added to is left out: in its place is what the last step returned.
        """
        logs, results = self.logs(), self._model.get_metrics_result()
        if logs.keys() == results.keys():
            unused = {
                each.name for each in self._model.metrics if isinstance(each, Mean) and not float(each.count)
            }
            logs |= {name: value for name, value in as_logs(results).items() if name not in unused}
        return NamedValues(sorted(logs.items()))

    def finish(self) -> None:
        """Has the optimizer finish its variables."""
        if self._model.optimizer is not None:
            self._model.optimizer.finalize_variable_values()


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
