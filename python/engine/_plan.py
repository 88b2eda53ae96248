"""What one call of `fit` is asked to do, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from engine._checks import choice, integer
from engine._data import Samples
from engine._program import Dataset

BATCH_SIZE = 32

Shuffle = Literal["none", "rows", "batches"]
SHUFFLES: dict[object, Shuffle] = {True: "rows", False: "none", "batch": "batches"}


class Validation(NamedTuple):
    """The samples that `fit` evaluates, and when."""

    dataset: Dataset
    batch_size: int
    frequency: int | frozenset[int]

    def due(self, epoch: int) -> bool:
        """Whether epoch `epoch`, counted from 0, ends with a validation."""
        if isinstance(self.frequency, int):
            return (epoch + 1) % self.frequency == 0
        return epoch + 1 in self.frequency


class Plan(NamedTuple):
    """How `fit` goes through its samples."""

    samples: Samples
    batch_size: int
    initial_epoch: int
    epochs: int
    steps_per_epoch: int | None
    shuffle: Shuffle
    validation: Validation | None

    @property
    def steps(self) -> int:
        """Batches of one epoch."""
        return self.steps_per_epoch or math.ceil(len(self.samples) / self.batch_size)


def plan_fit(
    samples: Samples,
    held_out: Samples | None,
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
    """The plan for the arguments of `fit`; `held_out` are the samples for validation."""
    steps = optional(steps_per_epoch, "steps_per_epoch")
    limit, frequency = optional(validation_steps, "validation_steps"), _frequency(validation_freq)
    size = resolve_batch_size(batch_size, steps, len(samples))
    validation_size = optional(validation_batch_size, "validation_batch_size") or batch_size
    validation = None
    if held_out is not None:
        validation_size = resolve_batch_size(validation_size, limit, len(held_out))
        dataset = held_out.first(limit, validation_size).dataset()
        validation = Validation(dataset, validation_size, frequency)
    return Plan(
        samples,
        size,
        integer(initial_epoch, "initial_epoch", 0),
        integer(epochs, "epochs", 0),
        steps,
        SHUFFLES[choice(shuffle, "shuffle", tuple(SHUFFLES))],
        validation,
    )


def optional(value: object, name: str) -> int | None:
    """`value` as an int of at least 1, or None."""
    return None if value is None else integer(value, name, 1)


def resolve_batch_size(batch_size: object, steps: int | None, samples: int) -> int:
    """`batch_size`; by default 32, or what makes `steps` batches of all samples."""
    default = BATCH_SIZE if steps is None else math.ceil(samples / steps)
    return optional(batch_size, "batch_size") or default


def unpack(validation_data: object) -> tuple[Any, Any, Any]:
    """x, y and sample_weight, which may be None, of `(x, y)` or `(x, y, sample_weight)`."""
    parts = validation_data if isinstance(validation_data, (tuple, list)) else ()
    if len(parts) not in (2, 3):
        given = f"{len(parts)} part" if parts else repr(validation_data)
        msg = f"`validation_data` must be (x, y) or (x, y, sample_weight), got {given}"
        raise ValueError(msg)
    x, y, *weights = parts
    return x, y, weights[0] if weights else None


def _frequency(value: object) -> int | frozenset[int]:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return frozenset(integer(epoch, "validation_freq", 1) for epoch in value)
    return integer(value, "validation_freq", 1)
