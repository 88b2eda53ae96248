"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine.utils.model_dot import model_to_dot
from engine.utils.model_plot import plot_model

__all__ = ["model_to_dot", "plot_model"]
