"""Derivatives for loops of one's own: gradient tapes, and functions of functions: gradients and Jacobians. `vectorization` has `vmap`."""

from __future__ import annotations

from engine._gradients.functions import grad, jacobian, value_and_grad
from engine._gradients.tape import GradientTape

__all__ = ["GradientTape", "grad", "jacobian", "value_and_grad"]
