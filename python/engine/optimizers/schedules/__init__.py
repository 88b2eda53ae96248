"""Schedules: learning rates that depend on the number of steps taken. The first step is step 0.

The formulas are those of Keras, computed in float64 (Keras uses float32), with powers and cosines that give the
same bits on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.spec import serialize
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
