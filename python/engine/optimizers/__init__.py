"""How weights follow their gradients, and how fast."""

from __future__ import annotations

from engine.optimizers import schedules
from engine.optimizers.base import Optimizer, get
from engine.optimizers.rules import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "get", "schedules"]
