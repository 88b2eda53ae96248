"""Optimizers, and schedules of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.spec import serialize
from engine.optimizers import adam, adaptive, momentum, muon, schedules
from engine.optimizers.adam import *
from engine.optimizers.adaptive import *
from engine.optimizers.loss_scale import LossScaleOptimizer
from engine.optimizers.momentum import *
from engine.optimizers.muon import *
from engine.optimizers.optimizer import Optimizer, deserialize, get

# Each module lists its optimizers by itself.
__all__ = [
    "LossScaleOptimizer",
    "Optimizer",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += momentum.__all__
__all__ += muon.__all__

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
