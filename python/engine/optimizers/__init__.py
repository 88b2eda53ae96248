"""Optimizers, and schedules of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine._base.spec import serialize
from engine.optimizers import schedules
from engine.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam, ScheduleFreeAdamW
from engine.optimizers.adaptive import Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from engine.optimizers.loss_scale import LossScaleOptimizer
from engine.optimizers.momentum import SGD, Lion
from engine.optimizers.muon import Muon
from engine.optimizers.optimizer import Optimizer, deserialize, get

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
