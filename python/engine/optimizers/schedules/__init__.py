"""Learning rates that follow the number of steps taken. Step 0 is the first.

Every schedule gives the same bits on every machine: the formulas are Keras', in float64 (Keras: float32), with
powers and cosines of our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._first_use import on_first_use
from engine._spec import serialize
from engine.optimizers.schedules.base import LearningRateSchedule, deserialize
from engine.optimizers.schedules.cosine import CosineDecay, CosineDecayRestarts
from engine.optimizers.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
