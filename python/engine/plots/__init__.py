"""Plots of training, predictions and weights with matplotlib, into given Axes or a new figure.

The colors suit color-blind readers, and light and dark backgrounds. Text and background follow the matplotlib
style. It needs matplotlib: `pip install matplotlib`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.extras import extra
from engine._base.lazy_imports import on_first_use

extra("matplotlib", "plot", "engine.plots")

from engine.plots.class_predictions import confusion_matrix, worst_mistakes  # noqa: E402 # after the message for a missing one
from engine.plots.curves import learning_curves  # noqa: E402 # the same
from engine.plots.scores import precision_recall_curve, roc_curve  # noqa: E402 # the same
from engine.plots.searches import importances, parallel_coordinates, search_curves  # noqa: E402 # the same
from engine.plots.unit_weights import weight_images  # noqa: E402 # the same

__all__ = [
    "confusion_matrix",
    "importances",
    "learning_curves",
    "parallel_coordinates",
    "precision_recall_curve",
    "roc_curve",
    "search_curves",
    "weight_images",
    "worst_mistakes",
]

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
