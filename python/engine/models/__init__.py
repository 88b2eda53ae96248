"""Models: stacks of layers that train and predict."""

from __future__ import annotations

from engine.models.cloning import clone_model
from engine.models.sequential import Sequential

__all__ = ["Sequential", "clone_model"]
