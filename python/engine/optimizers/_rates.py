"""What may be given as a learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine._checks import real
from engine.optimizers.schedules.base import LearningRateSchedule, deserialize, number

Rate = float | LearningRateSchedule | Callable[[], float]
LearningRate = Rate | Mapping[str, Any]


def to_rate(value: object) -> Rate:
    """`value` as a step size of at least 0, a schedule, or a function without arguments."""
    if isinstance(value, LearningRateSchedule) or callable(value):
        return value
    return deserialize(value) if isinstance(value, Mapping) else real(number(value), "learning_rate", 0.0)
