"""Derivatives for loops of one's own: gradient tapes, and functions that return gradients of other functions."""

from __future__ import annotations

from engine._gradients.functions import grad, value_and_grad
from engine._gradients.tape import GradientTape

__all__ = ["GradientTape", "grad", "value_and_grad"]
