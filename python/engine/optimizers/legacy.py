"""The optimizers that tf.keras has under this name. They are those of `engine.optimizers`, with their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.optimizers.adam import Adam, Adamax, Nadam
from engine.optimizers.adaptive import Adadelta, Adagrad, Ftrl, RMSprop
from engine.optimizers.momentum import SGD
from engine.optimizers.optimizer import Optimizer

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "Adamax", "Ftrl", "Nadam", "Optimizer", "RMSprop"]

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
