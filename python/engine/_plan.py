"""What one call of `fit` is asked to do, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from engine._checks import choice, integer
from engine._goals import Goals
from engine._samples import Samples, Shuffle, Source

BATCH_SIZE = 32

SHUFFLES: dict[object, Shuffle] = {True: "rows", False: "none", "batch": "batches"}


class Validation(NamedTuple):
    """The samples that `fit` evaluates, and when."""

    source: Source
    steps: int | None
    batch_size: int
    frequency: int | frozenset[int]

    def due(self, epoch: int) -> bool:
        """Whether epoch `epoch`, counted from 0, ends with a validation."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency


class Plan(NamedTuple):
    """How `fit` goes through its samples."""

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
        """Batches of one epoch; None if nobody knows."""
        return self.steps_per_epoch or self.source.steps(self.batch_size)


def plan_fit(
    source: Source,
    held_out: Source | None,
    goals: Goals,
    *,
    batch_size: object,
    epochs: object,
    initial_epoch: object,
    steps_per_epoch: object,
    shuffle: object,
    validation_steps: object,
    validation_batch_size: object,
    validation_freq: object,
) -> Plan:
    """The plan for the arguments of `fit`; `held_out` are the samples for validation, `goals` what may end it early."""
    steps = optional(steps_per_epoch, "steps_per_epoch")
    limit, frequency = optional(validation_steps, "validation_steps"), _frequency(validation_freq)
    size = resolve_batch_size(batch_size, steps, source.count)
    validation_size = optional(validation_batch_size, "validation_batch_size") or batch_size
    validation = None
    if held_out is not None:
        validation_size = resolve_batch_size(validation_size, limit, held_out.count)
        validation = Validation(*limited(held_out, limit, validation_size), frequency)
    return Plan(
        source,
        size,
        integer(initial_epoch, "initial_epoch", 0),
        integer(epochs, "epochs", 0),
        steps,
        SHUFFLES[choice(shuffle, "shuffle", tuple(SHUFFLES))],
        validation,
        goals,
    )


def optional(value: object, name: str) -> int | None:
    """`value` as an int of at least 1, or None."""
    return None if value is None else integer(value, name, 1)


def limited(source: Source, steps: int | None, batch_size: int) -> tuple[Source, int | None, int]:
    """`source` for evaluations of `steps` batches, from its first one on, and what `steps` then still says."""
    if isinstance(source, Samples):
        return source.first(steps, batch_size), None, batch_size
    return source, steps, batch_size


def resolve_batch_size(batch_size: object, steps: int | None, count: int | None) -> int:
    """`batch_size`; by default 32, or what makes `steps` batches of all samples."""
    default = BATCH_SIZE if steps is None or count is None else math.ceil(count / steps)
    return optional(batch_size, "batch_size") or default


def _frequency(value: object) -> int | frozenset[int]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", True):
        return frozenset(integer(epoch, "validation_freq", 1) for epoch in value)
    return integer(value, "validation_freq", 1)
