"""What a model is stacked from."""

from __future__ import annotations

from engine.layers.base import Layer, get
from engine.layers.core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Rescaling

__all__ = ["Activation", "Dense", "Dropout", "Flatten", "Input", "InputLayer", "Layer", "Rescaling", "get"]
