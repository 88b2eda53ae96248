"""The arguments of `fit`, checked: epochs, steps, batch size, validation, and the goals that end training early.

`FitOptions` checks them before the data are read, and its `plan` combines them with the data. The trainer follows the
plan. `evaluate` and `predict` use the functions for steps and batch size.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine._base.checks import choice, integer, nearest, real
from engine._data.sources import Samples, Shuffle, Source
from engine.callbacks.base import Logs
from engine.config import _capped_epochs, _capped_steps

BATCH_SIZE = 32

SHUFFLES: dict[object, Shuffle] = {True: "rows", False: "none", "batch": "batches"}


class EarlyEndError(Exception):
    """Ends a run when the time budget is used up, or the model was asked to stop. The trainer catches it.

    Args:
        steps: the number of batches of the epoch that are done.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


class Goals(NamedTuple):
    """The arguments `target` and `time_budget` of `fit`, which end training before its last epoch."""

    targets: Mapping[str, tuple[float, bool]]
    """For each name in the logs the value to reach, and whether more is better."""
    deadline: float
    """The time of the monotonic clock at which training ends; infinite without a limit."""

    def reached(self, logs: Logs) -> bool:
        """Returns whether the logs of an epoch reach all targets. Without targets it returns False."""
        return bool(self.targets) and all(
            name in logs and (logs[name] >= value if more else logs[name] <= value)
            for name, (value, more) in self.targets.items()
        )

    def warn_of_missing(self, logs: Logs) -> None:
        """Warns if the logs of a training lack a name of the targets, which is never reached then."""
        missing = [name for name in self.targets if name not in logs and not name.startswith("val_")]
        if missing:
            warnings.warn(
                f"`target` has the name {missing[0]!r}, but the logs have: {', '.join(logs)}. So it is never reached, and "
                "training goes on to its last epoch",
                stacklevel=2,
            )

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is used up."""
        return time.monotonic() >= self.deadline


class Validation(NamedTuple):
    """The samples on which `fit` evaluates the model, and after which epochs."""

    source: Source
    steps: int | None
    batch_size: int
    frequency: int | frozenset[int]

    def due(self, epoch: int) -> bool:
        """Returns whether a validation follows epoch `epoch`, counted from 0."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency


class FitPlan(NamedTuple):
    """Everything that a call of `fit` has to do."""

    source: Source
    batch_size: int
    initial_epoch: int
    epochs: int
    steps_per_epoch: int | None
    shuffle: Shuffle
    validation: Validation | None
    goals: Goals

    @property
    def steps(self) -> int | None:
        """The number of batches in an epoch; None if it is unknown."""
        return self.steps_per_epoch or self.source.steps(self.batch_size)


class FitOptions:
    """The checked arguments of `fit` that are no data.

    Args:
        batch_size: as given to `fit`, like all others.
        epochs: see `fit`.
        initial_epoch: see `fit`.
        steps_per_epoch: see `fit`.
        shuffle: see `fit`.
        validation_steps: see `fit`.
        validation_batch_size: see `fit`.
        validation_freq: see `fit`.
    """

    def __init__(
        self,
        *,
        batch_size: object,
        epochs: object,
        initial_epoch: object,
        steps_per_epoch: object,
        shuffle: object,
        validation_steps: object,
        validation_batch_size: object,
        validation_freq: object,
    ) -> None:
        self._batch_size = positive_or_none(batch_size, "batch_size")
        self._epochs = integer(epochs, "epochs", 0)
        self._initial_epoch = integer(initial_epoch, "initial_epoch", 0)
        self._steps = positive_or_none(steps_per_epoch, "steps_per_epoch")
        self._shuffle = SHUFFLES[choice(shuffle, "shuffle", tuple(SHUFFLES))]
        self._validation_steps = positive_or_none(validation_steps, "validation_steps")
        self._validation_batch_size = positive_or_none(validation_batch_size, "validation_batch_size")
        self._frequency = _frequency(validation_freq)

    def plan(self, source: Source, held_out: Source | None, goals: Goals) -> FitPlan:
        """Returns what `fit` has to do with these samples.

        Args:
            source: the samples for training.
            held_out: the samples for validation, or None.
            goals: what ends the training early.
        """
        validation, limit = None, self._validation_steps
        if held_out is not None:
            size = self._validation_batch_size or self._batch_size
            size = resolve_batch_size(size, limit, held_out.count)
            limit = _capped_steps(limit, held_out.steps(size))
            validation = Validation(*limited_steps(held_out, limit, size), self._frequency)
        batch_size = resolve_batch_size(self._batch_size, self._steps, source.count)
        return FitPlan(
            source,
            batch_size,
            self._initial_epoch,
            _capped_epochs(self._epochs),
            _capped_steps(self._steps, source.steps(batch_size)),
            self._shuffle,
            validation,
            goals,
        )


def positive_or_none(value: object, name: str) -> int | None:
    """Returns `value` as an int of at least 1, or None."""
    return None if value is None else integer(value, name, 1)


def limited_steps(source: Source, steps: int | None, batch_size: int) -> tuple[Source, int | None, int]:
    """Returns a source, steps and a batch size for evaluations of the first `steps` batches of `source`.

    Samples are cut to these batches, so that no number of steps is necessary any more; streams keep it.
    """
    if isinstance(source, Samples):
        return source.first(steps, batch_size), None, batch_size
    return source, steps, batch_size


def resolve_batch_size(batch_size: int | None, steps: int | None, count: int | None) -> int:
    """Returns `batch_size`; for None 32, or the size that cuts all samples into `steps` batches."""
    default = BATCH_SIZE if steps is None or count is None else math.ceil(count / steps)
    return batch_size or default


def _frequency(value: object) -> int | frozenset[int]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", True):
        return frozenset(integer(epoch, "validation_freq", 1) for epoch in value)
    return integer(value, "validation_freq", 1)


def goals(
    names: Sequence[str],
    direction: Callable[[str], str | None],
    target: object,
    time_budget: object,
    *,
    validates: bool,
) -> Goals:
    """Returns the goals of a call of `fit`, whose time budget starts now.

    Args:
        names: those that the logs may have.
        direction: returns "up" if more of a name in the logs is better, "down" if less is better, None if it is unknown.
        target: the value to reach for each name in the logs, or None.
        time_budget: seconds, or None.
        validates: whether there is a validation, for messages.
    """
    deadline = float("inf")
    if time_budget is not None:
        deadline = time.monotonic() + real(time_budget, "time_budget", 0.0)
    if target is None:
        return Goals({}, deadline)
    if not isinstance(target, Mapping):
        msg = f"`target` must be a dict such as {{'val_accuracy': 0.98}}, got {target!r}"
        raise TypeError(msg)
    targets = {}
    for name, value in target.items():
        if name not in names:
            hint = "" if validates else "; names with `val_` need validation data"
            msg = f"`target` has the name {name!r}{nearest(str(name), names)} The logs have: {', '.join(names)}{hint}"
            raise ValueError(msg)
        better = direction(name.removeprefix("val_"))
        if better is None:
            msg = f"`target` can't have {name!r}: nobody can say whether more or less of it is better"
            raise ValueError(msg)
        targets[name] = (real(value, f"target[{name!r}]"), better == "up")
    return Goals(targets, deadline)
